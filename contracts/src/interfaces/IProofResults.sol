// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Result} from "../libraries/ProvernetTypes.sol";

/// @title What a consumer contract reads: how a request ended, and what was proven.
/// @notice A result is final in the tree of its batch; recording it here is optional, by anyone who pays the gas.
interface IProofResults {
    /// @notice The leaf is not in the batch at this index.
    error NotIncluded();
    /// @notice The claim's bytes, or the status, are not a result's.
    error InvalidResult();
    /// @notice Another result of this request is recorded.
    error AlreadyRecorded(bytes32 requestId);
    error NotRecorded(bytes32 requestId);

    event ResultRecorded(bytes32 indexed requestId, bytes32 indexed programId, address indexed requester, uint8 status);

    /// @notice Stores a result out of a settled batch, by its inclusion proof; repeating it changes nothing.
    /// @param sequence Settlement number of the batch.
    /// @param claim What was proven, in the program's own encoding; empty unless settled.
    /// @param proof Siblings from the leaf upwards.
    /// @param index Position of the leaf.
    function record(
        uint64 sequence,
        Result calldata result,
        bytes calldata claim,
        bytes32[] calldata proof,
        uint256 index
    ) external;

    /// @notice 0 not recorded, 1 settled, 2 expired, 3 cancelled, 4 failed (2 to 4: the requester was not charged).
    function statusOf(bytes32 requestId) external view returns (uint8);

    /// @notice A recorded result and its claim; reverts if there is none.
    function resultOf(bytes32 requestId) external view returns (Result memory result, bytes memory claim);

    /// @notice Whether `leaf` stands at `index` of the settled batch `sequence`.
    /// @param leaf Result leaf, see `resultLeaf`, or another leaf of the batch.
    function verifyInclusion(uint64 sequence, bytes32 leaf, bytes32[] calldata proof, uint256 index)
        external
        view
        returns (bool);

    /// @notice The leaf of a result: keccak256(abi.encode(1, requestId, programId, requester, status, issuedAt,
    /// keccak256(claim), fee)).
    function resultLeaf(Result calldata result, bytes calldata claim) external pure returns (bytes32);

    /// @notice Merkle root of a settled batch; zero = none.
    function roots(uint64 sequence) external view returns (bytes32);

    /// @notice Number of the last settled batch; 0 = none.
    function lastSequence() external view returns (uint64);
}
