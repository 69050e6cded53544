// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.30;

/// @title The pauser registry of a devnet's EigenLayer core: one account may pause and unpause.
/// @dev Devnet only. On a public network EigenLayer's own multisig-governed registry stands here.
contract DevPauserRegistry {
    address public immutable unpauser;

    constructor(address admin) {
        unpauser = admin;
    }

    function isPauser(address account) external view returns (bool) {
        return account == unpauser;
    }
}
