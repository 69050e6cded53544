// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Bls12381} from "../../src/libraries/Bls12381.sol";

/// @title Signs with BLS secret keys through the multiplication precompiles of EIP-2537. Tests only: keys are public.
library BlsSigner {
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    bytes private constant G1 = hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0f"
        hex"c3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        hex"0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4"
        hex"fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";

    /// @dev The keys that contracts/test/vectors/generate.py uses too.
    function secret(uint256 index) internal pure returns (uint256) {
        return uint256(sha256(abi.encodePacked("provernet test operator ", bytes32(index)))) % ORDER;
    }

    function publicKey(uint256 secretKey) internal view returns (bytes memory) {
        return _run(0x0c, abi.encodePacked(G1, secretKey));
    }

    function sign(uint256 secretKey, bytes32 digest) internal view returns (bytes memory) {
        return _run(0x0e, abi.encodePacked(Bls12381.hashToG2(digest), secretKey));
    }

    function _run(uint160 precompile, bytes memory input) private view returns (bytes memory output) {
        bool done;
        (done, output) = address(precompile).staticcall(input);
        require(done && output.length != 0, "precompile");
    }
}
