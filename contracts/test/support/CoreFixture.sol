// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {TransparentUpgradeableProxy} from "@openzeppelin/contracts/proxy/transparent/TransparentUpgradeableProxy.sol";
import {IAllocationManager, OperatorSet} from "../../src/interfaces/eigenlayer/IAllocationManager.sol";
import {DevPauserRegistry} from "../../src/devnet/DevPauserRegistry.sol";
import {DevStrategy} from "../../src/devnet/DevStrategy.sol";
import {NoPods} from "../../src/devnet/NoPods.sol";
import {TestToken} from "../../src/devnet/TestToken.sol";
import {Test} from "./Test.sol";

interface IDelegation {
    struct Signature {
        bytes signature;
        uint256 expiry;
    }

    function registerAsOperator(address approver, uint32 allocationDelay, string calldata metadataURI) external;
    function delegateTo(address operator, Signature calldata approval, bytes32 salt) external;
}

interface IStrategyManager {
    function addStrategiesToDepositWhitelist(address[] calldata strategies) external;
    function depositIntoStrategy(address strategy, address token, uint256 amount) external returns (uint256);
}

interface IAllocationManagerOfOperators is IAllocationManager {
    struct AllocateParams {
        OperatorSet operatorSet;
        address[] strategies;
        uint64[] newMagnitudes;
    }

    struct RegisterParams {
        address avs;
        uint32[] operatorSetIds;
        bytes data;
    }

    function modifyAllocations(address operator, AllocateParams[] calldata params) external;
    function registerForOperatorSets(address operator, RegisterParams calldata params) external;
    function isMemberOfOperatorSet(address operator, OperatorSet calldata operatorSet) external view returns (bool);
}

/// @title The EigenLayer core from its own creation bytecode, with one devnet strategy.
abstract contract CoreFixture is Test {
    uint32 internal constant DEALLOCATION_DELAY = 200;
    uint32 internal constant ALLOCATION_CONFIGURATION_DELAY = 2;
    uint32 internal constant MIN_WITHDRAWAL_DELAY = 10;
    uint256 internal constant NOW = 1_800_000_000;

    IDelegation internal delegation;
    IStrategyManager internal strategyManager;
    IAllocationManagerOfOperators internal allocationManager;
    TestToken internal stakeToken;
    DevStrategy internal strategy;

    function deployCore() internal {
        vm.roll(1_000);
        vm.warp(NOW);
        address pauser = address(new DevPauserRegistry(address(this)));
        address pods = address(new NoPods());
        address permissions = _create("PermissionController", abi.encode("v1.4.0"));

        // Implementation and proxy in turn, so the proxies come at nonces n + 1, n + 3 and n + 5.
        uint64 nonce = vm.getNonce(address(this));
        delegation = IDelegation(vm.computeCreateAddress(address(this), nonce + 1));
        strategyManager = IStrategyManager(vm.computeCreateAddress(address(this), nonce + 3));
        allocationManager = IAllocationManagerOfOperators(vm.computeCreateAddress(address(this), nonce + 5));
        bytes memory initialize = abi.encodeWithSignature("initialize(address,uint256)", address(this), 0);
        _proxy(
            _create(
                "DelegationManager",
                abi.encode(
                    strategyManager, pods, allocationManager, pauser, permissions, MIN_WITHDRAWAL_DELAY, "v1.4.0"
                )
            ),
            initialize,
            address(delegation)
        );
        _proxy(
            _create("StrategyManager", abi.encode(delegation, pauser, "v1.4.0")),
            abi.encodeWithSignature("initialize(address,address,uint256)", address(this), address(this), 0),
            address(strategyManager)
        );
        _proxy(
            _create(
                "AllocationManager",
                abi.encode(
                    delegation, pauser, permissions, DEALLOCATION_DELAY, ALLOCATION_CONFIGURATION_DELAY, "v1.4.0"
                )
            ),
            initialize,
            address(allocationManager)
        );

        stakeToken = new TestToken("Stake", "STK");
        strategy = new DevStrategy(address(strategyManager), stakeToken);
        strategyManager.addStrategiesToDepositWhitelist(strategies());
    }

    function strategies() internal view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(strategy);
    }

    /// @dev An operator of the core with `stake` delegated by one staker; may allocate a few blocks later.
    function becomeOperator(address operator, uint256 stake) internal {
        vm.prank(operator);
        delegation.registerAsOperator(address(0), 0, "");
        address staker = address(uint160(uint256(keccak256(abi.encode("staker", operator)))));
        stakeToken.mint(staker, stake);
        vm.startPrank(staker);
        stakeToken.approve(address(strategyManager), stake);
        strategyManager.depositIntoStrategy(address(strategy), address(stakeToken), stake);
        delegation.delegateTo(operator, IDelegation.Signature("", 0), 0);
        vm.stopPrank();
    }

    /// @param magnitude In wad; 1e18 = all stake.
    function allocate(address operator, address avs, uint64 magnitude) internal {
        IAllocationManagerOfOperators.AllocateParams[] memory params =
            new IAllocationManagerOfOperators.AllocateParams[](1);
        params[0].operatorSet = OperatorSet(avs, 0);
        params[0].strategies = strategies();
        params[0].newMagnitudes = new uint64[](1);
        params[0].newMagnitudes[0] = magnitude;
        vm.prank(operator);
        allocationManager.modifyAllocations(operator, params);
    }

    /// @dev No call stands between this and the core's, so that `expectRevert` before it hits the core.
    function join(address operator, address avs, bytes memory data) internal {
        vm.prank(operator);
        allocationManager.registerForOperatorSets(
            operator, IAllocationManagerOfOperators.RegisterParams(avs, new uint32[](1), data)
        );
    }

    function depart(address operator, address avs) internal {
        vm.prank(operator);
        allocationManager.deregisterFromOperatorSets(
            IAllocationManager.DeregisterParams(operator, avs, new uint32[](1))
        );
    }

    function mine(uint256 blocks) internal {
        vm.roll(vm.getBlockNumber() + blocks);
        vm.warp(vm.getBlockTimestamp() + blocks);
    }

    function _create(string memory name, bytes memory arguments) private returns (address created) {
        bytes memory creation =
            bytes.concat(vm.getCode(string.concat("../.artifacts/eigenlayer/", name, ".json")), arguments);
        assembly ("memory-safe") {
            created := create(0, add(creation, 32), mload(creation))
        }
        check(created != address(0), name);
    }

    function _proxy(address implementation, bytes memory initialize, address expected) private {
        TransparentUpgradeableProxy proxy = new TransparentUpgradeableProxy(implementation, address(this), initialize);
        same(address(proxy), expected, "predicted address of a proxy");
    }
}
