// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title An EigenLayer strategy over one ERC-20: shares are a pro-rata claim on the balance.
/// @dev Devnet only: no pausing, no upgrade. Implements the part of IStrategy that StrategyManager v1.4.0 calls.
contract DevStrategy {
    using SafeERC20 for IERC20;

    error OnlyStrategyManager();
    error OnlyUnderlyingToken();
    error NewSharesZero();

    /// @dev Virtual shares and tokens, so that a donation can not inflate the price of the first share.
    uint256 private constant OFFSET = 1e3;

    address public immutable strategyManager;
    IERC20 public immutable underlyingToken;
    uint256 public totalShares;

    /// @dev Indexers of EigenLayer expect this event from a strategy.
    event StrategyTokenSet(IERC20 token, uint8 decimals);

    modifier onlyStrategyManager() {
        require(msg.sender == strategyManager, OnlyStrategyManager());
        _;
    }

    constructor(address strategyManager_, ERC20 token) {
        strategyManager = strategyManager_;
        underlyingToken = token;
        emit StrategyTokenSet(token, token.decimals());
    }

    /// @dev StrategyManager has already moved `amount` here.
    /// @return newShares What the deposit is worth in shares, rounded down.
    function deposit(IERC20 token, uint256 amount) external onlyStrategyManager returns (uint256 newShares) {
        require(address(token) == address(underlyingToken), OnlyUnderlyingToken());
        newShares = amount * (totalShares + OFFSET) / (_balance() - amount);
        require(newShares != 0, NewSharesZero());
        totalShares += newShares;
    }

    /// @dev Burns of slashed shares come through here too, with StrategyManager's burn address as recipient.
    function withdraw(address recipient, IERC20 token, uint256 shares) external onlyStrategyManager {
        require(address(token) == address(underlyingToken), OnlyUnderlyingToken());
        uint256 amount = sharesToUnderlyingView(shares);
        totalShares -= shares;
        token.safeTransfer(recipient, amount);
    }

    function explanation() external pure returns (string memory) {
        return "ERC-20 strategy of a devnet";
    }

    function sharesToUnderlyingView(uint256 shares) public view returns (uint256) {
        return _balance() * shares / (totalShares + OFFSET);
    }

    function underlyingToSharesView(uint256 amount) public view returns (uint256) {
        return amount * (totalShares + OFFSET) / _balance();
    }

    function _balance() private view returns (uint256) {
        return underlyingToken.balanceOf(address(this)) + OFFSET;
    }
}
