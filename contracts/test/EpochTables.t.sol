// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ICertificateVerifier} from "../src/interfaces/ICertificateVerifier.sol";
import {IProverRegistry} from "../src/interfaces/IProverRegistry.sol";
import {Bls12381} from "../src/libraries/Bls12381.sol";
import {BlsSigner} from "./support/BlsSigner.sol";
import {NetworkFixture} from "./support/NetworkFixture.sol";

/// @dev Tables: what is in them, when they change, and how long they count.
contract EpochTablesTest is NetworkFixture {
    uint256 private constant COUNT = 4;

    function setUp() public {
        deployRegistry();
        registerOperators(COUNT, 100 ether);
    }

    function test_TableHoldsKeysAndSlashableStake() public {
        allocate(operatorAt(2), address(registry), 0.4e18);
        mine(1);
        openNextEpoch();
        IProverRegistry.Entry[] memory entries = registry.tableOf(1);
        same(entries.length, COUNT, "size");
        uint256 secrets;
        for (uint256 i; i < COUNT; ++i) {
            same(entries[i].operator, operatorAt(i), "operator");
            same(entries[i].session, keysOf(i).session, "session");
            same(entries[i].weight, i == 2 ? 40e9 : 100e9, "weight");
            same(Bls12381.unpack(entries[i].blsKey), BlsSigner.publicKey(BlsSigner.secret(i)), "key");
            same(entries[i].sealingKey, keysOf(i).sealingKey, "sealing key");
            same(entries[i].peerIdHash, keccak256(keysOf(i).peerId), "peer id hash");
            secrets = addmod(secrets, BlsSigner.secret(i), BlsSigner.ORDER);
        }
        same(registry.tableHashOf(1), keccak256(abi.encode(entries)), "hash");
        same(Bls12381.unpack(registry.aggregatedKeyOf(1)), BlsSigner.publicKey(secrets), "aggregated key");
        (uint64 frozen, uint64 opened, bytes32 seed, uint256 total, uint256 size) = registry.epochOf(1);
        same(opened, vm.getBlockNumber(), "opened");
        same(frozen, opened - TABLE_SEED_DELAY - 1, "frozen");
        same(seed, blockhash(frozen + TABLE_SEED_DELAY), "seed");
        same(total, 340e9, "total");
        same(size, COUNT, "rows");
    }

    function test_StepsAreDueInOrder() public {
        same(registry.currentEpoch(), 0, "none");
        vm.expectRevert(IProverRegistry.NothingFrozen.selector);
        registry.openEpoch();
        registry.freezeTable();
        uint256 seedBlock = vm.getBlockNumber() + TABLE_SEED_DELAY;
        vm.expectRevert(abi.encodeWithSelector(IProverRegistry.NotDue.selector, seedBlock + 256 + 1));
        registry.freezeTable();
        mine(TABLE_SEED_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IProverRegistry.NotDue.selector, seedBlock + 1));
        registry.openEpoch();
        mine(1);
        registry.openEpoch();
        same(registry.currentEpoch(), 1, "first");
        uint256 due = vm.getBlockNumber() + EPOCH_BLOCKS;
        mine(EPOCH_BLOCKS - 1);
        vm.expectRevert(abi.encodeWithSelector(IProverRegistry.NotDue.selector, due));
        registry.freezeTable();
        mine(1);
        openNextEpoch();
        same(registry.currentEpoch(), 2, "second");
    }

    function test_AForgottenTableIsFrozenAgain() public {
        registry.freezeTable();
        bytes32 first = registry.tableHashOf(1);
        mine(TABLE_SEED_DELAY + 256);
        mine(1);
        vm.expectRevert(IProverRegistry.SeedExpired.selector);
        registry.openEpoch();
        depart(operatorAt(0), address(registry));
        openNextEpoch();
        same(registry.tableOf(1).length, COUNT - 1, "frozen again");
        check(registry.tableHashOf(1) != first, "hash");
    }

    function test_WhoLeftOrHasNoStakeIsInNoLaterTable() public {
        openNextEpoch();
        depart(operatorAt(0), address(registry));
        vm.prank(GOVERNANCE);
        registry.eject(operatorAt(1));
        allocate(operatorAt(2), address(registry), 0);
        same(registry.tableOf(1).length, COUNT, "a frozen table stays");
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        IProverRegistry.Entry[] memory entries = registry.tableOf(2);
        same(entries.length, 1, "size");
        same(entries[0].operator, operatorAt(3), "who stayed");
        same(registry.tableOf(1)[0].operator, operatorAt(0), "evidence outlives membership");
    }

    function test_ATableNeedsStake() public {
        for (uint256 i; i < COUNT; ++i) {
            depart(operatorAt(i), address(registry));
        }
        vm.expectRevert(IProverRegistry.EmptyTable.selector);
        registry.freezeTable();
    }
}

