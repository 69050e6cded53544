// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ProvernetTypes, Result} from "../src/libraries/ProvernetTypes.sol";
import {MarketFixture} from "./support/MarketFixture.sol";
import {MerkleTree} from "./support/MerkleTree.sol";

/// @dev Requesters, operators and a clock in any order; what must hold after every step, and in it.
/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: default.invariant.depth = 32
contract MarketInvariantTest is MarketFixture {
    uint256 private constant REQUESTERS = 3;

    bytes32 private rootOfFirst;
    uint256 private settled;
    bytes32[] private recordedIds;
    bytes32[] private recordedHashes;

    function setUp() public {
        deployMarket(3);
        addTarget(address(this));
    }

    function actDeposit(uint256 who, uint256 amount) external {
        fund(_requester(who), within(amount, 1, 5 ether));
    }

    function actRequestWithdrawal(uint256 who, uint256 amount) external {
        address requester = _requester(who);
        uint256 asked = within(amount, 0, market.balanceOf(requester));
        vm.prank(requester);
        market.requestWithdrawal(asked);
    }

    function actWithdraw(uint256 who) external {
        address requester = _requester(who);
        (uint256 announced, uint256 availableAt) = market.withdrawalOf(requester);
        uint256 before = feeToken.balanceOf(requester);
        vm.prank(requester);
        try market.withdraw() {
            check(announced != 0 && vm.getBlockTimestamp() >= availableAt, "withdrew early");
            same(feeToken.balanceOf(requester) - before, announced, "paid out");
        } catch {
            check(announced == 0 || vm.getBlockTimestamp() < availableAt, "withdrawal refused");
        }
    }

    function actWait(uint256 time) external {
        vm.warp(vm.getBlockTimestamp() + within(time, 1, 2 hours));
    }

    /// @dev One result a batch; debits up to twice what requesters hold, so that some fall short.
    function actSettle(uint256 first, uint256 second, uint256 share) external {
        uint96 one = uint96(within(first, 0, 2 * market.balanceOf(_requester(0))));
        uint96 two = uint96(within(second, 0, 2 * market.balanceOf(_requester(1))));
        Result[] memory results = new Result[](1);
        results[0] = resultOf(keccak256(abi.encode("request", settled)), uint64(vm.getBlockTimestamp()));
        bytes[] memory claims = new bytes[](1);
        claims[0] = abi.encode(settled, first, second);
        bytes32[] memory leaves = leavesOf(results, claims);
        uint128 paid = uint128(within(share, 0, uint256(one) + two));
        settle(MerkleTree.rootOf(leaves), paid, bytes.concat(debit(_requester(0), one), debit(_requester(1), two)));
        if (settled++ == 0) rootOfFirst = market.roots(1);
        market.record(market.lastSequence(), results[0], claims[0], MerkleTree.proofOf(leaves, 0), 0);
        recordedIds.push(results[0].requestId);
        recordedHashes.push(ProvernetTypes.resultLeaf(results[0], keccak256(claims[0])));
    }

    function invariant_TokensCoverAllClaimsExactly() public view {
        uint256 sum = market.accruedFees() + market.treasury();
        for (uint256 i; i < REQUESTERS; ++i) {
            sum += market.balanceOf(_requester(i));
        }
        same(sum, feeToken.balanceOf(address(market)), "tokens");
    }

    function invariant_AnAnnouncedWithdrawalIsCovered() public view {
        for (uint256 i; i < REQUESTERS; ++i) {
            (uint256 announced,) = market.withdrawalOf(_requester(i));
            check(announced <= market.balanceOf(_requester(i)), "announced above balance");
        }
    }

    function invariant_SequenceCountsBatchesAndRootsStay() public view {
        same(market.lastSequence(), settled, "sequence");
        same(market.roots(1), rootOfFirst, "first root");
        same(market.roots(uint64(settled) + 1), 0, "no later root");
    }

    function invariant_RecordedResultsStay() public view {
        for (uint256 i; i < recordedIds.length; ++i) {
            (Result memory result, bytes memory claim) = market.resultOf(recordedIds[i]);
            same(ProvernetTypes.resultLeaf(result, keccak256(claim)), recordedHashes[i], "result");
        }
    }

    function _requester(uint256 who) private pure returns (address) {
        return address(uint160(0xa0000 + who % REQUESTERS));
    }
}
