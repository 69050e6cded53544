// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IProverRegistry} from "./interfaces/IProverRegistry.sol";
import {IAllocationManager} from "./interfaces/eigenlayer/IAllocationManager.sol";
import {IAVSRegistrar} from "./interfaces/eigenlayer/IAVSRegistrar.sol";
import {EpochTables} from "./registry/EpochTables.sol";

/// @title The prover network's AVS on EigenLayer, and its registrar.
/// @notice The AVS's identity is this contract's address. Operators enter only through AllocationManager, with stake
/// allocated to operator set 0; the owner (governance) keeps the allowlist and can eject, but can not register anyone.
contract ProverRegistry is EpochTables, IAVSRegistrar, Ownable2Step {
    /// @notice Stake asked at registration, in units of `stakeOf`.
    uint96 public minimumStake;
    bool private _isSetUp;
    mapping(address operator => bool) public isAllowed;

    modifier onlyAllocationManager() {
        require(msg.sender == address(allocationManager), OnlyAllocationManager());
        _;
    }

    /// @param minimumStake_ In units of `stakeOf`.
    /// @param epochBlocks See EPOCH_BLOCKS.
    /// @param seedDelay See TABLE_SEED_DELAY; twice their sum is at most the
    /// core's DEALLOCATION_DELAY.
    constructor(IAllocationManager core, address owner_, uint96 minimumStake_, uint256 epochBlocks, uint256 seedDelay)
        EpochTables(core, epochBlocks, seedDelay)
        Ownable(owner_)
    {
        minimumStake = minimumStake_;
        emit MinimumStakeSet(minimumStake_);
    }

    /// @inheritdoc IProverRegistry
    function setUpAvs(string calldata metadataURI, address[] calldata strategies) external onlyOwner {
        require(!_isSetUp, AlreadySetUp());
        _isSetUp = true;
        allocationManager.updateAVSMetadataURI(address(this), metadataURI);
        IAllocationManager.CreateSetParams[] memory sets = new IAllocationManager.CreateSetParams[](1);
        sets[0] = IAllocationManager.CreateSetParams(OPERATOR_SET_ID, strategies);
        allocationManager.createOperatorSets(address(this), sets);
    }

    /// @inheritdoc IProverRegistry
    function setAllowed(address operator, bool allowed) external onlyOwner {
        _setAllowed(operator, allowed);
    }

    /// @inheritdoc IProverRegistry
    function setMinimumStake(uint96 minimumStake_) external onlyOwner {
        minimumStake = minimumStake_;
        emit MinimumStakeSet(minimumStake_);
    }

    /// @inheritdoc IProverRegistry
    function eject(address operator) external onlyOwner {
        require(_currentKeyId(operator) != 0, OperatorNotRegistered(operator));
        _setAllowed(operator, false);
        emit OperatorEjected(operator);
        uint32[] memory ids = new uint32[](1);
        ids[0] = OPERATOR_SET_ID;
        allocationManager.deregisterFromOperatorSets(IAllocationManager.DeregisterParams(operator, address(this), ids));
        // The core tells the registrar of the operator set, which is this contract; it may not insist that it answers.
        _removeOperator(operator);
    }

    /// @inheritdoc IAVSRegistrar
    /// @param data abi.encode(OperatorKeys)
    function registerOperator(address operator, address avs, uint32[] calldata operatorSetIds, bytes calldata data)
        external
        onlyAllocationManager
    {
        require(
            avs == address(this) && operatorSetIds.length == 1 && operatorSetIds[0] == OPERATOR_SET_ID,
            UnknownOperatorSet()
        );
        require(isAllowed[operator], OperatorNotAllowed(operator));
        uint256 stake = stakeOf(operator);
        require(stake >= minimumStake, StakeBelowMinimum(stake, minimumStake));
        _addOperator(operator, abi.decode(data, (OperatorKeys)));
    }

    /// @inheritdoc IAVSRegistrar
    function deregisterOperator(address operator, address avs, uint32[] calldata) external onlyAllocationManager {
        if (avs == address(this)) _removeOperator(operator);
    }

    /// @inheritdoc IAVSRegistrar
    function supportsAVS(address avs) external view returns (bool) {
        return avs == address(this);
    }

    function _setAllowed(address operator, bool allowed) private {
        isAllowed[operator] = allowed;
        emit OperatorAllowed(operator, allowed);
    }
}