/// @dev Certificates: quorum arithmetic and every forgery we could think of.
contract CertificateTest is NetworkFixture {
    uint256 private constant COUNT = 9;
    bytes32 private constant DIGEST = keccak256("digest");

    function setUp() public {
        deployRegistry();
        registerOperators(COUNT, 100 ether);
        openNextEpoch();
    }

    function test_AllSign() public view {
        same(registry.checkCertificate(1, DIGEST, certify(DIGEST, 0, COUNT), ""), 900e9, "signed weight");
    }

    function test_QuorumIsStrictlyAboveTwoThirds() public {
        same(registry.checkCertificate(1, DIGEST, certify(DIGEST, 2, COUNT), positions(0, 2)), 700e9, "7 of 9");
        bytes memory six = certify(DIGEST, 3, COUNT);
        bytes memory absent = positions(0, 3);
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.QuorumNotReached.selector, 600e9, 900e9));
        registry.checkCertificate(1, DIGEST, six, absent);
    }

    function test_NobodyIsNoQuorum() public {
        bytes memory everyone = positions(0, COUNT);
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.QuorumNotReached.selector, 0, 900e9));
        registry.checkCertificate(1, DIGEST, new bytes(256), everyone);
    }

    function test_RefusesForgeries() public {
        bytes memory good = certify(DIGEST, 0, COUNT);
        _expectInvalid(DIGEST, certify(keccak256("other"), 0, COUNT), "");
        _expectInvalid(keccak256("other"), good, "");
        _expectInvalid(DIGEST, certify(DIGEST, 1, COUNT), "");
        _expectInvalid(DIGEST, good, positions(0, 1));
        _expectInvalid(DIGEST, new bytes(256), "");
        bytes memory flipped = bytes.concat(good);
        flipped[100] ^= 0x01;
        _expectInvalid(DIGEST, flipped, "");
    }

    function test_RefusesWrongLengths() public {
        bytes memory good = certify(DIGEST, 0, COUNT);
        bytes memory short = new bytes(255);
        for (uint256 i; i < 255; ++i) {
            short[i] = good[i];
        }
        _expectInvalid(DIGEST, short, "");
        _expectInvalid(DIGEST, bytes.concat(good, hex"00"), "");
        _expectInvalid(DIGEST, "", "");
        vm.expectRevert(ICertificateVerifier.MalformedNonSigners.selector);
        registry.checkCertificate(1, DIGEST, good, hex"00");
        vm.expectRevert(ICertificateVerifier.MalformedNonSigners.selector);
        registry.checkCertificate(1, DIGEST, good, hex"000000");
    }

    /// @dev A duplicate non-signer would subtract a key twice: signers could present one key as two.
    function test_RefusesUnorderedNonSigners() public {
        bytes memory most = certify(DIGEST, 2, COUNT);
        _expectRefusal(most, hex"00000000", 0);
        _expectRefusal(most, hex"00010000", 0);
        _expectRefusal(most, hex"00000009", 9);
        _expectRefusal(most, hex"ffff", 0xffff);
    }

    function test_ASignerCountsOnce() public {
        // Operator 0 signs twice in place of operator 1.
        uint256 sum = BlsSigner.secret(0);
        for (uint256 i; i < COUNT; ++i) {
            if (i != 1) sum = addmod(sum, BlsSigner.secret(i), BlsSigner.ORDER);
        }
        _expectInvalid(DIGEST, BlsSigner.sign(sum, DIGEST), "");
        _expectInvalid(DIGEST, BlsSigner.sign(sum, DIGEST), hex"0001");
    }

    function test_CountsForTwoEpochs() public {
        bytes memory good = certify(DIGEST, 0, COUNT);
        _expectWrongEpoch(0, good);
        _expectWrongEpoch(2, good);
        mine(EPOCH_BLOCKS);
        registry.freezeTable();
        _expectWrongEpoch(2, good);
        mine(TABLE_SEED_DELAY + 1);
        registry.openEpoch();
        registry.checkCertificate(1, DIGEST, good, "");
        registry.checkCertificate(2, DIGEST, good, "");
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        _expectWrongEpoch(1, good);
        _expectWrongEpoch(type(uint64).max, good);
        registry.checkCertificate(2, DIGEST, good, "");
    }

    function test_ATableExpiresBeforeItsStakeCanLeave() public {
        (uint64 frozen,,,,) = registry.epochOf(1);
        bytes memory good = certify(DIGEST, 0, COUNT);
        uint256 last = frozen + DEALLOCATION_DELAY;
        vm.roll(last);
        registry.checkCertificate(1, DIGEST, good, "");
        vm.roll(last + 1);
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.TableExpired.selector, 1, last));
        registry.checkCertificate(1, DIGEST, good, "");
    }

    function test_WhoLeftStillSignsInItsTable() public {
        depart(operatorAt(0), address(registry));
        registry.checkCertificate(1, DIGEST, certify(DIGEST, 0, COUNT), "");
    }

    /// forge-config: default.fuzz.runs = 256
    function testFuzz_AnyQuorumOfAnySigners(uint256 mask, bytes32 digest) public view {
        mask &= (1 << COUNT) - 1;
        uint256 sum;
        uint256 signers;
        bytes memory absent;
        for (uint256 i; i < COUNT; ++i) {
            if (mask >> i & 1 == 1) {
                sum = addmod(sum, BlsSigner.secret(i), BlsSigner.ORDER);
                ++signers;
            } else {
                absent = abi.encodePacked(absent, uint16(i));
            }
        }
        bytes memory signature = BlsSigner.sign(sum, digest);
        try registry.checkCertificate(1, digest, signature, absent) returns (uint256 weight) {
            check(3 * signers > 2 * COUNT, "accepted below quorum");
            same(weight, signers * 100e9, "weight");
        } catch {
            check(3 * signers <= 2 * COUNT, "quorum refused");
        }
    }

    /// forge-config: default.fuzz.runs = 512
    function testFuzz_GarbageIsRefused(bytes calldata signature, bytes calldata nonSigners) public {
        vm.expectRevert();
        registry.checkCertificate(1, DIGEST, signature, nonSigners);
    }

    function _expectInvalid(bytes32 digest, bytes memory signature, bytes memory nonSigners) private {
        vm.expectRevert(ICertificateVerifier.InvalidCertificate.selector);
        registry.checkCertificate(1, digest, signature, nonSigners);
    }

    function _expectRefusal(bytes memory signature, bytes memory nonSigners, uint16 position) private {
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.InvalidNonSigner.selector, position));
        registry.checkCertificate(1, DIGEST, signature, nonSigners);
    }

    function _expectWrongEpoch(uint64 epoch, bytes memory signature) private {
        uint64 current = registry.currentEpoch();
        vm.expectRevert(abi.encodeWithSelector(ICertificateVerifier.EpochNotAccepted.selector, epoch, current));
        registry.checkCertificate(epoch, DIGEST, signature, "");
    }
}
