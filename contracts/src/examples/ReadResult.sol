// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProofResults} from "../interfaces/IProofResults.sol";
import {Result} from "../libraries/ProvernetTypes.sol";

/// @title The shortest consumer: reads the total that a solvency request proved.
contract ReadResult {
    function provenTotal(IProofResults results, bytes32 programId, bytes32 requestId) external view returns (uint256) {
        (Result memory result, bytes memory claim) = results.resultOf(requestId);
        require(result.status == 1 && result.programId == programId, "not settled");
        (, uint256 total,) = abi.decode(claim, (uint256, uint256, uint256));
        return total;
    }
}
