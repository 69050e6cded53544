// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IProofResults} from "../interfaces/IProofResults.sol";
import {ProvernetTypes, Result} from "../libraries/ProvernetTypes.sol";

/// @title Open only while a fresh proof of an issuer's liabilities is covered by its reserves.
/// @notice Liabilities come from a settled result of the solvency program, asked for by the issuer; reserves are a
/// token balance. The gate closes by itself when the proof ages or the reserves fall.
contract SolvencyGate {
    error NotIncluded();
    error NotSettled(uint8 status);
    error WrongProgram(bytes32 programId);
    error WrongRequester(address requester);
    error InvalidClaim();
    error NotNewer(uint64 issuedAt, uint64 current);
    error FromTheFuture(uint64 issuedAt);

    event LiabilitiesUpdated(bytes32 indexed requestId, uint256 root, uint256 total, uint64 issuedAt);

    IProofResults public immutable results;
    bytes32 public immutable programId;
    address public immutable issuer;
    IERC20 public immutable reserveToken;
    address public immutable custody;
    /// @notice Seconds for which a proof counts, from its issuedAt.
    uint64 public immutable maxAge;

    /// @notice Latest proven liabilities: Merkle-sum root, total in the smallest unit of the reserve token, issue time
    /// (Unix seconds; 0 = nothing proven yet).
    uint256 public liabilitiesRoot;
    uint256 public totalLiabilities;
    uint64 public issuedAt;

    constructor(
        IProofResults results_,
        bytes32 programId_,
        address issuer_,
        IERC20 reserveToken_,
        address custody_,
        uint64 maxAge_
    ) {
        results = results_;
        programId = programId_;
        issuer = issuer_;
        reserveToken = reserveToken_;
        custody = custody_;
        maxAge = maxAge_;
    }

    /// @notice Takes a newer result over, by its inclusion proof; anyone.
    /// @param claim abi.encode(uint256 root, uint256 total, uint256 accountCount).
    function update(
        uint64 sequence,
        Result calldata result,
        bytes calldata claim,
        bytes32[] calldata proof,
        uint256 index
    ) external {
        require(result.status == ProvernetTypes.SETTLED, NotSettled(result.status));
        require(result.programId == programId, WrongProgram(result.programId));
        require(result.requester == issuer, WrongRequester(result.requester));
        require(result.issuedAt > issuedAt, NotNewer(result.issuedAt, issuedAt));
        require(result.issuedAt <= block.timestamp, FromTheFuture(result.issuedAt));
        require(claim.length == 96, InvalidClaim());
        bytes32 leaf = ProvernetTypes.resultLeaf(result, keccak256(claim));
        require(results.verifyInclusion(sequence, leaf, proof, index), NotIncluded());

        (liabilitiesRoot, totalLiabilities,) = abi.decode(claim, (uint256, uint256, uint256));
        issuedAt = result.issuedAt;
        emit LiabilitiesUpdated(result.requestId, liabilitiesRoot, totalLiabilities, result.issuedAt);
    }

    /// @notice Whether the latest proof is fresh and the reserves cover it.
    function isOpen() external view returns (bool) {
        return
            issuedAt != 0 && block.timestamp - issuedAt <= maxAge && totalLiabilities <= reserveToken.balanceOf(custody);
    }
}
