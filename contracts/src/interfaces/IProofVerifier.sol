// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title A proof system's verifier, the verifying key given as data.
interface IProofVerifier {
    /// @notice The verifying key has no valid form, or does not fit the number of public values.
    error InvalidVerifyingKey();
    /// @notice Too little gas for an honest answer.
    error NotEnoughGas();

    /// @notice Whether `proof` proves the circuit of `verifyingKey` for these public values.
    /// @dev False for every wrong proof, malformed ones included; reverts only where no answer can be given, so that a
    /// judge of faults can tell one from the other.
    function verify(bytes calldata verifyingKey, uint256[] calldata publicValues, bytes calldata proof)
        external
        view
        returns (bool);
}
