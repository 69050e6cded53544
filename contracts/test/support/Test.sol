// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Vm} from "./Vm.sol";

/// @title What forge wants of a test contract, and assertions that name what differs.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    error Unequal(string what, bytes32 actual, bytes32 expected);
    error UnequalNumbers(string what, uint256 actual, uint256 expected);
    error Untrue(string what);

    address[] private _targets;

    /// @dev Called by forge: the contracts that invariant runs call.
    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    function addTarget(address target) internal {
        _targets.push(target);
    }

    function check(bool condition, string memory what) internal pure {
        require(condition, Untrue(what));
    }

    function same(uint256 actual, uint256 expected, string memory what) internal pure {
        require(actual == expected, UnequalNumbers(what, actual, expected));
    }

    function same(bytes32 actual, bytes32 expected, string memory what) internal pure {
        require(actual == expected, Unequal(what, actual, expected));
    }

    function same(address actual, address expected, string memory what) internal pure {
        same(bytes32(uint256(uint160(actual))), bytes32(uint256(uint160(expected))), what);
    }

    function same(bytes memory actual, bytes memory expected, string memory what) internal pure {
        same(keccak256(actual), keccak256(expected), what);
    }

    function within(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return high - low == type(uint256).max ? value : low + value % (high - low + 1);
    }
}
