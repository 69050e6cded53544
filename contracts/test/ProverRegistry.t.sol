// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ProverRegistry} from "../src/ProverRegistry.sol";
import {IProverRegistry} from "../src/interfaces/IProverRegistry.sol";
import {OperatorSet} from "../src/interfaces/eigenlayer/IAllocationManager.sol";
import {IAllocationManagerOfOperators} from "./support/CoreFixture.sol";
import {NetworkFixture} from "./support/NetworkFixture.sol";

/// @dev Registration through the real AllocationManager: what is refused, and what is kept.
contract ProverRegistryTest is NetworkFixture {
    address private newcomer = operatorAt(100);

    function setUp() public {
        deployRegistry();
        registerOperators(3, 100 ether);
        becomeOperator(newcomer, 50 ether);
        mine(ALLOCATION_CONFIGURATION_DELAY + 1);
    }

    function test_RegistrationKeepsKeysAndPeer() public view {
        IProverRegistry.OperatorKeys memory keys = keysOf(1);
        uint32 keyId = registry.keyIdOf(operatorAt(1));
        IProverRegistry.KeyRecord memory record = registry.keyRecord(keyId);
        same(uint256(keyId), 2, "key id");
        same(record.operator, operatorAt(1), "operator");
        same(record.session, keys.session, "session");
        same(record.sealingKey, keys.sealingKey, "sealing key");
        same(record.peerIdHash, keccak256(keys.peerId), "peer id hash");
        // 96 bytes without the padding of EIP-2537.
        bytes memory key = keys.blsKey;
        bytes memory unpadded = bytes.concat(_slice(key, 16, 48), _slice(key, 80, 48));
        same(abi.encodePacked(record.blsKey), unpadded, "key");
        (bytes memory peerId, string memory multiaddrs) = registry.peerOf(operatorAt(1));
        same(peerId, keys.peerId, "peer id");
        same(bytes(multiaddrs), bytes(keys.multiaddrs), "multiaddrs");
        same(registry.operatorOfSession(keys.session), operatorAt(1), "operator of session");
        same(registry.operators().length, 3, "operators");
        check(allocationManager.isMemberOfOperatorSet(operatorAt(1), OperatorSet(address(registry), 0)), "member");
    }

    function test_StakeIsWhatTheCoreCanSlash() public {
        same(registry.stakeOf(operatorAt(0)), 100e9, "all allocated");
        admit(newcomer);
        same(registry.stakeOf(newcomer), 0, "allocated, not yet a member");
        join(newcomer, address(registry), abi.encode(keysFor(newcomer, 100)));
        same(registry.stakeOf(newcomer), 50e9, "a member");
        // On its way out, though slashable for DEALLOCATION_DELAY still.
        allocate(newcomer, address(registry), 25e16);
        same(registry.stakeOf(newcomer), 50e9, "slashable in the whole lifetime of a table frozen now");
        mine(1);
        same(registry.stakeOf(newcomer), 12.5e9, "no longer so in the next block");
    }

    function test_RefusesWhoIsNotAllowed() public {
        allocate(newcomer, address(registry), 1e18);
        _expectRefusal(
            keysFor(newcomer, 100), abi.encodeWithSelector(IProverRegistry.OperatorNotAllowed.selector, newcomer)
        );
    }

    function test_RefusesStakeBelowMinimum() public {
        vm.prank(GOVERNANCE);
        registry.setAllowed(newcomer, true);
        _expectRefusal(
            keysFor(newcomer, 100), abi.encodeWithSelector(IProverRegistry.StakeBelowMinimum.selector, 0, MINIMUM_STAKE)
        );
        allocate(newcomer, address(registry), 0.19e18);
        _expectRefusal(
            keysFor(newcomer, 100),
            abi.encodeWithSelector(IProverRegistry.StakeBelowMinimum.selector, 9.5e9, MINIMUM_STAKE)
        );
        allocate(newcomer, address(registry), 0.2e18);
        join(newcomer, address(registry), abi.encode(keysFor(newcomer, 100)));
        same(registry.stakeOf(newcomer), 10e9, "exactly the minimum");
    }

    function test_OnlyTheCoreRegisters() public {
        bytes memory data = abi.encode(keysFor(newcomer, 100));
        vm.prank(GOVERNANCE);
        registry.setAllowed(newcomer, true);
        vm.expectRevert(IProverRegistry.OnlyAllocationManager.selector);
        vm.prank(GOVERNANCE);
        registry.registerOperator(newcomer, address(registry), new uint32[](1), data);
        vm.expectRevert(IProverRegistry.OnlyAllocationManager.selector);
        registry.deregisterOperator(operatorAt(0), address(registry), new uint32[](1));
    }

    function test_RefusesBadKeys() public {
        admit(newcomer);
        IProverRegistry.OperatorKeys memory keys = keysFor(newcomer, 100);
        bytes memory good = keys.blsKey;

        keys.blsKey = new bytes(128);
        keys.proofOfPossession = new bytes(256);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidBlsKey.selector));
        keys.blsKey = _slice(good, 0, 127);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidBlsKey.selector));
        keys.blsKey = bytes.concat(good, hex"00");
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidBlsKey.selector));

        // (0, 2) is on the curve y^2 = x^3 + 4 and out of the subgroup: it has order 3.
        keys.blsKey = new bytes(128);
        keys.blsKey[127] = 0x02;
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidProofOfPossession.selector));
        // Off the curve.
        keys.blsKey[127] = 0x03;
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidProofOfPossession.selector));
        // Dirty padding, which unpadded storage would lose.
        keys = keysFor(newcomer, 100);
        keys.blsKey[0] = 0x01;
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidProofOfPossession.selector));
    }

    function test_RefusesBadProofsOfPossession() public {
        admit(newcomer);
        bytes memory refusal = abi.encodeWithSelector(IProverRegistry.InvalidProofOfPossession.selector);
        IProverRegistry.OperatorKeys memory keys = keysFor(newcomer, 100);
        keys.proofOfPossession = keysFor(newcomer, 101).proofOfPossession;
        _expectRefusal(keys, refusal);
        keys.proofOfPossession = new bytes(256);
        _expectRefusal(keys, refusal);
        keys.proofOfPossession = _slice(keysFor(newcomer, 100).proofOfPossession, 0, 255);
        _expectRefusal(keys, refusal);
        // Made for another operator: copied from the chain.
        _expectRefusal(keysFor(operatorAt(0), 100), refusal);
        // Each signed field counts.
        keys = keysFor(newcomer, 100);
        keys.session = address(0x5e551);
        _expectRefusal(keys, refusal);
        keys = keysFor(newcomer, 100);
        keys.sealingKey = bytes32(uint256(1));
        _expectRefusal(keys, refusal);
        keys = keysFor(newcomer, 100);
        keys.peerId = hex"1220";
        _expectRefusal(keys, refusal);
    }

    function test_RefusesWhatAnotherOperatorUses() public {
        admit(newcomer);
        IProverRegistry.OperatorKeys memory keys = keysFor(newcomer, 0);
        keys.session = address(0x5e551);
        keys.peerId = hex"122001";
        prove(newcomer, 0, keys);
        bytes memory blsId = abi.encodePacked("bls", keys.blsKey);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.KeyTaken.selector, keccak256(blsId)));

        keys = keysFor(newcomer, 100);
        keys.session = keysOf(0).session;
        prove(newcomer, 100, keys);
        bytes memory sessionId = abi.encodePacked("session", keys.session);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.KeyTaken.selector, keccak256(sessionId)));

        keys = keysFor(newcomer, 100);
        keys.peerId = keysOf(0).peerId;
        prove(newcomer, 100, keys);
        bytes memory peer = abi.encodePacked("peer", keys.peerId);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.KeyTaken.selector, keccak256(peer)));

        // Also when its first user has left.
        depart(operatorAt(0), address(registry));
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.KeyTaken.selector, keccak256(peer)));
    }

    function test_RefusesMalformedFields() public {
        admit(newcomer);
        IProverRegistry.OperatorKeys memory keys = keysFor(newcomer, 100);
        keys.session = address(0);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidSession.selector));
        keys.session = newcomer;
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidSession.selector));
        keys = keysFor(newcomer, 100);
        keys.sealingKey = 0;
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidSealingKey.selector));
        keys = keysFor(newcomer, 100);
        keys.peerId = "";
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidPeerId.selector));
        keys.peerId = new bytes(65);
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.InvalidPeerId.selector));
        keys = keysFor(newcomer, 100);
        keys.multiaddrs = string(new bytes(1_025));
        _expectRefusal(keys, abi.encodeWithSelector(IProverRegistry.MultiaddrsTooLong.selector));
    }

    function test_LeavingAndReturningMakesANewKeyVersion() public {
        depart(operatorAt(0), address(registry));
        same(uint256(registry.keyIdOf(operatorAt(0))), 0, "left");
        same(registry.operators().length, 2, "operators");
        same(registry.keyRecord(1).operator, operatorAt(0), "its record stays");
        mine(DEALLOCATION_DELAY + 1);
        allocate(operatorAt(0), address(registry), 0.5e18);
        join(operatorAt(0), address(registry), abi.encode(keysOf(0)));
        same(uint256(registry.keyIdOf(operatorAt(0))), 4, "new version");
        same(registry.operators()[2], operatorAt(0), "last in the table");
    }

    function test_EjectionIsFinalWithoutGovernance() public {
        vm.expectRevert();
        registry.eject(operatorAt(1));
        vm.prank(GOVERNANCE);
        registry.eject(operatorAt(1));
        check(!allocationManager.isMemberOfOperatorSet(operatorAt(1), OperatorSet(address(registry), 0)), "member");
        same(uint256(registry.keyIdOf(operatorAt(1))), 0, "registered");
        same(registry.operators()[1], operatorAt(2), "the last takes the free place");
        mine(DEALLOCATION_DELAY + 1);
        allocate(operatorAt(1), address(registry), 0.5e18);
        bytes memory data = abi.encode(keysOf(1));
        vm.expectRevert(abi.encodeWithSelector(IProverRegistry.OperatorNotAllowed.selector, operatorAt(1)));
        join(operatorAt(1), address(registry), data);
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(IProverRegistry.OperatorNotRegistered.selector, operatorAt(1)));
        registry.eject(operatorAt(1));
    }

    function test_MultiaddrsBelongToOperatorAndSession() public {
        address session = keysOf(0).session;
        vm.prank(session);
        registry.updateMultiaddrs(operatorAt(0), "/ip4/10.0.0.1/tcp/1");
        vm.prank(operatorAt(0));
        registry.updateMultiaddrs(operatorAt(0), "/ip4/10.0.0.2/tcp/2");
        (, string memory multiaddrs) = registry.peerOf(operatorAt(0));
        same(bytes(multiaddrs), bytes("/ip4/10.0.0.2/tcp/2"), "multiaddrs");
        vm.expectRevert(IProverRegistry.NotOperatorNorSession.selector);
        vm.prank(session);
        registry.updateMultiaddrs(operatorAt(1), "/ip4/10.0.0.1/tcp/1");
        vm.expectRevert(abi.encodeWithSelector(IProverRegistry.OperatorNotRegistered.selector, newcomer));
        vm.prank(newcomer);
        registry.updateMultiaddrs(newcomer, "");
        vm.expectRevert(IProverRegistry.MultiaddrsTooLong.selector);
        vm.prank(session);
        registry.updateMultiaddrs(operatorAt(0), string(new bytes(1_025)));
    }

    function test_SetUpHappensOnce() public {
        address[] memory list = strategies();
        vm.expectRevert(IProverRegistry.AlreadySetUp.selector);
        vm.prank(GOVERNANCE);
        registry.setUpAvs("ipfs://other", list);
    }

    function test_EpochsEndBeforeStakeCanLeave() public {
        vm.expectRevert(IProverRegistry.EpochTooLong.selector);
        new ProverRegistry(allocationManager, GOVERNANCE, 0, DEALLOCATION_DELAY / 2, 1);
        new ProverRegistry(allocationManager, GOVERNANCE, 0, DEALLOCATION_DELAY / 2 - 1, 1);
        vm.expectRevert(IProverRegistry.EpochTooLong.selector);
        new ProverRegistry(allocationManager, GOVERNANCE, 0, 0, 1);
        vm.expectRevert(IProverRegistry.EpochTooLong.selector);
        new ProverRegistry(allocationManager, GOVERNANCE, 0, 1, 0);
    }

    function _expectRefusal(IProverRegistry.OperatorKeys memory keys, bytes memory refusal) private {
        bytes memory data = abi.encode(keys);
        vm.prank(newcomer);
        (bool done, bytes memory answer) = address(allocationManager)
            .call(
                abi.encodeCall(
                    allocationManager.registerForOperatorSets,
                    (newcomer, IAllocationManagerOfOperators.RegisterParams(address(registry), new uint32[](1), data))
                )
            );
        check(!done, "registered");
        same(answer, refusal, "reason");
    }

    function _slice(bytes memory data, uint256 from, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i; i < length; ++i) {
            part[i] = data[from + i];
        }
    }
}
