// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProofResults} from "../interfaces/IProofResults.sol";
import {MerkleProof} from "../libraries/MerkleProof.sol";
import {ProvernetTypes, Result} from "../libraries/ProvernetTypes.sol";

/// @title Roots of settled batches, and the results that someone took out of them.
abstract contract Results is IProofResults {
    struct Recorded {
        Result result;
        bytes claim;
    }

    /// @inheritdoc IProofResults
    mapping(uint64 sequence => bytes32) public roots;
    mapping(bytes32 requestId => Recorded) private _recorded;

    /// @inheritdoc IProofResults
    function record(
        uint64 sequence,
        Result calldata result,
        bytes calldata claim,
        bytes32[] calldata proof,
        uint256 index
    ) external {
        bytes32 leaf = resultLeaf(result, claim);
        require(verifyInclusion(sequence, leaf, proof, index), NotIncluded());
        require(result.status != 0 && (result.status == ProvernetTypes.SETTLED || claim.length == 0), InvalidResult());

        Recorded storage recorded = _recorded[result.requestId];
        if (recorded.result.status != 0) {
            bytes32 known = ProvernetTypes.resultLeaf(recorded.result, keccak256(recorded.claim));
            require(known == leaf, AlreadyRecorded(result.requestId));
            return;
        }
        recorded.result = result;
        recorded.claim = claim;
        emit ResultRecorded(result.requestId, result.programId, result.requester, result.status);
    }

    /// @inheritdoc IProofResults
    function statusOf(bytes32 requestId) external view returns (uint8) {
        return _recorded[requestId].result.status;
    }

    /// @inheritdoc IProofResults
    function resultOf(bytes32 requestId) external view returns (Result memory result, bytes memory claim) {
        Recorded storage recorded = _recorded[requestId];
        require(recorded.result.status != 0, NotRecorded(requestId));
        return (recorded.result, recorded.claim);
    }

    /// @inheritdoc IProofResults
    function verifyInclusion(uint64 sequence, bytes32 leaf, bytes32[] calldata proof, uint256 index)
        public
        view
        returns (bool)
    {
        bytes32 root = MerkleProof.rootOf(leaf, proof, index);
        return root != 0 && root == roots[sequence];
    }

    /// @inheritdoc IProofResults
    function resultLeaf(Result calldata result, bytes calldata claim) public pure returns (bytes32) {
        return ProvernetTypes.resultLeaf(result, keccak256(claim));
    }
}
