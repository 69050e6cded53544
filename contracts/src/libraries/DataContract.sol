// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

/// @title Immutable bytes kept as the code of a contract: cheaper to read than storage from some 100 bytes on.
library DataContract {
    error DataTooLong();
    error CreationFailed();

    /// @dev EIP-170, less the leading STOP.
    uint256 internal constant MAX_LENGTH = 24_575;

    /// @notice Creates a contract whose code is STOP followed by `data`.
    function store(bytes memory data) internal returns (address pointer) {
        require(data.length <= MAX_LENGTH, DataTooLong());
        // PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE (0), CODECOPY, RETURNDATASIZE, RETURN; then the code.
        bytes memory creation = abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a3d393df3", hex"00", data);
        assembly ("memory-safe") {
            pointer := create(0, add(creation, 32), mload(creation))
        }
        require(pointer != address(0), CreationFailed());
    }

    /// @notice The bytes stored at `pointer`.
    function load(address pointer) internal view returns (bytes memory data) {
        uint256 length = pointer.code.length;
        require(length != 0, CreationFailed());
        data = new bytes(length - 1);
        assembly ("memory-safe") {
            extcodecopy(pointer, add(data, 32), 1, sub(length, 1))
        }
    }
}
