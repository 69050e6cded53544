// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProverRegistry} from "../src/interfaces/IProverRegistry.sol";
import {NetworkFixture} from "./support/NetworkFixture.sol";

/// @dev The largest table that registration admits can be frozen, opened and used.
/// forge-config: default.isolate = true
contract FullTableTest is NetworkFixture {
    bytes32 private constant DIGEST = keccak256("digest");
    uint256 private count;

    function setUp() public {
        deployRegistry();
        count = registry.MAX_OPERATORS();
        registerOperators(count, 100 ether);
    }

    function test_FreezesInOneTransaction() public {
        registry.freezeTable();
        uint256 used = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("freezeTable, 160 operators", used);
        check(used < 16_777_216, vm.toString(used));
        mine(TABLE_SEED_DELAY + 1);
        registry.openEpoch();
        same(registry.tableOf(1).length, count, "rows");
        uint256 absent = count / 3 - 1;
        bytes memory signature = certify(DIGEST, absent, count);
        uint256 weight = registry.checkCertificate(1, DIGEST, signature, positions(0, absent));
        same(weight, (count - absent) * 100e9, "signed weight");
    }

    function test_NobodyMoreEnters() public {
        address newcomer = operatorAt(count);
        becomeOperator(newcomer, 100 ether);
        mine(ALLOCATION_CONFIGURATION_DELAY + 1);
        admit(newcomer);
        bytes memory data = abi.encode(keysOf(count));
        vm.expectRevert(IProverRegistry.TooManyOperators.selector);
        join(newcomer, address(registry), data);
    }
}
