// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ICertificateVerifier} from "../src/interfaces/ICertificateVerifier.sol";
import {IProverRegistry} from "../src/interfaces/IProverRegistry.sol";
import {Bls12381} from "../src/libraries/Bls12381.sol";
import {BlsSigner} from "./support/BlsSigner.sol";
import {NetworkFixture} from "./support/NetworkFixture.sol";

/// @dev Keys rotate by epoch: what changes when, and who can not make them change.
contract RotationTest is NetworkFixture {
    uint256 private constant COUNT = 4;
    /// @dev Number of the keys that operator 1 rotates to.
    uint256 private constant FRESH = 50;
    bytes32 private constant DIGEST = keccak256("digest");

    address private operator = operatorAt(1);

    function setUp() public {
        deployRegistry();
        registerOperators(COUNT, 100 ether);
        openNextEpoch();
    }

    function test_NewKeysStandInTheNextFrozenTable() public {
        IProverRegistry.OperatorKeys memory fresh = _freshKeys();
        mine(EPOCH_BLOCKS);
        registry.freezeTable();
        _rotate(fresh);
        same(uint256(registry.keyIdOf(operator)), COUNT + 1, "key id");
        mine(TABLE_SEED_DELAY + 1);
        registry.openEpoch();
        _expectEntry(1, keysOf(1));
        // Frozen before the rotation: not that one either.
        _expectEntry(2, keysOf(1));
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        _expectEntry(1, keysOf(1));
        _expectEntry(2, keysOf(1));
        _expectEntry(3, fresh);
        same(registry.operators()[1], operator, "its place in the table stays");
    }

    function test_ATableFrozenAgainTakesTheKeysOfToday() public {
        mine(EPOCH_BLOCKS);
        registry.freezeTable();
        IProverRegistry.OperatorKeys memory fresh = _freshKeys();
        _rotate(fresh);
        mine(TABLE_SEED_DELAY + 256);
        mine(1);
        openNextEpoch();
        _expectEntry(2, fresh);
    }

    function test_EachEpochsCertificatesAreOfItsOwnKeys() public {
        _rotate(_freshKeys());
        bytes memory old = certify(DIGEST, 0, COUNT);
        same(registry.checkCertificate(1, DIGEST, old, ""), 400e9, "the epoch under way");
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        same(registry.checkCertificate(1, DIGEST, old, ""), 400e9, "the epoch before");
        vm.expectRevert(ICertificateVerifier.InvalidCertificate.selector);
        registry.checkCertificate(2, DIGEST, old, "");

        bytes memory fresh = _certifyWithFreshKey();
        same(registry.checkCertificate(2, DIGEST, fresh, ""), 400e9, "new keys");
        vm.expectRevert(ICertificateVerifier.InvalidCertificate.selector);
        registry.checkCertificate(1, DIGEST, fresh, "");
        // The others sign alone, and the absent one's new key is subtracted.
        bytes memory rest = BlsSigner.sign(_secretsOfOthers(), DIGEST);
        same(registry.checkCertificate(2, DIGEST, rest, positions(1, 2)), 300e9, "without it");
    }

    function test_EvidenceStillFindsWhoseTheOldKeysWere() public {
        _rotate(_freshKeys());
        IProverRegistry.KeyRecord memory record = registry.keyRecord(2);
        same(record.operator, operator, "operator");
        same(record.session, keysOf(1).session, "session");
        same(record.sealingKey, keysOf(1).sealingKey, "sealing key");
        same(Bls12381.unpack(record.blsKey), keysOf(1).blsKey, "BLS key");
        same(registry.operatorOfSession(keysOf(1).session), operator, "of the old session");
        same(registry.operatorOfSession(_freshKeys().session), operator, "of the new session");
    }

    function test_OnlyTheNewSessionChangesMultiaddrs() public {
        IProverRegistry.OperatorKeys memory fresh = _freshKeys();
        fresh.multiaddrs = "/ip4/10.0.0.1/tcp/1";
        _rotate(fresh);
        (, string memory multiaddrs) = registry.peerOf(operator);
        same(bytes(multiaddrs), bytes("/ip4/10.0.0.1/tcp/1"), "multiaddrs");
        // At once, though the table in force names it still: it may be in wrong hands.
        address old = keysOf(1).session;
        vm.expectRevert(IProverRegistry.NotOperatorNorSession.selector);
        vm.prank(old);
        registry.updateMultiaddrs(operator, "/ip4/10.6.6.6/tcp/6");
        vm.prank(fresh.session);
        registry.updateMultiaddrs(operator, "/ip4/10.0.0.2/tcp/2");
        (, multiaddrs) = registry.peerOf(operator);
        same(bytes(multiaddrs), bytes("/ip4/10.0.0.2/tcp/2"), "multiaddrs");
    }

    function test_OnlyTheOperatorRotates() public {
        IProverRegistry.OperatorKeys memory fresh = _freshKeys();
        address[4] memory strangers = [operatorAt(0), keysOf(1).session, fresh.session, GOVERNANCE];
        for (uint256 i; i < strangers.length; ++i) {
            _expectRefusal(strangers[i], fresh, abi.encodeWithSelector(IProverRegistry.NotOperator.selector));
        }
        same(uint256(registry.keyIdOf(operator)), 2, "key id");
    }

    function test_OnlyWhoIsRegisteredRotates() public {
        address newcomer = operatorAt(100);
        becomeOperator(newcomer, 50 ether);
        mine(ALLOCATION_CONFIGURATION_DELAY + 1);
        admit(newcomer);
        _expectUnregistered(newcomer, keysFor(newcomer, 100));

        IProverRegistry.OperatorKeys memory fresh = _freshKeys();
        depart(operator, address(registry));
        _expectUnregistered(operator, fresh);

        IProverRegistry.OperatorKeys memory other = keysFor(operatorAt(2), 60);
        other.peerId = keysOf(2).peerId;
        prove(operatorAt(2), 60, other);
        vm.prank(GOVERNANCE);
        registry.eject(operatorAt(2));
        _expectUnregistered(operatorAt(2), other);
    }

    function test_RefusesWhatAnotherOperatorUsesOrUsed() public {
        // Operator 0's keys of before its own rotation, and those of after.
        IProverRegistry.OperatorKeys memory later = keysFor(operatorAt(0), 60);
        later.peerId = keysOf(0).peerId;
        prove(operatorAt(0), 60, later);
        vm.prank(operatorAt(0));
        registry.rotateKeys(operatorAt(0), later);
        uint256[2] memory taken = [uint256(0), 60];
        for (uint256 i; i < taken.length; ++i) {
            IProverRegistry.OperatorKeys memory theirs = keysFor(operatorAt(0), taken[i]);
            IProverRegistry.OperatorKeys memory keys = _freshKeys();
            keys.session = theirs.session;
            prove(operator, FRESH, keys);
            _expectTaken(keys, abi.encodePacked("session", keys.session));

            // Whoever holds the secret can prove the key again, but the key is not its own.
            keys = _freshKeys();
            keys.blsKey = theirs.blsKey;
            prove(operator, taken[i], keys);
            _expectTaken(keys, abi.encodePacked("bls", keys.blsKey));
        }
    }

    function test_ThePeerIdStays() public {
        bytes memory refusal = abi.encodeWithSelector(IProverRegistry.InvalidPeerId.selector);
        IProverRegistry.OperatorKeys memory keys = keysFor(operator, FRESH);
        _expectRefusal(operator, keys, refusal);
        keys.peerId = keysOf(0).peerId;
        prove(operator, FRESH, keys);
        _expectRefusal(operator, keys, refusal);
    }

    function test_AProofOfPossessionServesOnce() public {
        bytes memory refusal = abi.encodeWithSelector(IProverRegistry.InvalidProofOfPossession.selector);
        IProverRegistry.OperatorKeys memory fresh = _freshKeys();
        _rotate(fresh);
        // Copied from the chain by another operator, with its own peer id or with this one's.
        _expectRefusalOf(operatorAt(0), fresh, abi.encodeWithSelector(IProverRegistry.InvalidPeerId.selector));
        IProverRegistry.OperatorKeys memory stolen = _freshKeys();
        stolen.peerId = keysOf(0).peerId;
        _expectRefusalOf(operatorAt(0), stolen, refusal);
        // The registration's, for other keys: each signed field counts.
        IProverRegistry.OperatorKeys memory keys = _freshKeys();
        keys.proofOfPossession = keysOf(1).proofOfPossession;
        _expectRefusal(operator, keys, refusal);
        keys = keysOf(1);
        keys.session = fresh.session;
        _expectRefusal(operator, keys, refusal);
        keys = keysOf(1);
        keys.sealingKey = fresh.sealingKey;
        _expectRefusal(operator, keys, refusal);
        keys = _freshKeys();
        keys.proofOfPossession = new bytes(256);
        _expectRefusal(operator, keys, refusal);
    }

    function test_RefusesMalformedKeys() public {
        IProverRegistry.OperatorKeys memory keys = _freshKeys();
        keys.session = operator;
        _expectRefusal(operator, keys, abi.encodeWithSelector(IProverRegistry.InvalidSession.selector));
        keys = _freshKeys();
        keys.sealingKey = 0;
        _expectRefusal(operator, keys, abi.encodeWithSelector(IProverRegistry.InvalidSealingKey.selector));
        keys = _freshKeys();
        keys.blsKey = new bytes(128);
        _expectRefusal(operator, keys, abi.encodeWithSelector(IProverRegistry.InvalidBlsKey.selector));
        keys = _freshKeys();
        keys.multiaddrs = string(new bytes(1_025));
        _expectRefusal(operator, keys, abi.encodeWithSelector(IProverRegistry.MultiaddrsTooLong.selector));
    }

    function test_AnOperatorMayGoBackToItsOwnKeys() public {
        _rotate(_freshKeys());
        _rotate(keysOf(1));
        same(uint256(registry.keyIdOf(operator)), COUNT + 2, "a record of its own");
        mine(EPOCH_BLOCKS);
        openNextEpoch();
        _expectEntry(2, keysOf(1));
    }

    /// @dev Valid keys for operator 1 under its peer id.
    function _freshKeys() private view returns (IProverRegistry.OperatorKeys memory keys) {
        keys = keysFor(operator, FRESH);
        keys.peerId = keysOf(1).peerId;
        prove(operator, FRESH, keys);
    }

    function _rotate(IProverRegistry.OperatorKeys memory keys) private {
        vm.prank(operator);
        registry.rotateKeys(operator, keys);
    }

    function _secretsOfOthers() private pure returns (uint256 sum) {
        for (uint256 i; i < COUNT; ++i) {
            if (i != 1) sum = addmod(sum, BlsSigner.secret(i), BlsSigner.ORDER);
        }
    }

    /// @dev All operators, operator 1 with the keys that it rotated to.
    function _certifyWithFreshKey() private view returns (bytes memory) {
        return BlsSigner.sign(addmod(_secretsOfOthers(), BlsSigner.secret(FRESH), BlsSigner.ORDER), DIGEST);
    }

    function _expectEntry(uint64 epoch, IProverRegistry.OperatorKeys memory keys) private view {
        IProverRegistry.Entry memory entry = registry.tableOf(epoch)[1];
        same(entry.operator, operator, "operator");
        same(entry.session, keys.session, "session");
        same(entry.sealingKey, keys.sealingKey, "sealing key");
        same(Bls12381.unpack(entry.blsKey), keys.blsKey, "BLS key");
        same(entry.peerIdHash, keccak256(keys.peerId), "peer id hash");
    }

    function _expectTaken(IProverRegistry.OperatorKeys memory keys, bytes memory id) private {
        _expectRefusal(operator, keys, abi.encodeWithSelector(IProverRegistry.KeyTaken.selector, keccak256(id)));
    }

    function _expectRefusal(address caller, IProverRegistry.OperatorKeys memory keys, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(caller);
        registry.rotateKeys(operator, keys);
    }

    function _expectUnregistered(address who, IProverRegistry.OperatorKeys memory keys) private {
        _expectRefusalOf(who, keys, abi.encodeWithSelector(IProverRegistry.OperatorNotRegistered.selector, who));
    }

    /// @dev An operator that tries to rotate its own registration to these keys.
    function _expectRefusalOf(address who, IProverRegistry.OperatorKeys memory keys, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(who);
        registry.rotateKeys(who, keys);
    }
}
