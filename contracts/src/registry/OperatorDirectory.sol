// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {IProverRegistry} from "../interfaces/IProverRegistry.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {ProvernetTypes} from "../libraries/ProvernetTypes.sol";

/// @title Operators' keys and addresses on the peer-to-peer network.
/// @dev Keys are append-only records with a global number, the key id; tables of past epochs go on naming them.
abstract contract OperatorDirectory is IProverRegistry {
    /// @notice Bound on the size of a table, so that freezing one fits in a transaction (EIP-7825).
    uint256 public constant MAX_OPERATORS = 160;

    uint256 private constant MAX_PEER_ID_LENGTH = 64;
    uint256 private constant MAX_MULTIADDRS_LENGTH = 1_024;

    struct Registration {
        uint32 keyId;
        uint32 position;
        bytes peerId;
        string multiaddrs;
    }

    KeyRecord[] private _records;
    address[] private _operators;
    mapping(address operator => Registration) private _registrations;
    /// @dev keccak256 of a BLS key, of a session or of a peer id, each under its own prefix, to who first used it.
    mapping(bytes32 id => address operator) private _owners;

    /// @inheritdoc IProverRegistry
    function operators() external view returns (address[] memory) {
        return _operators;
    }

    /// @inheritdoc IProverRegistry
    function keyIdOf(address operator) external view returns (uint32) {
        return _registrations[operator].keyId;
    }

    /// @inheritdoc IProverRegistry
    function keyRecord(uint32 keyId) external view returns (KeyRecord memory) {
        return _record(keyId);
    }

    /// @inheritdoc IProverRegistry
    function peerOf(address operator) external view returns (bytes memory peerId, string memory multiaddrs) {
        Registration storage registration = _registrations[operator];
        return (registration.peerId, registration.multiaddrs);
    }

    /// @inheritdoc IProverRegistry
    function operatorOfSession(address session) public view returns (address) {
        return _owners[_sessionId(session)];
    }

    /// @inheritdoc IProverRegistry
    function keyRegistrationDigest(
        address operator,
        address session,
        bytes calldata blsKey,
        bytes32 sealingKey,
        bytes calldata peerId
    ) external view returns (bytes32) {
        return ProvernetTypes.keyRegistrationDigest(
            address(this), operator, session, keccak256(blsKey), sealingKey, keccak256(peerId)
        );
    }

    /// @inheritdoc IProverRegistry
    function updateMultiaddrs(address operator, string calldata multiaddrs) external {
        Registration storage registration = _registrations[operator];
        uint32 keyId = registration.keyId;
        require(keyId != 0, OperatorNotRegistered(operator));
        require(msg.sender == operator || msg.sender == _record(keyId).session, NotOperatorNorSession());
        require(bytes(multiaddrs).length <= MAX_MULTIADDRS_LENGTH, MultiaddrsTooLong());
        registration.multiaddrs = multiaddrs;
        emit MultiaddrsUpdated(operator, multiaddrs);
    }

    /// @inheritdoc IProverRegistry
    function rotateKeys(address operator, OperatorKeys calldata keys) external {
        require(msg.sender == operator, NotOperator());
        Registration storage registration = _registrations[operator];
        require(registration.keyId != 0, OperatorNotRegistered(operator));
        // Peers know each other by this id, in all epochs at once: no table of theirs may lose it.
        require(keccak256(keys.peerId) == keccak256(registration.peerId), InvalidPeerId());
        uint32 keyId = _addRecord(operator, keys);
        registration.keyId = keyId;
        registration.multiaddrs = keys.multiaddrs;
        emit KeysRotated(operator, keyId, keys.session);
        emit MultiaddrsUpdated(operator, keys.multiaddrs);
    }

    /// @dev The caller has checked that `operator` is not registered.
    function _addOperator(address operator, OperatorKeys memory keys) internal {
        require(_operators.length < MAX_OPERATORS, TooManyOperators());
        uint32 keyId = _addRecord(operator, keys);
        _registrations[operator] = Registration(keyId, uint32(_operators.length), keys.peerId, keys.multiaddrs);
        _operators.push(operator);
        emit OperatorRegistered(operator, keyId, keys.session, keys.peerId);
        emit MultiaddrsUpdated(operator, keys.multiaddrs);
    }

    /// @dev Does nothing for who is not registered: leaving must not fail.
    function _removeOperator(address operator) internal {
        Registration storage registration = _registrations[operator];
        uint32 keyId = registration.keyId;
        if (keyId == 0) return;
        uint32 position = registration.position;
        address last = _operators[_operators.length - 1];
        _operators[position] = last;
        _registrations[last].position = position;
        _operators.pop();
        delete _registrations[operator];
        emit OperatorDeregistered(operator, keyId);
    }

    function _currentOperators() internal view returns (address[] memory) {
        return _operators;
    }

    function _currentKeyId(address operator) internal view returns (uint32) {
        return _registrations[operator].keyId;
    }

    function _record(uint32 keyId) internal view returns (KeyRecord storage) {
        return _records[keyId - 1];
    }

    /// @dev Checks and claims the keys, and keeps them under a number of their own.
    function _addRecord(address operator, OperatorKeys memory keys) private returns (uint32 keyId) {
        _checkKeys(operator, keys);
        _claim(keccak256(abi.encodePacked("bls", keys.blsKey)), operator);
        _claim(_sessionId(keys.session), operator);
        _claim(keccak256(abi.encodePacked("peer", keys.peerId)), operator);
        _records.push(
            KeyRecord({
                blsKey: Bls12381.pack(keys.blsKey),
                operator: operator,
                sinceBlock: uint64(block.number),
                session: keys.session,
                sealingKey: keys.sealingKey,
                peerIdHash: keccak256(keys.peerId)
            })
        );
        keyId = uint32(_records.length);
    }

    function _checkKeys(address operator, OperatorKeys memory keys) private view {
        require(keys.session != address(0) && keys.session != operator, InvalidSession());
        require(keys.sealingKey != 0, InvalidSealingKey());
        require(keys.peerId.length != 0 && keys.peerId.length <= MAX_PEER_ID_LENGTH, InvalidPeerId());
        require(bytes(keys.multiaddrs).length <= MAX_MULTIADDRS_LENGTH, MultiaddrsTooLong());

        bytes memory blsKey = keys.blsKey;
        require(blsKey.length == Bls12381.G1_LENGTH && !Bls12381.isInfinity(blsKey), InvalidBlsKey());
        bytes32 digest = ProvernetTypes.keyRegistrationDigest(
            address(this), operator, keys.session, keccak256(blsKey), keys.sealingKey, keccak256(keys.peerId)
        );
        require(Bls12381.verify(blsKey, digest, keys.proofOfPossession), InvalidProofOfPossession());
    }

    function _sessionId(address session) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("session", session));
    }

    /// @dev Who returns or rotates may use its own old keys again; nobody else's, ever: evidence names a key, not a time.
    function _claim(bytes32 id, address operator) private {
        address owner = _owners[id];
        require(owner == address(0) || owner == operator, KeyTaken(id));
        _owners[id] = operator;
    }
}
