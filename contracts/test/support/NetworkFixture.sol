// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ProverRegistry} from "../../src/ProverRegistry.sol";
import {IProverRegistry} from "../../src/interfaces/IProverRegistry.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {CoreFixture} from "./CoreFixture.sol";

/// @title The AVS on the core, with operators that registered the whole way.
abstract contract NetworkFixture is CoreFixture {
    uint96 internal constant MINIMUM_STAKE = 10e9; // 10 tokens of 18 decimals, in units of stakeOf
    uint256 internal constant EPOCH_BLOCKS = 50;
    uint256 internal constant TABLE_SEED_DELAY = 2;
    /// @dev Deploys the registry alone, so that its address (part of every digest) is the same in all tests.
    address internal constant DEPLOYER = address(0xde9107e4);
    address internal constant GOVERNANCE = address(0x60f);

    ProverRegistry internal registry;

    function deployRegistry() internal {
        deployCore();
        vm.prank(DEPLOYER);
        registry = new ProverRegistry(allocationManager, GOVERNANCE, MINIMUM_STAKE, EPOCH_BLOCKS, TABLE_SEED_DELAY);
        address[] memory list = strategies();
        vm.prank(GOVERNANCE);
        registry.setUpAvs("ipfs://provernet", list);
    }

    /// @dev Registers operators 0 to count - 1 with `stake` tokens each.
    function registerOperators(uint256 count, uint256 stake) internal {
        for (uint256 i; i < count; ++i) {
            becomeOperator(operatorAt(i), stake);
        }
        mine(ALLOCATION_CONFIGURATION_DELAY + 1);
        for (uint256 i; i < count; ++i) {
            admit(operatorAt(i));
            join(operatorAt(i), address(registry), abi.encode(keysOf(i)));
        }
    }

    /// @dev Allowed, with all stake allocated: everything but the registration itself.
    function admit(address operator) internal {
        vm.prank(GOVERNANCE);
        registry.setAllowed(operator, true);
        allocate(operator, address(registry), 1e18);
    }

    function openNextEpoch() internal {
        registry.freezeTable();
        mine(TABLE_SEED_DELAY + 1);
        registry.openEpoch();
    }

    function operatorAt(uint256 index) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("operator", index)))));
    }

    function keysOf(uint256 index) internal view returns (IProverRegistry.OperatorKeys memory) {
        return keysFor(operatorAt(index), index);
    }

    /// @dev Valid keys number `index` for an operator of any address.
    function keysFor(address operator, uint256 index) internal view returns (IProverRegistry.OperatorKeys memory keys) {
        keys.session = address(uint160(uint256(keccak256(abi.encode("session", index)))));
        keys.blsKey = BlsSigner.publicKey(BlsSigner.secret(index));
        keys.sealingKey = keccak256(abi.encode("sealing key", index));
        keys.peerId = abi.encodePacked(hex"1220", keccak256(abi.encode("peer", index)));
        keys.multiaddrs = "/ip4/127.0.0.1/tcp/4001,/dns4/node.example/tcp/4001";
        prove(operator, index, keys);
    }

    /// @dev Replaces the proof of possession by one over the keys as they are.
    function prove(address operator, uint256 index, IProverRegistry.OperatorKeys memory keys) internal view {
        bytes32 digest =
            registry.keyRegistrationDigest(operator, keys.session, keys.blsKey, keys.sealingKey, keys.peerId);
        keys.proofOfPossession = BlsSigner.sign(BlsSigner.secret(index), digest);
    }

    /// @dev Aggregate signature of operators `from` to `to - 1` (all of one table, in order of registration).
    function certify(bytes32 digest, uint256 from, uint256 to) internal view returns (bytes memory) {
        uint256 sum;
        for (uint256 i = from; i < to; ++i) {
            sum = addmod(sum, BlsSigner.secret(i), BlsSigner.ORDER);
        }
        return BlsSigner.sign(sum, digest);
    }

    /// @dev Packed positions `from` to `to - 1`.
    function positions(uint256 from, uint256 to) internal pure returns (bytes memory packed) {
        for (uint256 i = from; i < to; ++i) {
            packed = abi.encodePacked(packed, uint16(i));
        }
    }
}
