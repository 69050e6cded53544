// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ReadResult} from "../src/examples/ReadResult.sol";
import {IProofResults} from "../src/interfaces/IProofResults.sol";
import {Batch, ProvernetTypes, Result} from "../src/libraries/ProvernetTypes.sol";
import {MarketFixture} from "./support/MarketFixture.sol";
import {MerkleTree} from "./support/MerkleTree.sol";

/// @dev Results taken out of settled batches, and the example of the README.
contract ResultsTest is MarketFixture {
    bytes32 private constant REQUEST = keccak256("request");
    bytes private claim = abi.encode(uint256(77), uint256(1_000), uint256(64));

    function setUp() public {
        deployMarket(1);
    }

    function test_AnyoneRecordsAndContractsRead() public {
        Result memory result = resultOf(REQUEST, uint64(NOW));
        bytes32[] memory leaves = settleResult(result, claim);
        same(market.statusOf(REQUEST), 0, "not recorded");
        vm.expectRevert(abi.encodeWithSelector(IProofResults.NotRecorded.selector, REQUEST));
        market.resultOf(REQUEST);
        vm.prank(BOB);
        market.record(1, result, claim, MerkleTree.proofOf(leaves, 0), 0);
        same(market.statusOf(REQUEST), ProvernetTypes.SETTLED, "status");
        (Result memory stored, bytes memory storedClaim) = market.resultOf(REQUEST);
        same(abi.encode(stored), abi.encode(result), "result");
        same(storedClaim, claim, "claim");
        same(new ReadResult().provenTotal(market, PROGRAM, REQUEST), 1_000, "example");
    }

    function test_FailuresAreReadableToo() public {
        Result memory result = resultOf(REQUEST, uint64(NOW));
        (result.status, result.fee) = (ProvernetTypes.EXPIRED, 0);
        bytes32[] memory leaves = settleResult(result, "");
        market.record(1, result, "", MerkleTree.proofOf(leaves, 0), 0);
        same(market.statusOf(REQUEST), ProvernetTypes.EXPIRED, "status");
        ReadResult reader = new ReadResult();
        vm.expectRevert(bytes("not settled"));
        reader.provenTotal(market, PROGRAM, REQUEST);
    }

    function test_OnlyTheExactLeafIsIncluded() public {
        Result memory result = resultOf(REQUEST, uint64(NOW));
        bytes32[] memory leaves = settleResult(result, claim);
        bytes32[] memory proof = MerkleTree.proofOf(leaves, 0);
        check(market.verifyInclusion(1, leaves[0], proof, 0), "in batch 1");
        check(market.verifyInclusion(1, leaves[4], MerkleTree.proofOf(leaves, 4), 4), "parameter leaf");
        check(!market.verifyInclusion(2, leaves[0], proof, 0), "no batch 2");
        check(!market.verifyInclusion(0, leaves[0], proof, 0), "no batch 0");
        check(!market.verifyInclusion(1, leaves[0], proof, 1), "index");
        check(!market.verifyInclusion(1, leaves[0], proof, 8), "index beyond the tree");
        check(!market.verifyInclusion(1, 0, MerkleTree.proofOf(leaves, 7), 7), "padding");
        // An inner node is no leaf of a lower tree: results hash more than two words.
        bytes memory other = abi.encode(uint256(77), uint256(1_001), uint256(64));
        vm.expectRevert(IProofResults.NotIncluded.selector);
        market.record(1, result, other, proof, 0);
        result.fee += 1;
        vm.expectRevert(IProofResults.NotIncluded.selector);
        market.record(1, result, claim, proof, 0);
    }

    function test_NothingIsInABatchThatIsNotSettled() public {
        bytes32[] memory none = new bytes32[](0);
        check(!market.verifyInclusion(1, 0, none, 0), "zero root");
        check(!market.verifyInclusion(1, keccak256("leaf"), none, 0), "leaf");
    }

    function test_AResultIsNeverReplaced() public {
        Result memory result = resultOf(REQUEST, uint64(NOW));
        bytes32[] memory leaves = settleResult(result, claim);
        market.record(1, result, claim, MerkleTree.proofOf(leaves, 0), 0);
        market.record(1, result, claim, MerkleTree.proofOf(leaves, 0), 0);

        Result memory other = resultOf(REQUEST, uint64(NOW));
        (other.status, other.fee) = (ProvernetTypes.FAILED, 0);
        leaves = settleResult(other, "");
        bytes32[] memory proof = MerkleTree.proofOf(leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(IProofResults.AlreadyRecorded.selector, REQUEST));
        market.record(2, other, "", proof, 0);
        same(market.statusOf(REQUEST), ProvernetTypes.SETTLED, "status");
    }

    function test_AFailureHasNoClaim() public {
        Result memory result = resultOf(REQUEST, uint64(NOW));
        result.status = ProvernetTypes.FAILED;
        bytes32[] memory leaves = settleResult(result, claim);
        bytes32[] memory proof = MerkleTree.proofOf(leaves, 0);
        vm.expectRevert(IProofResults.InvalidResult.selector);
        market.record(1, result, claim, proof, 0);
        result.status = 0;
        leaves = settleResult(result, "");
        proof = MerkleTree.proofOf(leaves, 0);
        vm.expectRevert(IProofResults.InvalidResult.selector);
        market.record(2, result, "", proof, 0);
    }

    /// forge-config: default.fuzz.runs = 256
    function testFuzz_EachResultOfABatchReads(uint256 count, uint256 index, bytes calldata anyClaim) public {
        count = within(count, 1, 30);
        index = within(index, 0, count - 1);
        Result[] memory results = new Result[](count);
        bytes[] memory claims = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            results[i] = resultOf(keccak256(abi.encode(i)), uint64(i));
            claims[i] = claim;
        }
        claims[index] = anyClaim;
        bytes32[] memory leaves = leavesOf(results, claims);
        settle(MerkleTree.rootOf(leaves), 0, "");
        market.record(1, results[index], anyClaim, MerkleTree.proofOf(leaves, index), index);
        (, bytes memory stored) = market.resultOf(results[index].requestId);
        same(stored, anyClaim, "claim");
    }
}
