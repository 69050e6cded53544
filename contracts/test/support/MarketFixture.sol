// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ProofMarket} from "../../src/ProofMarket.sol";
import {TestToken} from "../../src/devnet/TestToken.sol";
import {Batch, ProvernetTypes, Result} from "../../src/libraries/ProvernetTypes.sol";
import {MerkleTree} from "./MerkleTree.sol";
import {NetworkFixture} from "./NetworkFixture.sol";

/// @title A market on a network with an open epoch, and batches that its operators certify.
abstract contract MarketFixture is NetworkFixture {
    uint256 internal constant WITHDRAWAL_DELAY = 1 hours;
    address internal constant ALICE = address(0xa11ce);
    address internal constant BOB = address(0xb0b);
    bytes32 internal constant PROGRAM = keccak256("program");

    TestToken internal feeToken;
    ProofMarket internal market;
    uint256 internal operatorCount;

    function deployMarket(uint256 count) internal {
        deployRegistry();
        registerOperators(count, 100 ether);
        openNextEpoch();
        deployMarketOn(count);
    }

    /// @dev For a registry whose first `count` operators are in the open epoch's table.
    function deployMarketOn(uint256 count) internal {
        operatorCount = count;
        feeToken = new TestToken("Fee", "FEE");
        market = new ProofMarket(IERC20(address(feeToken)), registry, GOVERNANCE, WITHDRAWAL_DELAY);
    }

    function fund(address requester, uint256 amount) internal {
        feeToken.mint(requester, amount);
        vm.startPrank(requester);
        feeToken.approve(address(market), amount);
        market.deposit(amount);
        vm.stopPrank();
    }

    /// @dev The next batch in sequence.
    function batchOf(bytes32 root, uint128 paid, bytes memory debits) internal view returns (Batch memory header) {
        header.epoch = registry.currentEpoch();
        header.sequence = market.lastSequence() + 1;
        header.round = header.sequence + 7;
        header.value = keccak256(abi.encode("value", header.sequence));
        header.parent = market.roots(market.lastSequence());
        header.root = root;
        header.paid = paid;
        header.debitsHash = keccak256(debits);
    }

    function digestOf(Batch memory header) internal view returns (bytes32) {
        return this.digestOfCalldata(header);
    }

    function digestOfCalldata(Batch calldata header) external view returns (bytes32) {
        return ProvernetTypes.batchDigest(address(registry), header);
    }

    function signed(Batch memory header) internal view returns (bytes memory) {
        return certify(digestOf(header), 0, operatorCount);
    }

    function settle(bytes32 root, uint128 paid, bytes memory debits) internal {
        Batch memory header = batchOf(root, paid, debits);
        market.settle(header, debits, signed(header), "");
    }

    function debit(address requester, uint96 amount) internal pure returns (bytes memory) {
        return abi.encodePacked(requester, amount);
    }

    function resultOf(bytes32 requestId, uint64 issuedAt) internal pure returns (Result memory) {
        return Result(requestId, PROGRAM, ALICE, ProvernetTypes.SETTLED, issuedAt, 1 ether);
    }

    /// @dev Leaves of a batch with these results, in the order of the design: then a credit and a bound stake per
    /// operator, reputation, parameters.
    function leavesOf(Result[] memory results, bytes[] memory claims) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](results.length + 4);
        uint256 i;
        for (; i < results.length; ++i) {
            leaves[i] = ProvernetTypes.resultLeaf(results[i], keccak256(claims[i]));
        }
        leaves[i++] = ProvernetTypes.creditLeaf(operatorAt(0), 0.9 ether);
        leaves[i++] = ProvernetTypes.boundStakeLeaf(operatorAt(0), 5 ether);
        leaves[i++] = ProvernetTypes.reputationLeaf(keccak256("reputation"));
        leaves[i++] = ProvernetTypes.parametersLeaf(keccak256("parameters"));
    }

    /// @dev Settles a batch with one result; returns its leaves, the result's at position 0.
    function settleResult(Result memory result, bytes memory claim) internal returns (bytes32[] memory leaves) {
        Result[] memory results = new Result[](1);
        results[0] = result;
        bytes[] memory claims = new bytes[](1);
        claims[0] = claim;
        leaves = leavesOf(results, claims);
        settle(MerkleTree.rootOf(leaves), 0, "");
    }
}
