// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProverRegistry} from "../src/interfaces/IProverRegistry.sol";
import {Batch, ProvernetTypes, Result} from "../src/libraries/ProvernetTypes.sol";
import {MarketFixture} from "./support/MarketFixture.sol";
import {MerkleTree} from "./support/MerkleTree.sol";

/// @dev Gas of the workload of docs/contracts.md: 85 operators. A figure is that of a whole transaction (cold accesses,
/// 21,000 and calldata included) where its name does not say "(call)". Written to snapshots/ and bounded here.
/// forge-config: default.isolate = true
contract GasTest is MarketFixture {
    uint256 private constant OPERATORS = 85;
    /// @dev EIP-7825.
    uint256 private constant TRANSACTION_LIMIT = 16_777_216;
    bytes32 private constant ROOT = keccak256("root");

    address private newcomer = operatorAt(OPERATORS);

    function setUp() public {
        deployRegistry();
        registerOperators(OPERATORS, 100 ether);
        openNextEpoch();
        deployMarketOn(OPERATORS);
        becomeOperator(newcomer, 100 ether);
        mine(ALLOCATION_CONFIGURATION_DELAY + 1);
        admit(newcomer);
        for (uint256 i; i < 1_024; ++i) {
            fund(_requester(i), 1 ether);
        }
        // Fees, treasury and sequence are not zero in normal life.
        settle(keccak256("first"), 1, debit(_requester(0), 2));
    }

    function test_OneResult() public {
        _report("settle, 1 result", _settle(1, 0), 255_000);
    }

    function test_EightRequesters() public {
        _report("settle, 8 requesters", _settle(8, 0), 33_000 * 8 + 60_000);
    }

    function test_ThirtyTwoRequesters() public {
        _report("settle, 32 requesters", _settle(32, 0), 450 * 1_024);
    }

    function test_ManyRequesters() public {
        _report("settle, 1,024 requesters", _settle(1_024, 0), TRANSACTION_LIMIT);
    }

    function test_FiveNonSigners() public {
        _report("settle, 1 result, 5 non-signers", _settle(1, 5), 255_000 + 5 * 10_000);
    }

    function test_TwentyEightNonSigners() public {
        _report("settle, 1 result, 28 non-signers", _settle(1, 28), 255_000 + 28 * 10_000);
    }

    function test_CertificateAlone() public {
        bytes memory signature = certify(ROOT, 0, OPERATORS);
        bytes memory data = abi.encodeCall(registry.checkCertificate, (1, ROOT, signature, ""));
        _report("checkCertificate, all sign (call)", _usedInside(address(registry), data), 175_000);
    }

    /// @dev The same 85 secret keys, summed and used by py_ecc over the digest that eth-account computes.
    function test_CertificatesOfPyEcc() public view {
        string memory vectors = vm.readFile("./test/vectors/bls.json");
        same(address(registry), vm.parseJsonAddress(vectors, ".registry"), "registry");
        Batch memory header = Batch({
            epoch: uint64(vm.parseJsonUint(vectors, ".batch.epoch")),
            round: uint64(vm.parseJsonUint(vectors, ".batch.round")),
            value: vm.parseJsonBytes32(vectors, ".batch.value"),
            sequence: uint64(vm.parseJsonUint(vectors, ".batch.sequence")),
            parent: vm.parseJsonBytes32(vectors, ".batch.parent"),
            root: vm.parseJsonBytes32(vectors, ".batch.root"),
            paid: uint128(vm.parseJsonUint(vectors, ".batch.paid")),
            debitsHash: keccak256(vm.parseJsonBytes(vectors, ".debits"))
        });
        bytes32 digest = digestOf(header);
        same(digest, vm.parseJsonBytes32(vectors, ".digest"), "digest");
        same(
            registry.checkCertificate(1, digest, vm.parseJsonBytes(vectors, ".certificate"), ""), 85 * 100e9, "all sign"
        );
        same(
            registry.checkCertificate(1, digest, vm.parseJsonBytes(vectors, ".certificateOfMost"), positions(0, 28)),
            57 * 100e9,
            "57 sign"
        );
    }

    function test_FreezeAndOpen() public {
        mine(EPOCH_BLOCKS);
        registry.freezeTable();
        _report("freezeTable, 85 operators", _used(), TRANSACTION_LIMIT / 2);
        mine(TABLE_SEED_DELAY + 1);
        registry.openEpoch();
        _report("openEpoch", _used(), 150_000);
    }

    function test_Registration() public {
        bytes memory data = abi.encode(keysOf(OPERATORS));
        join(newcomer, address(registry), data);
        _report("registerForOperatorSets", _used(), 1_000_000);
    }

    function test_Rotation() public {
        IProverRegistry.OperatorKeys memory keys = keysFor(operatorAt(7), OPERATORS);
        keys.peerId = keysOf(7).peerId;
        prove(operatorAt(7), OPERATORS, keys);
        vm.prank(operatorAt(7));
        registry.rotateKeys(operatorAt(7), keys);
        _report("rotateKeys", _used(), 750_000);
    }

    function test_ReadAResult() public {
        Result[] memory results = new Result[](1_020);
        bytes[] memory claims = new bytes[](1_020);
        for (uint256 i; i < results.length; ++i) {
            results[i] = resultOf(keccak256(abi.encode(i)), uint64(NOW));
            claims[i] = abi.encode(uint256(7), uint256(1_000), uint256(64));
        }
        bytes32[] memory leaves = leavesOf(results, claims);
        settle(MerkleTree.rootOf(leaves), 0, "");
        bytes32[] memory proof = MerkleTree.proofOf(leaves, 777);
        check(market.verifyInclusion(2, leaves[777], proof, 777), "included");
        bytes memory data = abi.encodeCall(market.verifyInclusion, (2, leaves[777], proof, 777));
        _report("verifyInclusion of 1,024 leaves (call)", _usedInside(address(market), data), 12_000);
        market.record(2, results[777], claims[777], proof, 777);
        _report("record, 96-byte claim", _used(), 350_000);
    }

    function _settle(uint256 requesters, uint256 absent) private returns (uint256) {
        bytes memory debits;
        for (uint256 i; i < requesters; ++i) {
            debits = bytes.concat(debits, debit(_requester(i), 0.001 ether));
        }
        Batch memory header = batchOf(ROOT, uint128(requesters * 0.0009 ether), debits);
        bytes memory signature = certify(digestOf(header), absent, OPERATORS);
        market.settle(header, debits, signature, positions(0, absent));
        check(_used() < TRANSACTION_LIMIT, "limit of a transaction");
        return _used();
    }

    /// @dev Gas of the call that was made last, as a transaction.
    function _used() private view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    /// @dev Gas of a call as a contract would pay for it: that of a transaction (no static call, which forge does not
    /// isolate) less the 21,000 and the calldata (EIP-2028), and the cold account that a transaction gets for free.
    function _usedInside(address to, bytes memory data) private returns (uint256 used) {
        (bool done,) = to.call(data);
        check(done, "call");
        used = _used() - 21_000 + 2_500;
        for (uint256 i; i < data.length; ++i) {
            used -= data[i] == 0 ? 4 : 16;
        }
    }

    function _report(string memory name, uint256 used, uint256 most) private {
        vm.snapshotValue(name, used);
        check(used <= most, string.concat(name, ": ", vm.toString(used), " gas"));
    }

    function _requester(uint256 index) private pure returns (address) {
        return address(uint160(0x10000000000000000000000000000000000 + index * 0x1010101));
    }
}
