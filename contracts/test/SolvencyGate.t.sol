// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {TestToken} from "../src/devnet/TestToken.sol";
import {DemoStablecoin} from "../src/examples/DemoStablecoin.sol";
import {SolvencyGate} from "../src/examples/SolvencyGate.sol";
import {ProvernetTypes, Result} from "../src/libraries/ProvernetTypes.sol";
import {MarketFixture} from "./support/MarketFixture.sol";
import {MerkleTree} from "./support/MerkleTree.sol";

/// @dev The consumer: a stablecoin whose issuer mints only while provably solvent.
contract SolvencyGateTest is MarketFixture {
    uint64 private constant MAX_AGE = 1 days;
    address private constant CUSTODY = address(0xc05704d7);

    TestToken private reserve;
    SolvencyGate private gate;
    DemoStablecoin private coin;

    function setUp() public {
        deployMarket(1);
        reserve = new TestToken("Reserve", "RSV");
        reserve.mint(CUSTODY, 1_000);
        gate = new SolvencyGate(market, PROGRAM, ALICE, reserve, CUSTODY, MAX_AGE);
        coin = new DemoStablecoin(gate);
    }

    function test_MintsOnlyWhileFreshAndCovered() public {
        vm.expectRevert(DemoStablecoin.GateClosed.selector);
        vm.prank(ALICE);
        coin.mint(BOB, 1);

        uint64 issuedAt = uint64(vm.getBlockTimestamp());
        _update(resultOf(keccak256("first"), issuedAt), 1_000);
        check(gate.isOpen(), "open");
        same(gate.totalLiabilities(), 1_000, "total");
        vm.prank(ALICE);
        coin.mint(BOB, 5);
        same(coin.balanceOf(BOB), 5, "minted");
        vm.expectRevert(DemoStablecoin.OnlyIssuer.selector);
        coin.mint(BOB, 5);

        vm.prank(CUSTODY);
        reserve.transfer(BOB, 1);
        check(!gate.isOpen(), "reserves below liabilities");
        vm.prank(BOB);
        reserve.transfer(CUSTODY, 1);
        vm.warp(issuedAt + MAX_AGE);
        check(gate.isOpen(), "at the limit");
        vm.warp(issuedAt + MAX_AGE + 1);
        check(!gate.isOpen(), "too old");
        vm.expectRevert(DemoStablecoin.GateClosed.selector);
        vm.prank(ALICE);
        coin.mint(BOB, 1);
    }

    function test_LiabilitiesAboveReservesKeepItShut() public {
        _update(resultOf(keccak256("first"), uint64(vm.getBlockTimestamp())), 1_001);
        check(!gate.isOpen(), "shut");
    }

    function test_AnOldResultReplacesNone() public {
        uint64 now_ = uint64(vm.getBlockTimestamp());
        _update(resultOf(keccak256("second"), now_), 2_000);
        bytes memory old = _claim(10);
        Result memory result = resultOf(keccak256("first"), now_ - 1);
        bytes32[] memory proof = MerkleTree.proofOf(settleResult(result, old), 0);
        vm.expectRevert(abi.encodeWithSelector(SolvencyGate.NotNewer.selector, now_ - 1, now_));
        gate.update(2, result, old, proof, 0);
        same(gate.totalLiabilities(), 2_000, "total");
    }

    function test_RefusesOtherResults() public {
        uint64 now_ = uint64(vm.getBlockTimestamp());
        bytes memory claim = _claim(10);
        Result memory result = resultOf(keccak256("request"), now_);
        result.programId = keccak256("other");
        _expectRefusal(result, claim, abi.encodeWithSelector(SolvencyGate.WrongProgram.selector, result.programId));
        result = resultOf(keccak256("request"), now_);
        result.requester = BOB;
        _expectRefusal(result, claim, abi.encodeWithSelector(SolvencyGate.WrongRequester.selector, BOB));
        result = resultOf(keccak256("request"), now_);
        result.status = ProvernetTypes.FAILED;
        _expectRefusal(result, claim, abi.encodeWithSelector(SolvencyGate.NotSettled.selector, result.status));
        result = resultOf(keccak256("request"), now_ + 1);
        _expectRefusal(result, claim, abi.encodeWithSelector(SolvencyGate.FromTheFuture.selector, now_ + 1));
        result = resultOf(keccak256("request"), now_);
        _expectRefusal(result, "short", abi.encodeWithSelector(SolvencyGate.InvalidClaim.selector));
        // Never settled.
        bytes32[] memory none = new bytes32[](0);
        vm.expectRevert(SolvencyGate.NotIncluded.selector);
        gate.update(1, result, claim, none, 0);
    }

    function _update(Result memory result, uint256 total) private {
        bytes32[] memory leaves = settleResult(result, _claim(total));
        vm.prank(BOB);
        gate.update(market.lastSequence(), result, _claim(total), MerkleTree.proofOf(leaves, 0), 0);
    }

    function _expectRefusal(Result memory result, bytes memory claim, bytes memory refusal) private {
        bytes32[] memory proof = MerkleTree.proofOf(settleResult(result, claim), 0);
        uint64 sequence = market.lastSequence();
        vm.expectRevert(refusal);
        gate.update(sequence, result, claim, proof, 0);
        check(!gate.isOpen(), "shut");
    }

    function _claim(uint256 total) private pure returns (bytes memory) {
        return abi.encode(uint256(7), total, uint256(64));
    }
}
