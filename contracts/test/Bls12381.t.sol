// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Bls12381} from "../src/libraries/Bls12381.sol";
import {BlsSigner} from "./support/BlsSigner.sol";
import {Test} from "./support/Test.sol";

/// @dev The library against py_ecc (vectors/bls.json), and its arithmetic against the multiplication precompiles.
contract Bls12381Test is Test {
    string private vectors;

    function setUp() public {
        vectors = vm.readFile("./test/vectors/bls.json");
    }

    function test_HashToG2IsThatOfPyEcc() public view {
        uint256 count;
        for (; vm.keyExistsJson(vectors, _hashKey(count, "message")); ++count) {
            bytes32 message = vm.parseJsonBytes32(vectors, _hashKey(count, "message"));
            bytes memory expected = vm.parseJsonBytes(vectors, _hashKey(count, "point"));
            same(Bls12381.hashToG2(message), expected, "point");
        }
        same(count, 5, "vectors read");
    }

    function test_VerifiesASignatureOfPyEcc() public view {
        bytes memory key = vm.parseJsonBytes(vectors, ".publicKey");
        bytes memory signature = vm.parseJsonBytes(vectors, ".signature");
        bytes32 message = vm.parseJsonBytes32(vectors, ".hashes[2].message");
        same(key, BlsSigner.publicKey(BlsSigner.secret(0)), "public key");
        check(Bls12381.verify(key, message, signature), "valid");
        check(!Bls12381.verify(key, ~message, signature), "other message");
    }

    function test_NothingSignsForInfinity() public view {
        // e(infinity, H) * e(-g1, infinity) = 1: the pairing alone would accept any message.
        check(!Bls12381.verify(new bytes(128), bytes32(uint256(1)), new bytes(256)), "infinity");
    }

    function test_FalseWithoutThePrecompilesAnswer() public view {
        bytes memory key = BlsSigner.publicKey(1);
        check(!Bls12381.verify(key, 0, new bytes(256)), "signature at infinity");
        bytes memory garbage = new bytes(256);
        garbage[255] = 0x01;
        check(!Bls12381.verify(key, 0, garbage), "off the curve");
        check(!Bls12381.verify(key, 0, new bytes(255)), "short");
        check(!Bls12381.verify(key, 0, ""), "empty");
    }

    /// forge-config: default.fuzz.runs = 256
    function testFuzz_SignedByItsKeyAlone(uint256 secretKey, uint256 other, bytes32 message) public view {
        secretKey = within(secretKey, 1, BlsSigner.ORDER - 1);
        other = within(other, 1, BlsSigner.ORDER - 1);
        vm.assume(secretKey != other);
        bytes memory signature = BlsSigner.sign(secretKey, message);
        check(Bls12381.verify(BlsSigner.publicKey(secretKey), message, signature), "own key");
        check(!Bls12381.verify(BlsSigner.publicKey(other), message, signature), "other key");
    }

    function testFuzz_PackingKeepsKeys(uint256 secretKey) public view {
        bytes memory key = BlsSigner.publicKey(within(secretKey, 1, BlsSigner.ORDER - 1));
        same(Bls12381.unpack(Bls12381.pack(key)), key, "key");
    }

    function testFuzz_SumsAndDifferences(uint256 left, uint256 right) public view {
        left = within(left, 1, BlsSigner.ORDER - 1);
        right = within(right, 1, BlsSigner.ORDER - 1);
        bytes memory sum = BlsSigner.publicKey(left);
        Bls12381.addInPlace(sum, Bls12381.pack(BlsSigner.publicKey(right)));
        same(sum, BlsSigner.publicKey(addmod(left, right, BlsSigner.ORDER)), "sum");
        Bls12381.subtractInPlace(sum, BlsSigner.publicKey(right));
        same(sum, BlsSigner.publicKey(left), "difference");
        Bls12381.subtractInPlace(sum, BlsSigner.publicKey(left));
        check(Bls12381.isInfinity(sum), "nothing left");
    }

    function _hashKey(uint256 index, string memory field) private pure returns (string memory) {
        return string.concat(".hashes[", vm.toString(index), "].", field);
    }
}
