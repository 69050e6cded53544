"""The built solvency program, registered on chain, judges real proofs there as it does here."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from chain.abi import function
from devnet.cluster import CIRCUIT_LIBRARY, PROGRAM_SOURCE, PROGRAMS
from devnet.deploy import NetworkPlan
from devnet.programs import program_keys
from node.programs.accounts import Account
from node.programs.solvency import plan
from node.programs.witness import ProofContext, assign
from node.proving.backends.groth16 import Prover
from node.proving.build import build_program
from protocol.dispatch import classify
from protocol.programs import COMBINE, SEGMENT
from protocol.types import Address, Hash
from tests.chain.network import run_network

if TYPE_CHECKING:
    from pathlib import Path

VERIFY_ON_CHAIN = function("verifyOnChain(bytes32,uint256,uint256[],bytes)", "bool")
REQUEST = Hash(bytes(range(32)))
PROVER = Address(bytes(range(20)))


async def test_real_proofs_hold_on_chain(tmp_path: Path) -> None:
    program = build_program(PROGRAM_SOURCE, PROGRAMS, [CIRCUIT_LIBRARY])
    keys = program_keys(program)
    assert keys.class_id == classify(program.manifest).class_id
    accounts = [Account(f"account-{number}", 1_000 + number) for number in range(3)]
    solvency = plan(accounts, bytes(32))
    segment = assign(SEGMENT, solvency.segment_inputs[0], ProofContext(REQUEST, PROVER, 0))
    combine = assign(
        COMBINE,
        solvency.combine_input,
        ProofContext(REQUEST, PROVER, 1),
    )

    async with run_network(tmp_path / "anvil.log", plan=NetworkPlan(programs=(keys,))) as network:
        market = network.contracts.proof_market

        async def holds(circuit: int, values: tuple[bytes, ...], proof: bytes) -> bool:
            numbers = [int.from_bytes(value, "big") for value in values]
            call = VERIFY_ON_CHAIN.call(keys.program_id, circuit, numbers, proof)
            return bool(VERIFY_ON_CHAIN.result(await network.client.execute(market, call))[0])

        for circuit, (name, assignment) in enumerate(((SEGMENT, segment), (COMBINE, combine))):
            proof = Prover(program.proving_key_path(name)).prove(assignment.inputs)
            assert await holds(circuit, assignment.values, proof)
            for place in range(len(assignment.values)):
                wrong = list(assignment.values)
                wrong[place] = (int.from_bytes(wrong[place], "big") + 1).to_bytes(32, "big")
                assert not await holds(circuit, tuple(wrong), proof)
            for place in itertools.chain(range(0, 256, 51), (255,)):
                flipped = bytearray(proof)
                flipped[place] ^= 1
                assert not await holds(circuit, assignment.values, bytes(flipped))
