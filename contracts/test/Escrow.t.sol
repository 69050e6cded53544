// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ProofMarket} from "../src/ProofMarket.sol";
import {IProofMarket} from "../src/interfaces/IProofMarket.sol";
import {FeeToken, ReentrantToken, SilentToken} from "./support/HostileTokens.sol";
import {MarketFixture} from "./support/MarketFixture.sol";

/// @dev Deposits and withdrawals, and tokens that do not behave.
contract EscrowTest is MarketFixture {
    function setUp() public {
        deployMarket(1);
        fund(ALICE, 10 ether);
    }

    function test_AnyoneMayDepositForAnother() public {
        feeToken.mint(BOB, 2 ether);
        vm.startPrank(BOB);
        feeToken.approve(address(market), 2 ether);
        market.depositFor(ALICE, 2 ether);
        vm.stopPrank();
        same(market.escrowOf(ALICE), 12 ether, "alice");
        same(market.escrowOf(BOB), 0, "bob");
        vm.expectRevert(IProofMarket.ZeroAmount.selector);
        market.deposit(0);
    }

    function test_DepositWithPermitEvenIfItWasUsedBefore() public {
        uint256 key = 0xa11ce;
        address owner = vm.addr(key);
        feeToken.mint(owner, 3 ether);
        uint256 deadline = NOW + 1 days;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _permitDigest(owner, 3 ether, deadline));
        // Someone saw it in the pool and sent it first.
        feeToken.permit(owner, address(market), 3 ether, deadline, v, r, s);
        vm.prank(owner);
        market.depositWithPermit(1 ether, deadline, v, r, s);
        same(market.escrowOf(owner), 1 ether, "used before");

        (v, r, s) = vm.sign(key, _permitDigest(owner, 2 ether, deadline));
        vm.prank(owner);
        market.depositWithPermit(2 ether, deadline, v, r, s);
        same(market.escrowOf(owner), 3 ether, "own use");
    }

    function test_WithdrawalsWait() public {
        vm.startPrank(ALICE);
        vm.expectRevert(IProofMarket.NothingToWithdraw.selector);
        market.withdraw();
        vm.expectRevert(abi.encodeWithSelector(IProofMarket.InsufficientEscrow.selector, 10 ether));
        market.requestWithdrawal(10 ether + 1);
        market.requestWithdrawal(4 ether);
        same(market.escrowOf(ALICE), 6 ether, "backs no request");
        same(market.balanceOf(ALICE), 10 ether, "still answers");
        (uint256 amount, uint256 availableAt) = market.withdrawalOf(ALICE);
        same(amount, 4 ether, "announced");
        same(availableAt, vm.getBlockTimestamp() + WITHDRAWAL_DELAY, "available");
        vm.warp(availableAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IProofMarket.WithdrawalNotReady.selector, availableAt));
        market.withdraw();
        vm.warp(availableAt);
        market.withdraw();
        vm.expectRevert(IProofMarket.NothingToWithdraw.selector);
        market.withdraw();
        vm.stopPrank();
        same(feeToken.balanceOf(ALICE), 4 ether, "paid out");
        same(market.balanceOf(ALICE), 6 ether, "rest");
    }

    function test_AnnouncingAgainStartsTheWaitAgain() public {
        vm.startPrank(ALICE);
        market.requestWithdrawal(1 ether);
        vm.warp(vm.getBlockTimestamp() + WITHDRAWAL_DELAY);
        market.requestWithdrawal(10 ether);
        vm.expectRevert(
            abi.encodeWithSelector(IProofMarket.WithdrawalNotReady.selector, vm.getBlockTimestamp() + WITHDRAWAL_DELAY)
        );
        market.withdraw();
        market.requestWithdrawal(0);
        same(market.escrowOf(ALICE), 10 ether, "taken back");
        vm.stopPrank();
    }

    function test_ADebitReachesAnAnnouncedWithdrawal() public {
        vm.prank(ALICE);
        market.requestWithdrawal(8 ether);
        settle(keccak256("root"), 5 ether, debit(ALICE, 5 ether));
        same(market.escrowOf(ALICE), 0, "escrow");
        vm.warp(vm.getBlockTimestamp() + WITHDRAWAL_DELAY);
        vm.prank(ALICE);
        market.withdraw();
        same(feeToken.balanceOf(ALICE), 5 ether, "what the debit left");
    }

    function test_ATokenThatKeepsAFeeIsCreditedAsItArrives() public {
        FeeToken token = new FeeToken();
        ProofMarket other = new ProofMarket(IERC20(address(token)), registry, GOVERNANCE, 0);
        token.mint(ALICE, 100);
        vm.startPrank(ALICE);
        token.approve(address(other), 100);
        other.deposit(100);
        vm.stopPrank();
        same(other.escrowOf(ALICE), 99, "escrow");
        same(token.balanceOf(address(other)), 99, "tokens");
    }

    function test_ATokenThatOnlySaysYesBuysNothing() public {
        ProofMarket other = new ProofMarket(IERC20(address(new SilentToken())), registry, GOVERNANCE, 0);
        vm.expectRevert(IProofMarket.ZeroAmount.selector);
        other.deposit(100);
    }

    function test_ATokenCanNotReenter() public {
        ReentrantToken token = new ReentrantToken();
        ProofMarket other = new ProofMarket(IERC20(address(token)), registry, GOVERNANCE, 0);
        token.mint(ALICE, 100);
        vm.startPrank(ALICE);
        token.approve(address(other), 100);
        other.deposit(50);
        other.requestWithdrawal(50);
        bytes[4] memory calls = [
            abi.encodeCall(other.withdraw, ()),
            abi.encodeCall(other.depositFor, (ALICE, 1)),
            abi.encodeCall(other.requestWithdrawal, (0)),
            abi.encodeCall(other.settle, (batchOf(keccak256("root"), 0, ""), "", "", ""))
        ];
        for (uint256 i; i < calls.length; ++i) {
            token.arm(address(other), calls[i]);
            vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            other.withdraw();
            vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            other.deposit(1);
        }
        token.arm(address(0), "");
        other.withdraw();
        vm.stopPrank();
        same(token.balanceOf(ALICE), 100, "once");
    }

    function testFuzz_NobodyGetsOutMoreThanWentIn(uint96 put, uint96 ask, uint32 wait) public {
        put = uint96(within(put, 1, 1e27));
        fund(BOB, put);
        vm.startPrank(BOB);
        try market.requestWithdrawal(ask) {
            vm.warp(vm.getBlockTimestamp() + wait);
            try market.withdraw() {
                check(wait >= WITHDRAWAL_DELAY, "too early");
            } catch {
                check(wait < WITHDRAWAL_DELAY || ask == 0, "too late");
            }
        } catch {
            check(ask > put, "refused");
        }
        vm.stopPrank();
        same(feeToken.balanceOf(BOB) + market.balanceOf(BOB), put, "bob");
        same(market.balanceOf(ALICE), 10 ether, "alice");
    }

    function _permitDigest(address owner, uint256 amount, uint256 deadline) private view returns (bytes32) {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 content = keccak256(abi.encode(kind, owner, address(market), amount, feeToken.nonces(owner), deadline));
        return keccak256(abi.encodePacked(hex"1901", feeToken.DOMAIN_SEPARATOR(), content));
    }
}
