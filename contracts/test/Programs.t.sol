// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IProofMarket} from "../src/interfaces/IProofMarket.sol";
import {DataContract} from "../src/libraries/DataContract.sol";
import {Groth16Verifier} from "../src/verifiers/Groth16Verifier.sol";
import {MarketFixture} from "./support/MarketFixture.sol";

/// @dev Programs, their keys kept as data, and proofs judged on chain.
contract ProgramsTest is MarketFixture {
    bytes private key;
    bytes private proof;
    uint256[] private values;
    address private verifier;

    function setUp() public {
        deployMarket(1);
        string memory vectors = vm.readFile("./test/vectors/groth16.json");
        key = vm.parseJsonBytes(vectors, ".verifyingKey");
        proof = vm.parseJsonBytes(vectors, ".proof");
        values = vm.parseJsonUintArray(vectors, ".publicValues");
        verifier = address(new Groth16Verifier());
    }

    function test_VerifiesOnChainWithTheRegisteredKey() public {
        IProofMarket.ProgramRecord memory record = _record(2);
        record.circuits[0].verifyingKey = "another circuit";
        vm.prank(GOVERNANCE);
        market.registerProgram(PROGRAM, record);
        check(market.verifyOnChain(PROGRAM, 1, values, proof), "proof");
        values[0] += 1;
        check(!market.verifyOnChain(PROGRAM, 1, values, proof), "other statement");
        same(abi.encode(market.programOf(PROGRAM)), abi.encode(record), "record");
        same(market.verifyingKeyHashOf(PROGRAM, 1), keccak256(key), "key hash");
        vm.expectRevert(abi.encodeWithSelector(IProofMarket.UnknownCircuit.selector, 2));
        market.verifyOnChain(PROGRAM, 2, values, proof);
    }

    function test_UnknownProgramsAreNamed() public {
        bytes memory refusal = abi.encodeWithSelector(IProofMarket.UnknownProgram.selector, PROGRAM);
        vm.expectRevert(refusal);
        market.programOf(PROGRAM);
        vm.expectRevert(refusal);
        market.verifyOnChain(PROGRAM, 0, values, proof);
    }

    function test_AProgramIsRegisteredOnceByGovernance() public {
        IProofMarket.ProgramRecord memory record = _record(1);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        market.registerProgram(PROGRAM, record);
        vm.startPrank(GOVERNANCE);
        market.registerProgram(PROGRAM, record);
        vm.expectRevert(abi.encodeWithSelector(IProofMarket.ProgramExists.selector, PROGRAM));
        market.registerProgram(PROGRAM, record);
        IProofMarket.ProgramRecord memory empty;
        vm.expectRevert(IProofMarket.InvalidProgram.selector);
        market.registerProgram(keccak256("empty"), empty);
        record.circuits[0].verifier = address(0xdead);
        vm.expectRevert(IProofMarket.InvalidProgram.selector);
        market.registerProgram(keccak256("no code"), record);
        vm.stopPrank();
    }

    function testFuzz_DataContractsKeepTheirBytes(bytes calldata data) public {
        same(DataContract.load(DataContract.store(data)), data, "data");
    }

    function test_DataContractsHoldAsMuchAsCodeMay() public {
        bytes memory most = new bytes(24_575);
        most[24_574] = 0x01;
        same(DataContract.load(DataContract.store(most)), most, "most");
        vm.expectRevert(DataContract.DataTooLong.selector);
        this.store(new bytes(24_576));
    }

    function store(bytes calldata data) external {
        DataContract.store(data);
    }

    function _record(uint256 circuits) private view returns (IProofMarket.ProgramRecord memory record) {
        record.classId = keccak256("class");
        record.circuits = new IProofMarket.Circuit[](circuits);
        for (uint256 i; i < circuits; ++i) {
            record.circuits[i] = IProofMarket.Circuit(verifier, key);
        }
    }
}
