// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {SolvencyGate} from "./SolvencyGate.sol";

/// @title A token that its issuer can mint only while the issuer is provably solvent.
contract DemoStablecoin is ERC20 {
    error OnlyIssuer();
    error GateClosed();

    SolvencyGate public immutable gate;

    constructor(SolvencyGate gate_) ERC20("Demo Stablecoin", "DUSD") {
        gate = gate_;
    }

    function mint(address to, uint256 amount) external {
        require(msg.sender == gate.issuer(), OnlyIssuer());
        require(gate.isOpen(), GateClosed());
        _mint(to, amount);
    }
}
