// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.30;

/// @title An EigenPodManager without pods: a devnet has no beacon chain, so nobody restakes native ether.
/// @dev Devnet only. DelegationManager asks it two questions when shares are delegated or slashed.
contract NoPods {
    function stakerDepositShares(address, address) external pure returns (uint256) {
        return 0;
    }

    /// @return The factor in wad; 1e18 = never slashed on the beacon chain.
    function beaconChainSlashingFactor(address) external pure returns (uint64) {
        return 1e18;
    }
}
