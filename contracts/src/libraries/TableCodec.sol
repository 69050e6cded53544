// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title An operator table as the code of a contract: one cold read whoever is absent, where storage takes four slots
/// a key.
/// @dev STOP | total weight (32 bytes) | aggregated key (96) | rows, each key id (4) | weight (12) | key (96). Keys are
/// unpadded x | y.
library TableCodec {
    uint256 internal constant ROW_LENGTH = 112;
    uint256 private constant HEAD_END = 1 + 128;

    function head(address table) internal view returns (uint256 totalWeight, bytes32[3] memory aggregatedKey) {
        assembly ("memory-safe") {
            extcodecopy(table, 0, 1, 32)
            totalWeight := mload(0)
            extcodecopy(table, aggregatedKey, 33, 96)
        }
    }

    /// @notice Number of rows.
    function size(address table) internal view returns (uint256) {
        return (table.code.length - HEAD_END) / ROW_LENGTH;
    }

    /// @param position Below `size`.
    function row(address table, uint256 position)
        internal
        view
        returns (uint32 keyId, uint96 weight, bytes32[3] memory key)
    {
        uint256 offset = HEAD_END + position * ROW_LENGTH;
        assembly ("memory-safe") {
            extcodecopy(table, 0, offset, 16)
            let numbers := shr(128, mload(0))
            keyId := shr(96, numbers)
            weight := and(numbers, 0xffffffffffffffffffffffff)
            extcodecopy(table, key, add(offset, 16), 96)
        }
    }

    /// @notice Writes row `position` into `rows`, which has room for it.
    function putRow(bytes memory rows, uint256 position, uint32 keyId, uint96 weight, bytes32[3] memory key)
        internal
        pure
    {
        uint256 numbers = uint256(keyId) << 224 | uint256(weight) << 128;
        assembly ("memory-safe") {
            let to := add(add(rows, 32), mul(position, ROW_LENGTH))
            mstore(to, numbers)
            mcopy(add(to, 16), key, 96)
        }
    }
}
