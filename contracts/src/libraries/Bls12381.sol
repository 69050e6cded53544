// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title BLS12-381 signatures over the EIP-2537 precompiles: public keys in G1, signatures in G2.
/// @notice Ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ over 32-byte messages.
/// @dev A coordinate is 64 big-endian bytes, the upper 16 zero; a G1 point is x | y (128 bytes), a G2 point
/// x.c0 | x.c1 | y.c0 | y.c1 (256 bytes). Where a precompile is missing, a call succeeds with empty output, and where
/// its input is bad, it burns the gas it was given: hence the checks of the return size and the explicit gas.
library Bls12381 {
    error PrecompileFailed(uint256 precompile);

    uint256 internal constant G1_LENGTH = 128;
    uint256 internal constant G2_LENGTH = 256;

    uint256 private constant SHA256 = 0x02;
    uint256 private constant MODEXP = 0x05;
    uint256 private constant G1ADD = 0x0b;
    uint256 private constant G2ADD = 0x0d;
    uint256 private constant PAIRING = 0x0f;
    uint256 private constant MAP_FP2_TO_G2 = 0x11;

    /// @dev Somewhat above the prices of EIP-2537 (375, 600, 23,800 and 37,700 + 2 * 32,600) and EIP-7883 (500).
    uint256 private constant SMALL_GAS = 3_000;
    uint256 private constant MAP_GAS = 26_000;
    uint256 private constant PAIRING_GAS = 110_000;

    /// @dev The field's modulus, split after the upper 16 bytes.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// @dev Minus the generator of G1.
    uint256 private constant G1_X_HIGH = 0x17f1d3a73197d7942695638c4fa9ac0f;
    uint256 private constant G1_X_LOW = 0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb;
    uint256 private constant NEG_G1_Y_HIGH = 0x114d1d6855d545a8aa7d76c8cf2e21f2;
    uint256 private constant NEG_G1_Y_LOW = 0x67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca;

    /// @dev The domain separation tag (43 bytes) and its length byte, as RFC 9380 appends them.
    bytes32 private constant DST_HEAD = "BLS_SIG_BLS12381G2_XMD:SHA-256_S";
    bytes32 private constant DST_TAIL = "SWU_RO_POP_\x2b";

    /// @notice Whether `key` signed `message`; false too for malformed points.
    /// @param key 128 bytes, any point but infinity; membership in the subgroup is checked here.
    /// @param signature 256 bytes.
    function verify(bytes memory key, bytes32 message, bytes memory signature) internal view returns (bool valid) {
        if (key.length != G1_LENGTH || signature.length != G2_LENGTH || isInfinity(key)) return false;
        bytes memory point = hashToG2(message);
        assembly ("memory-safe") {
            // e(key, H(message)) * e(-g1, signature) == 1, written past the free memory pointer: 768 bytes.
            let input := mload(0x40)
            mcopy(input, add(key, 32), 128)
            mcopy(add(input, 128), add(point, 32), 256)
            mstore(add(input, 384), G1_X_HIGH)
            mstore(add(input, 416), G1_X_LOW)
            mstore(add(input, 448), NEG_G1_Y_HIGH)
            mstore(add(input, 480), NEG_G1_Y_LOW)
            mcopy(add(input, 512), add(signature, 32), 256)
            let called := staticcall(PAIRING_GAS, PAIRING, input, 768, 0, 32)
            valid := and(and(called, eq(returndatasize(), 32)), eq(mload(0), 1))
        }
    }

    /// @notice hash_to_curve of RFC 9380 for G2: 256 bytes.
    function hashToG2(bytes32 message) internal view returns (bytes memory point) {
        point = new bytes(512);
        bytes memory uniform = _expandMessage(message);
        uint256 from;
        uint256 to;
        assembly ("memory-safe") {
            from := add(uniform, 32)
            to := add(point, 32)
        }
        // Two elements of Fp2 (128 bytes each), reduced in place, mapped to two points, added to one.
        for (uint256 offset; offset < 256; offset += 64) {
            _reduce(from + offset);
        }
        _call(MAP_FP2_TO_G2, MAP_GAS, from, 128, to, 256);
        _call(MAP_FP2_TO_G2, MAP_GAS, from + 128, 128, to + 256, 256);
        _call(G2ADD, SMALL_GAS, to, 512, to, 256);
        assembly ("memory-safe") {
            mstore(point, 256)
        }
    }

    /// @notice Adds the unpadded key `addend` (see `pack`) to `sum` in place; on the curve, the subgroup is not checked.
    function addInPlace(bytes memory sum, bytes32[3] memory addend) internal view {
        uint256 input;
        uint256 target;
        assembly ("memory-safe") {
            input := mload(0x40)
            target := add(sum, 32)
            mcopy(input, target, 128)
        }
        _unpackTo(input + 128, addend);
        _call(G1ADD, SMALL_GAS, input, 256, target, 128);
    }

    /// @notice Subtracts `subtrahend` (128 bytes) from `minuend` (128 bytes) in place.
    function subtractInPlace(bytes memory minuend, bytes memory subtrahend) internal view {
        if (isInfinity(subtrahend)) return;
        uint256 input;
        uint256 target;
        assembly ("memory-safe") {
            input := mload(0x40)
            target := add(minuend, 32)
            mcopy(input, target, 128)
            mcopy(add(input, 128), add(subtrahend, 32), 128)
            // -y = p - y; y is below p and not 0, because the curve has no point of order two in Fp.
            let high := mload(add(input, 192))
            let low := mload(add(input, 224))
            mstore(add(input, 192), sub(sub(P_HIGH, high), gt(low, P_LOW)))
            mstore(add(input, 224), sub(P_LOW, low))
        }
        _call(G1ADD, SMALL_GAS, input, 256, target, 128);
    }

    /// @notice Whether all 128 bytes of a G1 point are zero, the encoding of infinity.
    function isInfinity(bytes memory point) internal pure returns (bool infinite) {
        assembly ("memory-safe") {
            infinite := iszero(
                or(or(mload(add(point, 32)), mload(add(point, 64))), or(mload(add(point, 96)), mload(add(point, 128))))
            )
        }
    }

    /// @notice The 96 bytes x | y of a 128-byte point, for storage; the padding must be zero (a precompile checks).
    function pack(bytes memory point) internal pure returns (bytes32[3] memory packed) {
        assembly ("memory-safe") {
            let xLow := mload(add(point, 64))
            mstore(packed, or(shl(128, mload(add(point, 32))), shr(128, xLow)))
            mstore(add(packed, 32), or(shl(128, xLow), mload(add(point, 96))))
            mstore(add(packed, 64), mload(add(point, 128)))
        }
    }

    /// @notice The 128-byte point of a packed one.
    function unpack(bytes32[3] memory packed) internal pure returns (bytes memory point) {
        point = new bytes(G1_LENGTH);
        uint256 to;
        assembly ("memory-safe") {
            to := add(point, 32)
        }
        _unpackTo(to, packed);
    }

    function _unpackTo(uint256 to, bytes32[3] memory packed) private pure {
        assembly ("memory-safe") {
            let first := mload(packed)
            let second := mload(add(packed, 32))
            mstore(to, shr(128, first))
            mstore(add(to, 32), or(shl(128, first), shr(128, second)))
            mstore(add(to, 64), and(second, 0xffffffffffffffffffffffffffffffff))
            mstore(add(to, 96), mload(add(packed, 64)))
        }
    }

    /// @dev expand_message_xmd of RFC 9380 with SHA-256 to 256 bytes. Both hash inputs are built past the free
    /// memory pointer; they share the tag at its end: zeros (64) | message (32) | 0x0100 | 0x00 | tag (44), and
    /// chaining value (32) | counter (1) | tag (44).
    function _expandMessage(bytes32 message) private view returns (bytes memory uniform) {
        uniform = new bytes(256);
        bool hashed;
        assembly ("memory-safe") {
            let input := mload(0x40)
            calldatacopy(input, calldatasize(), 64)
            mstore(add(input, 64), message)
            mstore(add(input, 96), shl(240, 0x0100))
            mstore(add(input, 99), DST_HEAD)
            mstore(add(input, 131), DST_TAIL)
            hashed := staticcall(SMALL_GAS, SHA256, input, 143, 0, 32)
            let seed := mload(0)
            let block_ := add(input, 66)
            let chained := 0
            for { let i := 1 } lt(i, 9) { i := add(i, 1) } {
                mstore(block_, xor(seed, chained))
                mstore8(add(block_, 32), i)
                let to := add(uniform, shl(5, i))
                hashed := and(hashed, staticcall(SMALL_GAS, SHA256, block_, 77, to, 32))
                chained := mload(to)
            }
        }
        if (!hashed) revert PrecompileFailed(SHA256);
    }

    /// @dev Replaces the 64-byte integer at `place` by its remainder modulo p, as integer ** 1 mod p.
    function _reduce(uint256 place) private view {
        uint256 input;
        assembly ("memory-safe") {
            input := mload(0x40)
            mstore(input, 64)
            mstore(add(input, 32), 1)
            mstore(add(input, 64), 64)
            mcopy(add(input, 96), place, 64)
            mstore8(add(input, 160), 1)
            mstore(add(input, 161), P_HIGH)
            mstore(add(input, 193), P_LOW)
        }
        _call(MODEXP, SMALL_GAS, input, 225, place, 64);
    }

    function _call(uint256 precompile, uint256 gasLimit, uint256 input, uint256 inputSize, uint256 output, uint256 size)
        private
        view
    {
        bool done;
        assembly ("memory-safe") {
            done := staticcall(gasLimit, precompile, input, inputSize, output, size)
            // Apart from the call: Yul evaluates the last argument first.
            done := and(done, eq(returndatasize(), size))
        }
        if (!done) revert PrecompileFailed(precompile);
    }
}
