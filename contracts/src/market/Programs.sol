// SPDX-License-Identifier: GPL-3.0-or-later
pragma solidity ^0.8.29;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IProofMarket} from "../interfaces/IProofMarket.sol";
import {IProofVerifier} from "../interfaces/IProofVerifier.sol";
import {DataContract} from "../libraries/DataContract.sol";

/// @title Programs: their circuits' verifying keys and who verifies them on chain.
abstract contract Programs is IProofMarket, Ownable2Step {
    struct StoredCircuit {
        address verifier;
        address verifyingKey;
        bytes32 verifyingKeyHash;
    }

    struct StoredProgram {
        bytes32 classId;
        StoredCircuit[] circuits;
    }

    mapping(bytes32 programId => StoredProgram) private _programs;

    constructor(address owner_) Ownable(owner_) {}

    /// @inheritdoc IProofMarket
    function registerProgram(bytes32 programId, ProgramRecord calldata record) external onlyOwner {
        StoredProgram storage program = _programs[programId];
        require(program.circuits.length == 0, ProgramExists(programId));
        require(programId != 0 && record.circuits.length != 0, InvalidProgram());
        program.classId = record.classId;
        for (uint256 i; i < record.circuits.length; ++i) {
            Circuit calldata circuit = record.circuits[i];
            require(circuit.verifier.code.length != 0 && circuit.verifyingKey.length != 0, InvalidProgram());
            program.circuits
                .push(
                    StoredCircuit({
                        verifier: circuit.verifier,
                        verifyingKey: DataContract.store(circuit.verifyingKey),
                        verifyingKeyHash: keccak256(circuit.verifyingKey)
                    })
                );
        }
        emit ProgramRegistered(programId, record.classId);
    }

    /// @inheritdoc IProofMarket
    function programOf(bytes32 programId) external view returns (ProgramRecord memory record) {
        StoredProgram storage program = _known(programId);
        record.classId = program.classId;
        record.circuits = new Circuit[](program.circuits.length);
        for (uint256 i; i < record.circuits.length; ++i) {
            StoredCircuit storage circuit = program.circuits[i];
            record.circuits[i] = Circuit(circuit.verifier, DataContract.load(circuit.verifyingKey));
        }
    }

    /// @inheritdoc IProofMarket
    function verifyingKeyHashOf(bytes32 programId, uint256 circuit) external view returns (bytes32) {
        return _circuit(programId, circuit).verifyingKeyHash;
    }

    /// @inheritdoc IProofMarket
    function verifyOnChain(bytes32 programId, uint256 circuit, uint256[] calldata publicValues, bytes calldata proof)
        external
        view
        returns (bool)
    {
        StoredCircuit storage stored = _circuit(programId, circuit);
        return IProofVerifier(stored.verifier).verify(DataContract.load(stored.verifyingKey), publicValues, proof);
    }

    function _circuit(bytes32 programId, uint256 circuit) private view returns (StoredCircuit storage) {
        StoredProgram storage program = _known(programId);
        require(circuit < program.circuits.length, UnknownCircuit(circuit));
        return program.circuits[circuit];
    }

    function _known(bytes32 programId) private view returns (StoredProgram storage program) {
        program = _programs[programId];
        require(program.circuits.length != 0, UnknownProgram(programId));
    }
}
