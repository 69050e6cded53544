// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title The AVS: who may operate, with which keys, and the operator table of each epoch.
interface IProverRegistry {
    // ---- types ----

    /// @notice What an operator registers with, abi-encoded in `registerForOperatorSets`.
    /// @param session secp256k1 address that signs messages; its key lives on the node, the operator's does not.
    /// @param blsKey BLS12-381 public key, 128 bytes: an EIP-2537 G1 point.
    /// @param proofOfPossession BLS signature by that key over the KeyRegistration digest, 256 bytes: a G2 point.
    /// @param sealingKey X25519 public key to which witness inputs are sealed.
    /// @param peerId libp2p peer id as its multihash, 1 to 64 bytes.
    /// @param multiaddrs Where the node listens, comma-separated, at most 1,024 bytes.
    struct OperatorKeys {
        address session;
        bytes blsKey;
        bytes proofOfPossession;
        bytes32 sealingKey;
        bytes peerId;
        string multiaddrs;
    }

    /// @notice One version of one operator's keys; never changed once written, so that evidence outlives rotation.
    /// @param blsKey Unpadded x and y, 48 bytes each, over three words.
    /// @param sinceBlock Block of registration or rotation.
    /// @param peerIdHash keccak256 of the peer id.
    struct KeyRecord {
        bytes32[3] blsKey;
        address operator;
        uint64 sinceBlock;
        address session;
        bytes32 sealingKey;
        bytes32 peerIdHash;
    }

    /// @notice One row of an operator table.
    /// @param weight Slashable stake, see `stakeOf`.
    /// @param blsKey Unpadded x and y, 48 bytes each, over three words.
    struct Entry {
        address operator;
        address session;
        uint96 weight;
        bytes32[3] blsKey;
        bytes32 sealingKey;
        bytes32 peerIdHash;
    }

    // ---- errors ----

    error OnlyAllocationManager();
    error UnknownOperatorSet();
    error AlreadySetUp();
    error OperatorNotAllowed(address operator);
    error OperatorNotRegistered(address operator);
    error TooManyOperators();
    /// @notice Both in units of `stakeOf`.
    error StakeBelowMinimum(uint256 stake, uint256 minimum);
    error InvalidSession();
    error InvalidSealingKey();
    error InvalidPeerId();
    error MultiaddrsTooLong();
    /// @notice Wrong length, or the point at infinity.
    error InvalidBlsKey();
    /// @notice The key is off the curve or out of the subgroup, or the signature is not over the registration digest.
    error InvalidProofOfPossession();
    /// @notice Another operator holds, or once held, this key, session or peer id.
    error KeyTaken(bytes32 id);
    error NotOperator();
    error NotOperatorNorSession();
    error EpochTooLong();
    /// @notice The step is due from this block on.
    error NotDue(uint256 dueBlock);
    error NothingFrozen();
    /// @notice The seed's block is out of reach; freeze again.
    error SeedExpired();
    error EmptyTable();

    // ---- events ----

    event OperatorAllowed(address indexed operator, bool allowed);
    event MinimumStakeSet(uint96 minimumStake);
    event OperatorRegistered(address indexed operator, uint32 indexed keyId, address session, bytes peerId);
    event KeysRotated(address indexed operator, uint32 indexed keyId, address session);
    event OperatorDeregistered(address indexed operator, uint32 indexed keyId);
    event OperatorEjected(address indexed operator);
    event MultiaddrsUpdated(address indexed operator, string multiaddrs);
    event TableFrozen(uint64 indexed epoch, uint256 size, uint256 totalWeight, bytes32 tableHash);
    event EpochOpened(uint64 indexed epoch, bytes32 seed);

    // ---- governance ----

    /// @notice Publishes the AVS and creates operator set 0 over `strategies` (ascending); once.
    function setUpAvs(string calldata metadataURI, address[] calldata strategies) external;

    /// @notice Lets an operator register, or no longer; who is registered stays until ejected.
    function setAllowed(address operator, bool allowed) external;

    /// @notice Stake asked at registration, in units of `stakeOf`.
    function setMinimumStake(uint96 minimumStake) external;

    /// @notice Takes an operator off the allowlist and out of the operator set: it is in no later table.
    function eject(address operator) external;

    // ---- operators ----

    /// @notice Replaces a registered operator's keys, by the operator itself: from the next table that is frozen on.
    /// Tables frozen before, certificates and evidence of their epochs go on naming the old ones.
    /// @param keys Checked as at registration; the peer id stays the registered one.
    function rotateKeys(address operator, OperatorKeys calldata keys) external;

    /// @notice Replaces where the node listens; by the operator or its session key.
    function updateMultiaddrs(address operator, string calldata multiaddrs) external;

    function isAllowed(address operator) external view returns (bool);

    /// @notice Registered operators, in the order of the next table.
    function operators() external view returns (address[] memory);

    /// @notice Version of the keys of a registered operator, from 1; 0 = not registered.
    function keyIdOf(address operator) external view returns (uint32);

    /// @notice Keys of any version, also of those no longer in use.
    function keyRecord(uint32 keyId) external view returns (KeyRecord memory);

    /// @notice Peer id and comma-separated multiaddrs of a registered operator.
    function peerOf(address operator) external view returns (bytes memory peerId, string memory multiaddrs);

    /// @notice Operator that registered this session key, also if no longer registered; zero = nobody.
    function operatorOfSession(address session) external view returns (address);

    /// @notice Stake that stays slashable for a table's whole lifetime: shares summed over the set's strategies,
    /// in 1e9 of a share (gwei for an 18-decimals token at par).
    function stakeOf(address operator) external view returns (uint96);

    /// @notice EIP-712 digest that a BLS key signs to prove its possession.
    /// @param blsKey 128 bytes.
    /// @param peerId 1 to 64 bytes.
    function keyRegistrationDigest(
        address operator,
        address session,
        bytes calldata blsKey,
        bytes32 sealingKey,
        bytes calldata peerId
    ) external view returns (bytes32);

    // ---- epochs ----

    /// @notice Freezes the table of the next epoch; anyone, `EPOCH_BLOCKS` after the current one opened.
    /// @dev Operators without stake are left out. May be repeated if the seed's block is out of reach.
    function freezeTable() external returns (uint64 epoch);

    /// @notice Opens the frozen epoch, seeded by the hash of block `frozenBlock + TABLE_SEED_DELAY`; anyone.
    function openEpoch() external returns (uint64 epoch);

    /// @notice Number of the epoch in force, from 1; 0 before the first.
    function currentEpoch() external view returns (uint64);

    /// @return frozenBlock 0 = no such table.
    /// @return openedBlock 0 = frozen, not open.
    /// @return seed Block hash.
    /// @return totalWeight In units of `stakeOf`.
    /// @return size Rows of the table.
    function epochOf(uint64 epoch)
        external
        view
        returns (uint64 frozenBlock, uint64 openedBlock, bytes32 seed, uint256 totalWeight, uint256 size);

    /// @notice Rows by position.
    function tableOf(uint64 epoch) external view returns (Entry[] memory);

    /// @notice keccak256(abi.encode(Entry[])): pins a table for verifiers off chain.
    function tableHashOf(uint64 epoch) external view returns (bytes32);

    /// @notice Sum of all keys of the table: unpadded x and y, 48 bytes each, over three words.
    function aggregatedKeyOf(uint64 epoch) external view returns (bytes32[3] memory);
}
