// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @notice Names one operator set of one AVS.
struct OperatorSet {
    address avs;
    uint32 id;
}

/// @title The part of EigenLayer's AllocationManager (slashing release v1.4.0) that an AVS like ours calls.
/// @dev Written from the published ABI; the core itself is deployed from its own artifacts.
interface IAllocationManager {
    struct CreateSetParams {
        uint32 operatorSetId;
        address[] strategies;
    }

    struct DeregisterParams {
        address operator;
        address avs;
        uint32[] operatorSetIds;
    }

    /// @notice Publishes where the AVS describes itself; the core wants it before any operator set.
    function updateAVSMetadataURI(address avs, string calldata metadataURI) external;

    /// @notice Creates operator sets; strategies ascend by address.
    function createOperatorSets(address avs, CreateSetParams[] calldata params) external;

    /// @notice Takes an operator out of sets; the operator, or the AVS itself, may call it.
    function deregisterFromOperatorSets(DeregisterParams calldata params) external;

    /// @notice Strategies whose stake counts for a set, ascending.
    function getStrategiesInOperatorSet(OperatorSet calldata operatorSet) external view returns (address[] memory);

    /// @notice Shares that stay slashable up to `futureBlock`, per operator and strategy.
    function getMinimumSlashableStake(
        OperatorSet calldata operatorSet,
        address[] calldata operators,
        address[] calldata strategies,
        uint32 futureBlock
    ) external view returns (uint256[][] memory slashableStake);

    /// @notice Blocks for which stake stays slashable after its deallocation or its operator's deregistration.
    function DEALLOCATION_DELAY() external view returns (uint32);
}
