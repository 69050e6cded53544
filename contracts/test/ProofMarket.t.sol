// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ICertificateVerifier} from "../src/interfaces/ICertificateVerifier.sol";
import {IProofMarket} from "../src/interfaces/IProofMarket.sol";
import {Batch} from "../src/libraries/ProvernetTypes.sol";
import {MarketFixture} from "./support/MarketFixture.sol";

/// @dev Settlement of batches that a real operator table certifies.
contract SettlementTest is MarketFixture {
    bytes32 private constant ROOT = keccak256("root");

    event DebitShortfall(uint64 indexed sequence, address indexed requester, uint256 missing);
    event PaymentShortfall(uint64 indexed sequence, uint256 missing);
    event BatchSettled(
        uint64 indexed sequence, uint64 indexed epoch, uint64 round, bytes32 root, uint256 paid, uint256 collected
    );

    function setUp() public {
        deployMarket(4);
        fund(ALICE, 10 ether);
        fund(BOB, 10 ether);
    }

    function test_SettlesDebitsFeesAndTreasury() public {
        bytes memory debits = bytes.concat(debit(BOB, 2 ether), debit(ALICE, 3 ether));
        vm.expectEmit(true, true, true, true, address(market));
        emit BatchSettled(1, 1, 8, ROOT, 4 ether, 5 ether);
        settle(ROOT, 4 ether, debits);
        same(market.balanceOf(ALICE), 7 ether, "alice");
        same(market.balanceOf(BOB), 8 ether, "bob");
        same(market.accruedFees(), 4 ether, "fees");
        same(market.treasury(), 1 ether, "treasury");
        same(market.lastSequence(), 1, "sequence");
        same(market.roots(1), ROOT, "root");
    }

    function test_BatchesFormOneChain() public {
        Batch memory second = batchOf(ROOT, 0, "");
        second.sequence = 2;
        bytes memory signature = signed(second);
        vm.expectRevert(abi.encodeWithSelector(IProofMarket.UnexpectedSequence.selector, 2, 1));
        market.settle(second, "", signature, "");

        Batch memory first = batchOf(ROOT, 0, "");
        bytes memory firstSignature = signed(first);
        market.settle(first, "", firstSignature, "");
        vm.expectRevert(abi.encodeWithSelector(IProofMarket.UnexpectedSequence.selector, 1, 2));
        market.settle(first, "", firstSignature, "");

        vm.expectRevert(abi.encodeWithSelector(IProofMarket.UnexpectedParent.selector, bytes32(0), ROOT));
        market.settle(second, "", signature, "");
        settle(keccak256("second"), 0, "");
        same(market.lastSequence(), 2, "sequence");
    }

    function test_NothingButTheSignedHeaderSettles() public {
        bytes memory debits = debit(ALICE, 1 ether);
        Batch memory header = batchOf(ROOT, 1 ether, debits);
        bytes memory signature = signed(header);
        bytes memory more = debit(ALICE, 2 ether);
        vm.expectRevert(IProofMarket.DebitsHashMismatch.selector);
        market.settle(header, more, signature, "");

        bytes4 invalid = ICertificateVerifier.InvalidCertificate.selector;
        Batch memory forged = batchOf(ROOT, 1 ether, more);
        vm.expectRevert(invalid);
        market.settle(forged, more, signature, "");
        forged = batchOf(keccak256("forged"), 1 ether, debits);
        vm.expectRevert(invalid);
        market.settle(forged, debits, signature, "");
        forged = batchOf(ROOT, 0.5 ether, debits);
        vm.expectRevert(invalid);
        market.settle(forged, debits, signature, "");
        forged = batchOf(ROOT, 1 ether, debits);
        forged.value = 0;
        vm.expectRevert(invalid);
        market.settle(forged, debits, signature, "");
        forged.value = header.value;
        forged.round += 1;
        vm.expectRevert(invalid);
        market.settle(forged, debits, signature, "");

        // Signed for another chain.
        vm.chainId(1);
        vm.expectRevert(invalid);
        market.settle(header, debits, signature, "");
        vm.chainId(31_337);
        market.settle(header, debits, signature, "");
    }

    function test_ADebitAboveTheEscrowTakesWhatIsThere() public {
        bytes memory debits = bytes.concat(debit(BOB, 2 ether), debit(ALICE, 13 ether), debit(address(0xc0ffee), 1));
        vm.expectEmit(true, true, true, true, address(market));
        emit DebitShortfall(1, ALICE, 3 ether);
        vm.expectEmit(true, true, true, true, address(market));
        emit DebitShortfall(1, address(0xc0ffee), 1);
        settle(ROOT, 4 ether, debits);
        same(market.balanceOf(ALICE), 0, "alice");
        same(market.balanceOf(BOB), 8 ether, "bob");
        same(market.accruedFees(), 4 ether, "fees");
        same(market.treasury(), 8 ether, "treasury");
    }

    function test_TheTreasuryStandsInAsFarAsItGoes() public {
        settle(ROOT, 0, debit(BOB, 1 ether));
        vm.expectEmit(true, true, true, true, address(market));
        emit PaymentShortfall(2, 4 ether);
        settle(keccak256("second"), 15 ether, debit(ALICE, 15 ether));
        same(market.accruedFees(), 11 ether, "fees");
        same(market.treasury(), 0, "treasury");
    }

    function test_RefusesUnorderedAndMalformedDebits() public {
        bytes memory twice = bytes.concat(debit(ALICE, 1), debit(ALICE, 1));
        _expectRefusal(twice, 0, abi.encodeWithSelector(IProofMarket.UnorderedDebits.selector, ALICE));
        bytes memory down = bytes.concat(debit(ALICE, 1), debit(BOB, 1));
        _expectRefusal(down, 0, abi.encodeWithSelector(IProofMarket.UnorderedDebits.selector, BOB));
        bytes memory nobody = debit(address(0), 1);
        _expectRefusal(nobody, 0, abi.encodeWithSelector(IProofMarket.UnorderedDebits.selector, address(0)));
        bytes memory long = bytes.concat(debit(ALICE, 1), hex"00");
        _expectRefusal(long, 0, abi.encodeWithSelector(IProofMarket.MalformedDebits.selector));
        bytes memory one = debit(ALICE, 1);
        _expectRefusal(one, 2, abi.encodeWithSelector(IProofMarket.PaidAboveDebits.selector, 2, 1));
    }

    function test_RefusesAnEmptyRoot() public {
        Batch memory header = batchOf(0, 0, "");
        bytes memory signature = signed(header);
        vm.expectRevert(IProofMarket.EmptyRoot.selector);
        market.settle(header, "", signature, "");
    }

    function test_SettlesWithTheTableOfTheEpochBefore() public {
        Batch memory header = batchOf(ROOT, 0, "");
        bytes memory signature = signed(header);
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        market.settle(header, "", signature, "");
        header = batchOf(keccak256("second"), 0, "");
        header.epoch = 1;
        signature = signed(header);
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.EpochNotAccepted.selector, 1, 3));
        market.settle(header, "", signature, "");
    }

    function test_SettlesWithoutAMinority() public {
        Batch memory header = batchOf(ROOT, 0, "");
        bytes memory signature = certify(digestOf(header), 1, 4);
        market.settle(header, "", signature, positions(0, 1));
        header = batchOf(keccak256("second"), 0, "");
        signature = certify(digestOf(header), 2, 4);
        bytes memory two = positions(0, 2);
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.QuorumNotReached.selector, 200e9, 400e9));
        market.settle(header, "", signature, two);
    }

    /// forge-config: default.fuzz.runs = 256
    function testFuzz_MoneyIsConserved(uint96 first, uint96 second, uint128 paid, uint96 third) public {
        uint256 paidAtMost = uint256(first) + second;
        paid = uint128(within(paid, 0, paidAtMost));
        settle(ROOT, paid, bytes.concat(debit(BOB, first), debit(ALICE, second)));
        settle(keccak256("second"), third, debit(ALICE, third));
        uint256 sum = market.balanceOf(ALICE) + market.balanceOf(BOB) + market.accruedFees() + market.treasury();
        same(sum, feeToken.balanceOf(address(market)), "tokens");
        same(sum, 20 ether, "deposits");
    }

    function _expectRefusal(bytes memory debits, uint128 paid, bytes memory refusal) private {
        Batch memory header = batchOf(ROOT, paid, debits);
        bytes memory signature = signed(header);
        vm.expectRevert(refusal);
        market.settle(header, debits, signature, "");
    }
}
