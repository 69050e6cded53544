// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProofVerifier} from "../interfaces/IProofVerifier.sol";

/// @title Groth16 over BN254 for any circuit: stateless, immutable, the verifying key is data.
/// @notice Verifying key: alpha G1 (64 bytes) | beta G2 (128) | gamma G2 (128) | delta G2 (128) | one G1 point (64) per
/// public value and one more. Proof: A G1 (64) | B G2 (128) | C G1 (64), 256 bytes. Points as EIP-196 and EIP-197
/// encode them: 32-byte coordinates, the imaginary part of a G2 coordinate first.
/// @dev Every precompile gets explicit gas that covers its price, asked for beforehand: so its failure means bad input,
/// never too little gas.
contract Groth16Verifier is IProofVerifier {
    uint256 private constant SCALAR_FIELD =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant BASE_FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583;

    uint256 private constant HEAD_LENGTH = 448;
    uint256 private constant G1_LENGTH = 64;
    uint256 private constant PROOF_LENGTH = 256;

    uint256 private constant ECADD = 0x06;
    uint256 private constant ECMUL = 0x07;
    uint256 private constant ECPAIRING = 0x08;

    /// @dev Prices of EIP-1108: 150; 6,000; 45,000 + 4 * 34,000.
    uint256 private constant ECADD_GAS = 150;
    uint256 private constant ECMUL_GAS = 6_000;
    uint256 private constant ECPAIRING_GAS = 181_000;
    /// @dev Memory, loops and calls around a precompile.
    uint256 private constant PER_VALUE_GAS = 7_500;
    uint256 private constant FIXED_GAS = 15_000;

    /// @inheritdoc IProofVerifier
    function verify(bytes calldata verifyingKey, uint256[] calldata publicValues, bytes calldata proof)
        external
        view
        returns (bool)
    {
        uint256 count = publicValues.length;
        require(verifyingKey.length == HEAD_LENGTH + G1_LENGTH * (count + 1), InvalidVerifyingKey());
        require(gasleft() * 63 / 64 > ECPAIRING_GAS + FIXED_GAS + count * PER_VALUE_GAS, NotEnoughGas());
        if (proof.length != PROOF_LENGTH) return false;
        for (uint256 i; i < count; ++i) {
            // One statement has one encoding.
            if (publicValues[i] >= SCALAR_FIELD) return false;
        }
        uint256[2] memory sum = _publicPoint(verifyingKey[HEAD_LENGTH:], publicValues);
        return _pairingHolds(verifyingKey, sum, proof);
    }

    /// @dev IC[0] + sum of publicValues[i] * IC[i + 1].
    function _publicPoint(bytes calldata points, uint256[] calldata publicValues)
        private
        view
        returns (uint256[2] memory sum)
    {
        bool done = true;
        assembly ("memory-safe") {
            // sum | point | scalar, past the free memory pointer: input of the addition and of the multiplication.
            let memory_ := mload(0x40)
            let term := add(memory_, 64)
            calldatacopy(memory_, points.offset, 64)
            for { let i := 0 } lt(i, publicValues.length) { i := add(i, 1) } {
                calldatacopy(term, add(points.offset, shl(6, add(i, 1))), 64)
                mstore(add(term, 64), calldataload(add(publicValues.offset, shl(5, i))))
                // The size is checked apart from the call: Yul evaluates the last argument first.
                done := and(done, staticcall(ECMUL_GAS, ECMUL, term, 96, term, 64))
                done := and(done, eq(returndatasize(), 64))
                done := and(done, staticcall(ECADD_GAS, ECADD, memory_, 128, memory_, 64))
                done := and(done, eq(returndatasize(), 64))
            }
            mcopy(sum, memory_, 64)
        }
        require(done, InvalidVerifyingKey());
    }

    /// @dev e(-A, B) * e(alpha, beta) * e(sum, gamma) * e(C, delta) == 1. A failing precompile means a proof off its
    /// curves, or a key off its curves, which registration should have caught.
    function _pairingHolds(bytes calldata key, uint256[2] memory sum, bytes calldata proof)
        private
        view
        returns (bool holds)
    {
        assembly ("memory-safe") {
            let input := mload(0x40)
            calldatacopy(input, proof.offset, 192)
            let y := mload(add(input, 32))
            // Not canonical, so refused; the negative of infinity (0, 0) is itself.
            let canonical := lt(y, BASE_FIELD)
            if y { mstore(add(input, 32), sub(BASE_FIELD, y)) }
            calldatacopy(add(input, 192), key.offset, 192)
            mcopy(add(input, 384), sum, 64)
            calldatacopy(add(input, 448), add(key.offset, 192), 128)
            calldatacopy(add(input, 576), add(proof.offset, 192), 64)
            calldatacopy(add(input, 640), add(key.offset, 320), 128)
            let called := staticcall(ECPAIRING_GAS, ECPAIRING, input, 768, 0, 32)
            holds := and(and(canonical, called), and(eq(returndatasize(), 32), eq(mload(0), 1)))
        }
    }
}
