// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title Judges quorum certificates of the operator tables.
interface ICertificateVerifier {
    /// @notice The epoch is neither the current one nor the one before.
    error EpochNotAccepted(uint64 epoch, uint64 current);
    /// @notice The table is so old that its stake may no longer be slashable.
    error TableExpired(uint64 epoch, uint256 lastBlock);
    /// @notice Non-signers are no list of 2-byte positions.
    error MalformedNonSigners();
    /// @notice A position is not above the one before it, or not in the table.
    error InvalidNonSigner(uint16 position);
    /// @notice Signed weight is two thirds of the total or less.
    error QuorumNotReached(uint256 signedWeight, uint256 totalWeight);
    /// @notice The signature is not the signers' aggregate over the digest.
    error InvalidCertificate();

    /// @notice Checks that strictly more than two thirds of the weight of `epoch` signed `digest`.
    /// @param epoch Table to judge by: the current epoch's or the one before.
    /// @param digest EIP-712 digest, signed with BLS12-381 (public keys in G1, signatures in G2, DST
    /// `BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_`).
    /// @param signature Aggregate signature, 256 bytes: an EIP-2537 G2 point.
    /// @param nonSigners Table positions of who did not sign: big-endian uint16 each, strictly ascending.
    /// @return signedWeight Weight of the signers, in the table's unit.
    function checkCertificate(uint64 epoch, bytes32 digest, bytes calldata signature, bytes calldata nonSigners)
        external
        view
        returns (uint256 signedWeight);
}
