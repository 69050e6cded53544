// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ProofMarket} from "../src/ProofMarket.sol";
import {ProverRegistry} from "../src/ProverRegistry.sol";
import {TestToken} from "../src/devnet/TestToken.sol";
import {ICertificateVerifier} from "../src/interfaces/ICertificateVerifier.sol";
import {IProverRegistry} from "../src/interfaces/IProverRegistry.sol";
import {Batch, ProvernetTypes, Result} from "../src/libraries/ProvernetTypes.sol";
import {MerkleProof} from "../src/libraries/MerkleProof.sol";
import {MarketFixture} from "./support/MarketFixture.sol";
import {MerkleTree} from "./support/MerkleTree.sol";

/// @dev What Python computes (tests/vectors/, written by protocol/ and node/crypto) is what the contracts accept: every
/// digest, leaf and proof, and a whole network registered, certified and settled with Python's signatures.
contract SharedVectorsTest is MarketFixture {
    string private constant FOLDER = "../tests/vectors/";

    string private typed;
    string private batches;
    string private trees;
    string private certificates;
    address private vectorRegistry;

    function setUp() public {
        typed = vm.readFile(string.concat(FOLDER, "eip712.json"));
        batches = vm.readFile(string.concat(FOLDER, "batch.json"));
        trees = vm.readFile(string.concat(FOLDER, "merkle.json"));
        certificates = vm.readFile(string.concat(FOLDER, "certificate.json"));
        vectorRegistry = vm.parseJsonAddress(typed, ".registry");
        vm.chainId(vm.parseJsonUint(typed, ".chainId"));
    }

    function test_Domain() public view {
        same(
            ProvernetTypes.domainSeparator(vectorRegistry), vm.parseJsonBytes32(typed, ".domainSeparator"), "separator"
        );
    }

    function test_EvidenceDigest() public view {
        bytes32[] memory statements = vm.parseJsonBytes32Array(typed, ".statementDigests");
        uint64 epoch = uint64(vm.parseJsonUint(typed, ".epoch"));
        uint64 round = uint64(vm.parseJsonUint(typed, ".round"));
        uint64 view_ = uint64(vm.parseJsonUint(typed, ".view"));
        bytes32 value = vm.parseJsonBytes32(typed, ".valueDigest");
        same(
            ProvernetTypes.lockDigest(vectorRegistry, epoch, round, view_, value),
            _vector("Lock", ProvernetTypes.LOCK_TYPEHASH),
            "lock"
        );
        bytes32 digest = ProvernetTypes.evidenceDigest(
            vectorRegistry,
            uint8(vm.parseJsonUint(typed, ".fault")),
            vm.parseJsonAddress(typed, ".operator"),
            epoch,
            round,
            view_,
            statements,
            vm.parseJsonAddress(typed, ".reporter")
        );
        same(digest, _vector("Evidence", ProvernetTypes.EVIDENCE_TYPEHASH), "digest");
        same(statements.length, 2, "statements read");
    }

    function test_KeyRegistrationDigest() public view {
        bytes32 digest = ProvernetTypes.keyRegistrationDigest(
            vectorRegistry,
            vm.parseJsonAddress(typed, ".operator"),
            vm.parseJsonAddress(typed, ".session"),
            keccak256(vm.parseJsonBytes(typed, ".blsKey")),
            vm.parseJsonBytes32(typed, ".sealingKey"),
            keccak256(vm.parseJsonBytes(typed, ".peerId"))
        );
        same(digest, _vector("KeyRegistration", ProvernetTypes.KEY_REGISTRATION_TYPEHASH), "digest");
    }

    function test_BatchDigests() public view {
        bytes32[] memory digests = vm.parseJsonBytes32Array(batches, ".digests");
        for (uint256 i; i < digests.length; ++i) {
            same(this.batchDigest(_header(i)), digests[i], "digest");
        }
        same(digests.length, 3, "vectors read");
    }

    function test_TreesAndProofs() public view {
        bytes32[] memory leaves = vm.parseJsonBytes32Array(trees, ".leaves");
        bytes32[] memory roots = vm.parseJsonBytes32Array(trees, ".roots");
        for (uint256 count = 1; count <= leaves.length; ++count) {
            same(MerkleTree.rootOf(_first(leaves, count)), roots[count - 1], "root");
        }
        uint256 proven = vm.parseJsonUint(trees, ".provenSize");
        uint256 depth = vm.parseJsonUint(trees, ".proofDepth");
        bytes32[] memory proofs = vm.parseJsonBytes32Array(trees, ".proofs");
        for (uint256 i; i < proven; ++i) {
            same(this.rootOf(leaves[i], _part(proofs, i, depth), i), roots[proven - 1], "proof");
        }
        same(proven, 5, "vectors read");
    }

    function test_LeavesOfABatch() public view {
        bytes32[] memory leaves = vm.parseJsonBytes32Array(batches, ".leaves");
        bytes32 claimHash = keccak256(vm.parseJsonBytes(batches, ".claim"));
        uint256 at;
        for (; at < vm.parseJsonUintArray(batches, ".resultStatuses").length; ++at) {
            Result memory result = _result(at);
            bytes32 hash = result.status == ProvernetTypes.SETTLED ? claimHash : keccak256("");
            same(ProvernetTypes.resultLeaf(result, hash), leaves[at], "result");
        }
        address[] memory operators = vm.parseJsonAddressArray(batches, ".creditOperators");
        uint256[] memory amounts = vm.parseJsonUintArray(batches, ".creditAmounts");
        for (uint256 i; i < operators.length; ++i) {
            same(ProvernetTypes.creditLeaf(operators[i], amounts[i]), leaves[at++], "credit");
        }
        operators = vm.parseJsonAddressArray(batches, ".stakeOperators");
        amounts = vm.parseJsonUintArray(batches, ".stakeAmounts");
        for (uint256 i; i < operators.length; ++i) {
            same(ProvernetTypes.boundStakeLeaf(operators[i], amounts[i]), leaves[at++], "bound stake");
        }
        bytes32 word = vm.parseJsonBytes32(batches, ".reputationRoot");
        same(ProvernetTypes.reputationLeaf(word), leaves[at++], "reputation");
        word = vm.parseJsonBytes32(batches, ".parametersHash");
        same(ProvernetTypes.parametersLeaf(word), leaves[at++], "parameters");
        word = vm.parseJsonBytes32(batches, ".marketsHash");
        same(ProvernetTypes.marketsLeaf(word), leaves[at++], "markets");
        same(at, leaves.length, "leaves read");
        same(MerkleTree.rootOf(leaves), _header(0).root, "root");
    }

    function test_PythonsNetworkSettlesPythonsBatch() public {
        _registerPythonsOperators();
        bytes32 digest = vm.parseJsonBytes32(certificates, ".digest");
        bytes[] memory signatures = vm.parseJsonBytesArray(certificates, ".signatures");
        bytes[] memory absent = vm.parseJsonBytesArray(certificates, ".nonSigners");
        bool[] memory quorums = vm.parseJsonBoolArray(certificates, ".quorums");
        uint256[] memory weights = vm.parseJsonUintArray(certificates, ".signedWeights");
        for (uint256 i; i < signatures.length; ++i) {
            if (quorums[i]) {
                same(registry.checkCertificate(1, digest, signatures[i], absent[i]), weights[i], "signed weight");
            } else {
                vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.QuorumNotReached.selector, weights[i], 350));
                registry.checkCertificate(1, digest, signatures[i], absent[i]);
            }
        }

        feeToken = new TestToken("Fee", "FEE");
        market = new ProofMarket(IERC20(address(feeToken)), registry, GOVERNANCE, WITHDRAWAL_DELAY);
        for (uint256 i; i < 4; ++i) {
            fund(_result(i).requester, 1 ether);
        }
        market.settle(_header(0), vm.parseJsonBytesArray(batches, ".debits")[0], signatures[1], absent[1]);
        same(market.accruedFees(), _header(0).paid, "fees");
        uint256 charged;
        uint256 depth = vm.parseJsonUint(batches, ".proofDepth");
        bytes32[] memory proofs = vm.parseJsonBytes32Array(batches, ".resultProofs");
        for (uint256 i; i < 4; ++i) {
            Result memory result = _result(i);
            bytes memory claim = result.status == 1 ? vm.parseJsonBytes(batches, ".claim") : bytes("");
            market.record(1, result, claim, _part(proofs, i, depth), i);
            same(market.statusOf(result.requestId), result.status, "status");
            charged += result.fee;
        }
        same(market.accruedFees() + market.treasury(), charged, "fees of the results");
        bytes32 credit = vm.parseJsonBytes32Array(batches, ".leaves")[4];
        proofs = vm.parseJsonBytes32Array(batches, ".creditProofs");
        check(market.verifyInclusion(1, credit, _part(proofs, 0, depth), 4), "credit");
    }

    function batchDigest(Batch calldata header) external view returns (bytes32) {
        return ProvernetTypes.batchDigest(vectorRegistry, header);
    }

    function rootOf(bytes32 leaf, bytes32[] calldata proof, uint256 index) external pure returns (bytes32) {
        return MerkleProof.rootOf(leaf, proof, index);
    }

    /// @dev The registry's code is put at the address that the vectors name, where its owner is the zero address.
    function _registerPythonsOperators() private {
        deployRegistry();
        vm.etch(vectorRegistry, address(registry).code);
        registry = ProverRegistry(vectorRegistry);
        address[] memory list = strategies();
        vm.prank(address(0));
        registry.setUpAvs("ipfs://provernet", list);

        address[] memory operators = vm.parseJsonAddressArray(certificates, ".operators");
        uint256[] memory weights = vm.parseJsonUintArray(certificates, ".weights");
        for (uint256 i; i < operators.length; ++i) {
            becomeOperator(operators[i], weights[i] * 1e9);
        }
        mine(ALLOCATION_CONFIGURATION_DELAY + 1);
        for (uint256 i; i < operators.length; ++i) {
            vm.prank(address(0));
            registry.setAllowed(operators[i], true);
            allocate(operators[i], vectorRegistry, 1e18);
            IProverRegistry.OperatorKeys memory keys = IProverRegistry.OperatorKeys({
                session: vm.parseJsonAddressArray(certificates, ".sessions")[i],
                blsKey: vm.parseJsonBytesArray(certificates, ".blsKeys")[i],
                proofOfPossession: vm.parseJsonBytesArray(certificates, ".proofsOfPossession")[i],
                sealingKey: vm.parseJsonBytes32Array(certificates, ".sealingKeys")[i],
                peerId: vm.parseJsonBytesArray(certificates, ".peerIds")[i],
                multiaddrs: ""
            });
            join(operators[i], vectorRegistry, abi.encode(keys));
        }
        openNextEpoch();
    }

    /// @dev The digest of one type's example; its type hash has to be this one.
    function _vector(string memory name, bytes32 typeHash) private view returns (bytes32 digest) {
        string[] memory names = vm.parseJsonStringArray(typed, ".names");
        for (uint256 i; i < names.length; ++i) {
            if (keccak256(bytes(names[i])) == keccak256(bytes(name))) {
                same(vm.parseJsonBytes32Array(typed, ".typeHashes")[i], typeHash, "type hash");
                digest = vm.parseJsonBytes32Array(typed, ".digests")[i];
            }
        }
    }

    function _header(uint256 i) private view returns (Batch memory) {
        return Batch({
            epoch: uint64(vm.parseJsonUintArray(batches, ".header_epoch")[i]),
            round: uint64(vm.parseJsonUintArray(batches, ".header_round")[i]),
            value: vm.parseJsonBytes32Array(batches, ".header_value")[i],
            sequence: uint64(vm.parseJsonUintArray(batches, ".header_sequence")[i]),
            parent: vm.parseJsonBytes32Array(batches, ".header_parent")[i],
            root: vm.parseJsonBytes32Array(batches, ".header_root")[i],
            paid: uint128(vm.parseJsonUintArray(batches, ".header_paid")[i]),
            debitsHash: vm.parseJsonBytes32Array(batches, ".header_debitsHash")[i]
        });
    }

    function _result(uint256 i) private view returns (Result memory) {
        return Result({
            requestId: vm.parseJsonBytes32Array(batches, ".resultRequestIds")[i],
            programId: vm.parseJsonBytes32Array(batches, ".resultProgramIds")[i],
            requester: vm.parseJsonAddressArray(batches, ".resultRequesters")[i],
            status: uint8(vm.parseJsonUintArray(batches, ".resultStatuses")[i]),
            issuedAt: uint64(vm.parseJsonUintArray(batches, ".resultIssuedAt")[i]),
            fee: uint128(vm.parseJsonUintArray(batches, ".resultFees")[i])
        });
    }

    function _first(bytes32[] memory words, uint256 count) private pure returns (bytes32[] memory) {
        return _part(words, 0, count);
    }

    function _part(bytes32[] memory words, uint256 number, uint256 length)
        private
        pure
        returns (bytes32[] memory part)
    {
        part = new bytes32[](length);
        for (uint256 i; i < length; ++i) {
            part[i] = words[number * length + i];
        }
    }
}
