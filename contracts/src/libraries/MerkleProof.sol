// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title Inclusion proofs of a batch's tree: node = keccak256(left | right), ordered by index, padded with zeros.
/// @dev Leaves hash more than 64 bytes, so no inner node passes for one.
library MerkleProof {
    /// @notice The root that `leaf` at `index` leads to; zero, the root of no tree, if the proof can not be right.
    /// @param leaf Not zero: that is padding.
    /// @param proof Siblings from the leaf upwards, 32 bytes each.
    /// @param index Position from the left; must lie within a tree of this depth, so that a position has one index.
    function rootOf(bytes32 leaf, bytes32[] calldata proof, uint256 index) internal pure returns (bytes32 node) {
        if (leaf == 0 || proof.length > 64 || index >> proof.length != 0) return 0;
        node = leaf;
        for (uint256 level; level < proof.length; ++level) {
            bytes32 sibling = proof[level];
            bool isRight = (index >> level) & 1 == 1;
            assembly ("memory-safe") {
                switch isRight
                case 0 {
                    mstore(0, node)
                    mstore(32, sibling)
                }
                default {
                    mstore(0, sibling)
                    mstore(32, node)
                }
                node := keccak256(0, 64)
            }
        }
    }
}
