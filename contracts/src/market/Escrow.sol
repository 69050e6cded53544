// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IProofMarket} from "../interfaces/IProofMarket.sol";

/// @title Requesters' escrow in one ERC-20, with a delay before withdrawal.
/// @dev The delay is longer than the settlement lag: who has a proof under way can not run with the money.
abstract contract Escrow is IProofMarket, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev One slot, so that a debit writes once.
    struct Account {
        uint96 balance;
        uint96 withdrawing;
        uint64 availableAt;
    }

    IERC20 public immutable token;
    /// @notice Seconds from the announcement of a withdrawal to the withdrawal.
    uint256 public immutable WITHDRAWAL_DELAY;

    mapping(address requester => Account) private _accounts;

    constructor(IERC20 token_, uint256 withdrawalDelay) {
        token = token_;
        WITHDRAWAL_DELAY = withdrawalDelay;
    }

    /// @inheritdoc IProofMarket
    function deposit(uint256 amount) external nonReentrant {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IProofMarket
    function depositFor(address requester, uint256 amount) external nonReentrant {
        _deposit(requester, amount);
    }

    /// @inheritdoc IProofMarket
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external nonReentrant {
        // Anyone may have used the permit already; the allowance decides.
        try IERC20Permit(address(token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IProofMarket
    function requestWithdrawal(uint256 amount) external nonReentrant {
        Account storage account = _accounts[msg.sender];
        require(amount <= account.balance, InsufficientEscrow(account.balance));
        account.withdrawing = uint96(amount);
        account.availableAt = uint64(block.timestamp + WITHDRAWAL_DELAY);
        emit WithdrawalRequested(msg.sender, amount, account.availableAt);
    }

    /// @inheritdoc IProofMarket
    function withdraw() external nonReentrant {
        Account storage account = _accounts[msg.sender];
        uint96 amount = account.withdrawing;
        require(amount != 0, NothingToWithdraw());
        require(block.timestamp >= account.availableAt, WithdrawalNotReady(account.availableAt));
        account.balance -= amount;
        account.withdrawing = 0;
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IProofMarket
    function escrowOf(address requester) external view returns (uint256) {
        Account storage account = _accounts[requester];
        return account.balance - account.withdrawing;
    }

    /// @inheritdoc IProofMarket
    function balanceOf(address requester) external view returns (uint256) {
        return _accounts[requester].balance;
    }

    /// @inheritdoc IProofMarket
    function withdrawalOf(address requester) external view returns (uint256 amount, uint256 availableAt) {
        Account storage account = _accounts[requester];
        return (account.withdrawing, account.availableAt);
    }

    /// @dev Takes `amount`, or all there is.
    /// @return collected At most `amount`.
    function _debit(address requester, uint256 amount) internal returns (uint256 collected) {
        Account storage account = _accounts[requester];
        uint96 balance = account.balance;
        uint96 withdrawing = account.withdrawing;
        collected = amount < balance ? amount : balance;
        balance -= uint96(collected);
        account.balance = balance;
        if (withdrawing > balance) account.withdrawing = balance;
    }

    function _deposit(address requester, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        // A token may keep a fee: only what arrived is escrow.
        uint256 received = token.balanceOf(address(this)) - before;
        require(received != 0, ZeroAmount());
        // All amounts of the market are parts of its tokens, so 96 bits hold each of them.
        require(before + received <= type(uint96).max, AmountTooLarge());
        _accounts[requester].balance += uint96(received);
        emit Deposited(requester, msg.sender, received);
    }
}
