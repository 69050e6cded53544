// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProofVerifier} from "../src/interfaces/IProofVerifier.sol";
import {Groth16Verifier} from "../src/verifiers/Groth16Verifier.sol";
import {Test} from "./support/Test.sol";

/// @dev A key and proofs of groth16py (vectors/groth16.json: product = left * right).
contract Groth16VerifierTest is Test {
    uint256 private constant SCALAR_FIELD =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;

    Groth16Verifier private verifier;
    bytes private key;
    bytes private proof;
    bytes private otherProof;
    uint256[] private values;

    function setUp() public {
        verifier = new Groth16Verifier();
        string memory vectors = vm.readFile("./test/vectors/groth16.json");
        key = vm.parseJsonBytes(vectors, ".verifyingKey");
        proof = vm.parseJsonBytes(vectors, ".proof");
        otherProof = vm.parseJsonBytes(vectors, ".otherProof");
        values = vm.parseJsonUintArray(vectors, ".publicValues");
    }

    function test_AcceptsAProofOfGroth16py() public {
        check(verifier.verify(key, values, proof), "proof");
        values[0] += 1;
        check(verifier.verify(key, values, otherProof), "other proof");
    }

    function test_RefusesOtherStatements() public {
        check(!verifier.verify(key, values, otherProof), "other proof");
        values[0] += 1;
        check(!verifier.verify(key, values, proof), "other value");
        values[0] -= 1;
        values[1] += 1;
        check(!verifier.verify(key, values, proof), "other label");
    }

    function test_OneStatementHasOneEncoding() public {
        values[1] += SCALAR_FIELD;
        check(!verifier.verify(key, values, proof), "value above the field");
    }

    function test_RefusesMalformedProofs() public {
        check(!verifier.verify(key, values, ""), "empty");
        check(!verifier.verify(key, values, bytes.concat(proof, hex"00")), "long");
        check(!verifier.verify(key, values, new bytes(256)), "zeros");
        for (uint256 i = 31; i < 256; i += 32) {
            bytes memory bad = bytes.concat(proof);
            bad[i] ^= 0x01;
            check(!verifier.verify(key, values, bad), "off the curve");
        }
        bytes memory high = bytes.concat(proof);
        for (uint256 i = 32; i < 64; ++i) {
            high[i] = 0xff;
        }
        check(!verifier.verify(key, values, high), "y of A above the field");
    }

    /// @dev (0, q) would be a second encoding of infinity; a key of nothing but infinities shows whether it passes.
    function test_InfinityHasOneEncoding() public view {
        bytes memory nothing = new bytes(key.length);
        bytes memory infinities = new bytes(256);
        check(verifier.verify(nothing, values, infinities), "degenerate key");
        uint256 modulus = 21888242871839275222246405745257275088696311157297823662689037894645226208583;
        assembly ("memory-safe") {
            mstore(add(infinities, 64), modulus)
        }
        check(!verifier.verify(nothing, values, infinities), "y of A is the modulus");
    }

    function test_RefusesKeysThatDoNotFit() public {
        uint256[] memory one = new uint256[](1);
        vm.expectRevert(IProofVerifier.InvalidVerifyingKey.selector);
        verifier.verify(key, one, proof);
        bytes memory bad = bytes.concat(key);
        bad[448 + 64] ^= 0x01;
        vm.expectRevert(IProofVerifier.InvalidVerifyingKey.selector);
        verifier.verify(bad, values, proof);
    }

    /// @dev Too little gas must never look like a wrong proof.
    function testFuzz_NoVerdictWithoutGas(uint256 gasLimit) public view {
        gasLimit = within(gasLimit, 30_000, 400_000);
        try verifier.verify{gas: gasLimit}(key, values, proof) returns (bool valid) {
            check(valid, "a good proof refused for want of gas");
        } catch {}
    }

    function testFuzz_GarbageIsRefused(uint256 position, uint8 mask) public view {
        vm.assume(mask != 0);
        bytes memory bad = bytes.concat(proof);
        bad[within(position, 0, 255)] ^= bytes1(mask);
        check(!verifier.verify(key, values, bad), "mutated proof");
    }
}
