// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title What AllocationManager calls when operators enter or leave an AVS's operator sets.
/// @dev An AVS without a registrar of its own is asked itself, at its own address.
interface IAVSRegistrar {
    /// @notice Reverts to refuse `operator`; `data` is whatever the AVS asks of its operators.
    function registerOperator(address operator, address avs, uint32[] calldata operatorSetIds, bytes calldata data)
        external;

    /// @notice Told after `operator` left the sets.
    function deregisterOperator(address operator, address avs, uint32[] calldata operatorSetIds) external;

    /// @notice Whether this registrar serves `avs`.
    function supportsAVS(address avs) external view returns (bool);
}
