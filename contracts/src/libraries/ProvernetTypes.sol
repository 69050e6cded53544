// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @notice What a quorum certifies in one round, settled on chain when `sequence` is not 0.
/// @param epoch Operator table that certifies.
/// @param round Number of the decided round.
/// @param value EIP-712 digest of the round's Value; chains the rounds.
/// @param sequence Settlement number, from 1.
/// @param parent Root of the settled batch before; zero for the first.
/// @param root Merkle root over results, credits, bound stake, reputation, parameters and clearings.
/// @param paid What operators earn of the debits, in wei of the escrow token.
/// @param debitsHash keccak256 of the packed debits.
struct Batch {
    uint64 epoch;
    uint64 round;
    bytes32 value;
    uint64 sequence;
    bytes32 parent;
    bytes32 root;
    uint128 paid;
    bytes32 debitsHash;
}

/// @notice How a request ended, without its claim.
/// @param status 1 settled, 2 expired, 3 cancelled, 4 failed.
/// @param issuedAt Unix seconds, signed by the requester.
/// @param fee What the requester paid, in wei of the escrow token; the bid fee alone unless settled.
struct Result {
    bytes32 requestId;
    bytes32 programId;
    address requester;
    uint8 status;
    uint64 issuedAt;
    uint128 fee;
}

/// @title EIP-712 digests that contracts judge, and the leaves of a batch's tree.
/// @dev Kept in step with Python through tests/vectors/.
library ProvernetTypes {
    /// @dev Values of Result.status; 0 = not known on this chain.
    uint8 internal constant SETTLED = 1;
    uint8 internal constant EXPIRED = 2;
    uint8 internal constant CANCELLED = 3;
    uint8 internal constant FAILED = 4;

    uint256 internal constant RESULT_TAG = 1;
    uint256 internal constant CREDIT_TAG = 2;
    uint256 internal constant BOUND_STAKE_TAG = 3;
    uint256 internal constant REPUTATION_TAG = 4;
    uint256 internal constant PARAMETERS_TAG = 5;
    uint256 internal constant MARKETS_TAG = 6;

    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant BATCH_TYPEHASH = keccak256(
        "Batch(uint64 epoch,uint64 round,bytes32 value,uint64 sequence,bytes32 parent,bytes32 root,uint128 paid,bytes32 debitsHash)"
    );
    bytes32 internal constant KEY_REGISTRATION_TYPEHASH = keccak256(
        "KeyRegistration(address operator,address session,bytes32 blsKeyHash,bytes32 sealingKey,bytes32 peerIdHash)"
    );
    bytes32 internal constant LOCK_TYPEHASH = keccak256("Lock(uint64 epoch,uint64 round,uint64 view,bytes32 value)");
    bytes32 internal constant EVIDENCE_TYPEHASH = keccak256(
        "Evidence(uint8 fault,address accused,uint64 epoch,uint64 round,uint64 view,bytes32[] statements,address reporter)"
    );
    bytes32 private constant NAME_HASH = keccak256("provernet");
    bytes32 private constant VERSION_HASH = keccak256("1");

    /// @notice The one domain of everything signed: this chain and its ProverRegistry.
    function domainSeparator(address registry) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, registry));
    }

    function batchDigest(address registry, Batch calldata batch) internal view returns (bytes32) {
        return _digest(registry, keccak256(abi.encode(BATCH_TYPEHASH, batch)));
    }

    /// @param blsKeyHash keccak256 of the 128-byte EIP-2537 key.
    /// @param peerIdHash keccak256 of the peer id.
    function keyRegistrationDigest(
        address registry,
        address operator,
        address session,
        bytes32 blsKeyHash,
        bytes32 sealingKey,
        bytes32 peerIdHash
    ) internal view returns (bytes32) {
        return _digest(
            registry,
            keccak256(abi.encode(KEY_REGISTRATION_TYPEHASH, operator, session, blsKeyHash, sealingKey, peerIdHash))
        );
    }

    /// @param value EIP-712 digest of the Value that is locked.
    function lockDigest(address registry, uint64 epoch, uint64 round, uint64 view_, bytes32 value)
        internal
        view
        returns (bytes32)
    {
        return _digest(registry, keccak256(abi.encode(LOCK_TYPEHASH, epoch, round, view_, value)));
    }

    /// @param fault Number of the fault, as in protocol/evidence.py.
    /// @param statements Digests that the statements' signatures are over, the accused's first.
    function evidenceDigest(
        address registry,
        uint8 fault,
        address accused,
        uint64 epoch,
        uint64 round,
        uint64 view_,
        bytes32[] memory statements,
        address reporter
    ) internal view returns (bytes32) {
        bytes32 listed = keccak256(abi.encodePacked(statements));
        return _digest(
            registry, keccak256(abi.encode(EVIDENCE_TYPEHASH, fault, accused, epoch, round, view_, listed, reporter))
        );
    }

    /// @param claimHash keccak256 of the claim's bytes (of none: of the empty string).
    function resultLeaf(Result memory result, bytes32 claimHash) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                RESULT_TAG,
                result.requestId,
                result.programId,
                result.requester,
                result.status,
                result.issuedAt,
                claimHash,
                result.fee
            )
        );
    }

    function creditLeaf(address operator, uint256 cumulativeWei) internal pure returns (bytes32) {
        return keccak256(abi.encode(CREDIT_TAG, operator, cumulativeWei));
    }

    function boundStakeLeaf(address operator, uint256 boundWei) internal pure returns (bytes32) {
        return keccak256(abi.encode(BOUND_STAKE_TAG, operator, boundWei));
    }

    function reputationLeaf(bytes32 reputationRoot) internal pure returns (bytes32) {
        return keccak256(abi.encode(REPUTATION_TAG, reputationRoot, 0));
    }

    function parametersLeaf(bytes32 parametersHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(PARAMETERS_TAG, parametersHash, 0));
    }

    /// @param marketsHash What the clearings of the batch's round were given, and what they gave.
    function marketsLeaf(bytes32 marketsHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(MARKETS_TAG, marketsHash, 0));
    }

    function _digest(address registry, bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(registry), structHash));
    }
}
