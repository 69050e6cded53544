// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {ICertificateVerifier} from "../interfaces/ICertificateVerifier.sol";
import {IProverRegistry} from "../interfaces/IProverRegistry.sol";
import {IAllocationManager, OperatorSet} from "../interfaces/eigenlayer/IAllocationManager.sol";
import {Bls12381} from "../libraries/Bls12381.sol";
import {DataContract} from "../libraries/DataContract.sol";
import {TableCodec} from "../libraries/TableCodec.sol";
import {OperatorDirectory} from "./OperatorDirectory.sol";

/// @title Operator tables with stake weights, one per epoch, and the certificates that they back.
/// @dev A table is frozen first and its seed is the hash of a later block, so that nobody registers or moves stake
/// against a known seed. The proposer of that block can withhold it, no more.
abstract contract EpochTables is OperatorDirectory, ICertificateVerifier {
    /// @notice The operator set of this AVS.
    uint32 public constant OPERATOR_SET_ID = 0;

    /// @dev Shares to weight: keeps 18-decimals shares of any supply within uint96.
    uint256 private constant WEIGHT_UNIT = 1e9;
    /// @dev How far back a block hash can be read.
    uint256 private constant BLOCKHASH_WINDOW = 256;

    /// @param table Contract that holds the encoded table (TableCodec); the certificate check reads it and this slot.
    struct EpochRecord {
        address table;
        uint48 frozenBlock;
        uint48 openedBlock;
        bytes32 seed;
        bytes32 tableHash;
    }

    IAllocationManager public immutable allocationManager;
    /// @notice Blocks from the opening of an epoch until the next table may be frozen.
    uint256 public immutable EPOCH_BLOCKS;
    /// @notice Blocks from the freezing of a table to the block whose hash seeds it.
    uint256 public immutable TABLE_SEED_DELAY;
    /// @notice Blocks after its freezing for which a table's certificates count: the core's DEALLOCATION_DELAY, for
    /// which all weight in the table stays slashable whatever its operators do.
    uint256 public immutable TABLE_LIFETIME;

    uint64 public currentEpoch;
    mapping(uint64 epoch => EpochRecord) private _epochs;

    /// @param epochBlocks At least 1.
    /// @param seedDelay At least 1 block, below the 256 of `blockhash`.
    constructor(IAllocationManager core, uint256 epochBlocks, uint256 seedDelay) {
        uint256 lifetime = core.DEALLOCATION_DELAY();
        // The previous epoch's certificates must count until the current epoch ends.
        require(epochBlocks != 0 && seedDelay != 0 && seedDelay < BLOCKHASH_WINDOW, EpochTooLong());
        require(2 * (epochBlocks + seedDelay) <= lifetime, EpochTooLong());
        allocationManager = core;
        EPOCH_BLOCKS = epochBlocks;
        TABLE_SEED_DELAY = seedDelay;
        TABLE_LIFETIME = lifetime;
    }

    /// @inheritdoc IProverRegistry
    function freezeTable() external returns (uint64 epoch) {
        uint64 current = currentEpoch;
        epoch = current + 1;
        EpochRecord storage next = _epochs[epoch];
        uint256 due = next.frozenBlock != 0
            ? next.frozenBlock + TABLE_SEED_DELAY + BLOCKHASH_WINDOW + 1
            : current == 0 ? 0 : _epochs[current].openedBlock + EPOCH_BLOCKS;
        require(block.number >= due, NotDue(due));

        (Entry[] memory entries, bytes memory table, uint256 totalWeight) = _snapshot();
        bytes32 tableHash = keccak256(abi.encode(entries));
        next.table = DataContract.store(table);
        next.frozenBlock = uint48(block.number);
        next.tableHash = tableHash;
        emit TableFrozen(epoch, entries.length, totalWeight, tableHash);
    }

    /// @inheritdoc IProverRegistry
    function openEpoch() external returns (uint64 epoch) {
        epoch = currentEpoch + 1;
        EpochRecord storage next = _epochs[epoch];
        require(next.frozenBlock != 0, NothingFrozen());
        uint256 seedBlock = next.frozenBlock + TABLE_SEED_DELAY;
        require(block.number > seedBlock, NotDue(seedBlock + 1));
        bytes32 seed = blockhash(seedBlock);
        require(seed != 0, SeedExpired());
        next.seed = seed;
        next.openedBlock = uint48(block.number);
        currentEpoch = epoch;
        emit EpochOpened(epoch, seed);
    }

    /// @inheritdoc ICertificateVerifier
    function checkCertificate(uint64 epoch, bytes32 digest, bytes calldata signature, bytes calldata nonSigners)
        external
        view
        returns (uint256 signedWeight)
    {
        uint64 current = currentEpoch;
        require(epoch != 0 && epoch <= current && current - epoch <= 1, EpochNotAccepted(epoch, current));
        EpochRecord storage record = _epochs[epoch];
        address table = record.table;
        uint256 lastBlock = record.frozenBlock + TABLE_LIFETIME;
        require(block.number <= lastBlock, TableExpired(epoch, lastBlock));

        (uint256 totalWeight, bytes32[3] memory aggregatedKey) = TableCodec.head(table);
        bytes memory key = Bls12381.unpack(aggregatedKey);
        signedWeight = totalWeight;
        if (nonSigners.length != 0) {
            (bytes memory absentKey, uint256 absentWeight) = _sumOfMembers(table, nonSigners);
            signedWeight -= absentWeight;
            Bls12381.subtractInPlace(key, absentKey);
        }
        require(3 * signedWeight > 2 * totalWeight, QuorumNotReached(signedWeight, totalWeight));
        require(Bls12381.verify(key, digest, signature), InvalidCertificate());
    }

    /// @inheritdoc IProverRegistry
    function epochOf(uint64 epoch)
        external
        view
        returns (uint64 frozenBlock, uint64 openedBlock, bytes32 seed, uint256 totalWeight, uint256 size)
    {
        EpochRecord storage record = _epochs[epoch];
        (frozenBlock, openedBlock, seed) = (record.frozenBlock, record.openedBlock, record.seed);
        if (frozenBlock != 0) {
            (totalWeight,) = TableCodec.head(record.table);
            size = TableCodec.size(record.table);
        }
    }

    /// @inheritdoc IProverRegistry
    function tableOf(uint64 epoch) external view returns (Entry[] memory entries) {
        address table = _epochs[epoch].table;
        entries = new Entry[](table == address(0) ? 0 : TableCodec.size(table));
        for (uint256 i; i < entries.length; ++i) {
            (uint32 keyId, uint96 weight,) = TableCodec.row(table, i);
            entries[i] = _entry(keyId, weight);
        }
    }

    /// @inheritdoc IProverRegistry
    function tableHashOf(uint64 epoch) external view returns (bytes32) {
        return _epochs[epoch].tableHash;
    }

    /// @inheritdoc IProverRegistry
    function aggregatedKeyOf(uint64 epoch) external view returns (bytes32[3] memory key) {
        address table = _epochs[epoch].table;
        if (table != address(0)) (, key) = TableCodec.head(table);
    }

    /// @inheritdoc IProverRegistry
    function stakeOf(address operator) public view returns (uint96) {
        address[] memory single = new address[](1);
        single[0] = operator;
        return _weights(single)[0];
    }

    function _snapshot() private view returns (Entry[] memory entries, bytes memory table, uint256 totalWeight) {
        address[] memory candidates = _currentOperators();
        uint96[] memory weights = _weights(candidates);
        entries = new Entry[](candidates.length);
        bytes memory keys = new bytes(Bls12381.G1_LENGTH);
        bytes memory rows = new bytes(candidates.length * TableCodec.ROW_LENGTH);
        uint256 size;
        for (uint256 i; i < candidates.length; ++i) {
            if (weights[i] == 0) continue;
            uint32 keyId = _currentKeyId(candidates[i]);
            Entry memory entry = _entry(keyId, weights[i]);
            Bls12381.addInPlace(keys, entry.blsKey);
            TableCodec.putRow(rows, size, keyId, weights[i], entry.blsKey);
            entries[size++] = entry;
            totalWeight += weights[i];
        }
        require(size != 0, EmptyTable());
        uint256 length = size * TableCodec.ROW_LENGTH;
        assembly ("memory-safe") {
            mstore(entries, size)
            mstore(rows, length)
        }
        table = abi.encodePacked(totalWeight, Bls12381.pack(keys), rows);
    }

    /// @dev Counts only stake that nobody is taking away already; what is taken away later stays slashable for the
    /// core's DEALLOCATION_DELAY, which is the table's lifetime.
    function _weights(address[] memory candidates) private view returns (uint96[] memory weights) {
        OperatorSet memory set = OperatorSet(address(this), OPERATOR_SET_ID);
        address[] memory strategies = allocationManager.getStrategiesInOperatorSet(set);
        uint256[][] memory stake = allocationManager.getMinimumSlashableStake(
            set, candidates, strategies, uint32(block.number + TABLE_LIFETIME)
        );
        weights = new uint96[](candidates.length);
        for (uint256 i; i < candidates.length; ++i) {
            uint256 sum;
            for (uint256 j; j < strategies.length; ++j) {
                sum += stake[i][j];
            }
            sum /= WEIGHT_UNIT;
            weights[i] = sum > type(uint96).max ? type(uint96).max : uint96(sum);
        }
    }

    function _entry(uint32 keyId, uint96 weight) private view returns (Entry memory) {
        KeyRecord memory record = _record(keyId);
        return Entry({
            operator: record.operator,
            session: record.session,
            weight: weight,
            blsKey: record.blsKey,
            sealingKey: record.sealingKey,
            peerIdHash: record.peerIdHash
        });
    }

    /// @dev Ascending positions make a second mention of one operator impossible.
    function _sumOfMembers(address table, bytes calldata positions)
        private
        view
        returns (bytes memory sum, uint256 sumOfWeights)
    {
        require(positions.length % 2 == 0, MalformedNonSigners());
        uint256 size = TableCodec.size(table);
        uint256 lowest;
        sum = new bytes(Bls12381.G1_LENGTH);
        for (uint256 i; i < positions.length; i += 2) {
            uint16 position = uint16(bytes2(positions[i:i + 2]));
            require(position >= lowest && position < size, InvalidNonSigner(position));
            lowest = uint256(position) + 1;
            (, uint96 weight, bytes32[3] memory key) = TableCodec.row(table, position);
            sumOfWeights += weight;
            Bls12381.addInPlace(sum, key);
        }
    }
}
