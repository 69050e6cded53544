// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {MerkleProof} from "../src/libraries/MerkleProof.sol";
import {MerkleTree} from "./support/MerkleTree.sol";
import {Test} from "./support/Test.sol";

contract MerkleProofTest is Test {
    /// @dev Gives the library its calldata.
    function rootOf(bytes32 leaf, bytes32[] calldata proof, uint256 index) external pure returns (bytes32) {
        return MerkleProof.rootOf(leaf, proof, index);
    }

    function testFuzz_EveryLeafLeadsToTheRoot(uint256 seed, uint256 count, uint256 index) public view {
        bytes32[] memory leaves = _leaves(seed, within(count, 1, 40));
        index = within(index, 0, leaves.length - 1);
        bytes32[] memory proof = MerkleTree.proofOf(leaves, index);
        same(this.rootOf(leaves[index], proof, index), MerkleTree.rootOf(leaves), "root");
    }

    function testFuzz_NoOtherLeafIndexOrProofDoes(uint256 seed, uint256 count, uint256 index, uint256 other)
        public
        view
    {
        bytes32[] memory leaves = _leaves(seed, within(count, 2, 40));
        index = within(index, 0, leaves.length - 1);
        bytes32 root = MerkleTree.rootOf(leaves);
        bytes32[] memory proof = MerkleTree.proofOf(leaves, index);
        check(this.rootOf(keccak256("other"), proof, index) != root, "leaf");
        other = within(other, 0, 1 << 70);
        if (other != index) check(this.rootOf(leaves[index], proof, other) != root, "index");
        proof[seed % proof.length] ^= bytes32(uint256(1));
        check(this.rootOf(leaves[index], proof, index) != root, "proof");
    }

    function test_PaddingIsNoLeaf() public view {
        bytes32[] memory leaves = _leaves(1, 3);
        bytes32[] memory proof = MerkleTree.proofOf(leaves, 3);
        same(this.rootOf(0, proof, 3), 0, "padding");
    }

    function test_ATreeOfOneIsItsLeaf() public view {
        bytes32 leaf = keccak256("leaf");
        same(this.rootOf(leaf, new bytes32[](0), 0), leaf, "root");
        same(this.rootOf(leaf, new bytes32[](0), 1), 0, "beyond");
    }

    function _leaves(uint256 seed, uint256 count) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i, "leaf"));
        }
    }
}
