from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
import pytest
import trio

from node.programs.solvency import CombineInput
from node.programs.witness import UnsatisfiedWitness, WitnessFault
from node.proving.engine import (
    EngineConfig,
    ProofCheck,
    ProvingEngine,
    ProvingTask,
    open_engine,
)
from node.proving.errors import BackendError, BackendFault
from node.proving.journal import Checkpoint, ProofJournal, Stage
from protocol.claims import Submission, combine_claim
from protocol.errors import Rejection, RejectionReason
from protocol.programs import COMBINE, SEGMENT
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from node.programs.solvency import SolvencyPlan
    from node.proving.artifacts import BuiltProgram

REQUEST = Hash(bytes(range(100, 132)))
PROVER = Address(bytes(range(20)))
ROOT = Path(__file__).resolve().parents[3]


def segment_task(built: BuiltProgram, index: int = 0, request: Hash = REQUEST) -> ProvingTask:
    return ProvingTask(request, index, built.program_id, SEGMENT, PROVER)


async def hold_all(engine: ProvingEngine, plan: SolvencyPlan) -> None:
    for index, raw in enumerate((*plan.segment_inputs, plan.combine_input)):
        await engine.hold_input(REQUEST, index, raw)


class Stages:
    """Hears the stages of a proof and lets a test wait for one of them."""

    def __init__(self) -> None:
        self.heard: list[Stage] = []
        self.events = {stage: trio.Event() for stage in Stage}

    def __call__(self, stage: Stage, elapsed_ms: int) -> None:
        assert elapsed_ms >= 0
        self.heard.append(stage)
        self.events[stage].set()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_whole_statement_is_proven_verified_and_claimed(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        submissions = []
        for index in range(2):
            proof = await engine.prove(segment_task(built, index))
            await engine.verify(ProofCheck(built.program_id, SEGMENT, proof.values, proof.proof))
            submissions.append(Submission(PROVER, proof.values))
        task = ProvingTask(REQUEST, 2, built.program_id, COMBINE, PROVER)
        combined = await engine.prove(task)
        check = ProofCheck(built.program_id, COMBINE, combined.values, combined.proof)
        await engine.verify(check)
        claim = combine_claim(REQUEST, submissions, Submission(PROVER, combined.values))
        pids = engine.worker_pids
    assert claim == solvency_plan.claim
    assert pids
    assert not any(map(alive, pids))


async def test_other_provers_requests_and_forged_proofs_are_refused(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        proof = await engine.prove(segment_task(built))

        async def reason(values: tuple[bytes, ...], raw: bytes) -> RejectionReason:
            with pytest.raises(Rejection) as caught:
                await engine.verify(ProofCheck(built.program_id, SEGMENT, values, raw))
            return caught.value.reason

        for place in range(3):  # request id, request id, prover
            values = (*proof.values[:place], bytes(31) + b"\x07", *proof.values[place + 1 :])
            assert await reason(values, proof.proof) is RejectionReason.INVALID_PROOF
        assert await reason(proof.values, bytes(256)) is RejectionReason.NON_CANONICAL
        assert await reason(proof.values, b"") is RejectionReason.NON_CANONICAL
        assert await reason((), proof.proof) is RejectionReason.BAD_PUBLIC_VALUES
        with pytest.raises(BackendError) as caught:
            await engine.verify(ProofCheck(Hash(bytes(32)), SEGMENT, proof.values, proof.proof))
        assert caught.value.fault is BackendFault.UNKNOWN_PROGRAM
        assert engine.workers_lost == 0


async def test_an_unsatisfied_input_names_its_cause_and_a_missing_one_too(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    wrong = ProvingTask(REQUEST, 2, built.program_id, COMBINE, PROVER)
    async with open_engine(engine_config) as engine:
        with pytest.raises(Rejection) as refused:
            await engine.prove(segment_task(built))
        assert refused.value.reason is RejectionReason.INPUT_WITHHELD
        await hold_all(engine, solvency_plan)
        opened = msgspec.msgpack.decode(solvency_plan.combine_input, type=CombineInput)
        too_much = msgspec.structs.replace(opened.openings[1], left_sum=b"\xff" * 9)
        changed = msgspec.structs.replace(opened, openings=[opened.openings[0], too_much])
        await engine.hold_input(REQUEST, 2, msgspec.msgpack.encode(changed))
        with pytest.raises(UnsatisfiedWitness) as caught:
            await engine.prove(wrong)
        assert caught.value.fault is WitnessFault.TOTAL_OUT_OF_RANGE
        await engine.hold_input(REQUEST, 0, b"no input")
        with pytest.raises(UnsatisfiedWitness) as caught:
            await engine.prove(segment_task(built))
        assert caught.value.fault is WitnessFault.MALFORMED_INPUT
        assert engine.workers_lost == 0


async def test_a_worker_killed_while_proving_is_replaced(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    stages = Stages()

    async def kill_once() -> None:
        await stages.events[Stage.WITNESS].wait()
        os.kill(engine.worker_pids[0], signal.SIGKILL)

    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_once)
            proof = await engine.prove(segment_task(built), stages)
        await engine.verify(ProofCheck(built.program_id, SEGMENT, proof.values, proof.proof))
        assert engine.workers_lost == 1
    assert stages.heard == [Stage.WITNESS, Stage.WITNESS, Stage.PROOF, Stage.VERIFIED]


async def test_a_loop_that_is_kept_busy_keeps_no_worker_from_proving(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    stages = Stages()
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.prove, segment_task(built), stages)
            await stages.events[Stage.WITNESS].wait()
            worker = psutil.Process(engine.worker_pids[0])
            before, until = worker.cpu_times().user, time.monotonic() + 30
            # No checkpoint in here: a gateway's longest step would hold the loop no better.
            while worker.cpu_times().user < before + 0.1:
                assert time.monotonic() < until, "the worker stands still with the loop"
    assert stages.heard[-1] is Stage.VERIFIED


async def test_a_job_that_always_loses_its_worker_is_given_up(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    def kill(stage: Stage, _elapsed_ms: int) -> None:
        if stage is Stage.WITNESS:
            os.kill(engine.worker_pids[0], signal.SIGKILL)

    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        with pytest.raises(BackendError) as caught:
            await engine.prove(segment_task(built), kill)
        assert caught.value.fault is BackendFault.WORKER_LOST
        assert engine.workers_lost == engine_config.attempts
        assert engine.worker_pids == ()


async def test_cancelling_kills_the_worker_and_the_next_job_has_a_new_one(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        with trio.CancelScope() as scope:

            def cancel(_stage: Stage, _elapsed_ms: int) -> None:
                pids.append(engine.worker_pids[0])
                scope.cancel()

            pids: list[int] = []
            await engine.prove(segment_task(built), cancel)
        assert scope.cancelled_caught
        assert not alive(pids[0])
        assert engine.worker_pids == ()
        assert await engine.prove(segment_task(built))


@pytest.mark.parametrize("megabytes", [1, 50, 65, 85])
async def test_a_worker_is_held_to_its_memory(
    megabytes: int, engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    granted = replace(engine_config, memory_limit_bytes=megabytes << 20)
    async with open_engine(granted) as engine:
        await hold_all(engine, solvency_plan)
        with pytest.raises(BackendError) as caught:
            await engine.prove(segment_task(built))
        assert caught.value.fault is BackendFault.OUT_OF_MEMORY
        assert engine.worker_pids == ()


async def test_a_job_past_its_time_is_killed(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(replace(engine_config, prove_timeout_s=0.2)) as engine:
        await hold_all(engine, solvency_plan)
        with pytest.raises(BackendError) as caught:
            await engine.prove(segment_task(built))
        assert caught.value.fault is BackendFault.TIMED_OUT
        assert engine.worker_pids == ()


async def test_the_queue_is_bounded(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    full: list[BackendFault] = []

    async def prove(index: int) -> None:
        try:
            await engine.prove(segment_task(built, index))
        except BackendError as exc:
            full.append(exc.fault)
            if len(full) == 2:
                nursery.cancel_scope.cancel()

    async with open_engine(replace(engine_config, prove_queue_limit=1)) as engine:
        await hold_all(engine, solvency_plan)
        for index in (2, 3):
            await engine.hold_input(REQUEST, index, solvency_plan.segment_inputs[0])
        async with trio.open_nursery() as nursery:
            for index in range(4):
                nursery.start_soon(prove, index)
    assert full == [BackendFault.QUEUE_FULL] * 2


async def test_a_proof_is_made_once_and_forgotten_on_request(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    stages, silent = Stages(), Stages()
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        proofs = []

        async def prove() -> None:
            proofs.append(await engine.prove(segment_task(built), stages))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(prove)
            nursery.start_soon(prove)
        assert proofs[0] == proofs[1]
        assert stages.heard == [Stage.WITNESS, Stage.PROOF, Stage.VERIFIED]
        await engine.mark_submitted(REQUEST, 0)
        assert await engine.stage_of(REQUEST, 0) is Stage.SUBMITTED
    async with open_engine(engine_config) as restarted:
        assert await restarted.prove(segment_task(built), silent) == proofs[0]
        assert silent.heard == []
        assert restarted.worker_pids == ()
        await restarted.forget(REQUEST)
        assert await restarted.held_inputs() == ()
        assert not await restarted.holds_input(REQUEST, 0)
    assert list(engine_config.journal_dir.rglob("*")) == []


async def test_a_restart_after_the_proof_only_verifies_it(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        proof = await engine.prove(segment_task(built))
    journal = ProofJournal(engine_config.journal_dir)
    saved = journal.load(REQUEST, 0)
    assert saved is not None
    unverified = Checkpoint(saved.task, Stage.PROOF, saved.values, saved.proof)
    journal.save(REQUEST, 0, unverified)
    stages = Stages()
    async with open_engine(engine_config) as engine:
        assert await engine.prove(segment_task(built), stages) == proof
        assert stages.heard == [Stage.VERIFIED]
        journal.save(REQUEST, 0, Checkpoint(saved.task, Stage.PROOF, saved.values, bytes(256)))
        with pytest.raises(BackendError) as caught:
            await engine.prove(segment_task(built))
        assert caught.value.fault is BackendFault.SELF_VERIFY_FAILED


async def test_a_checkpoint_of_another_task_is_not_used(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        first = await engine.prove(segment_task(built))
        other = replace(segment_task(built), prover=Address(b"\x05" * 20))
        second = await engine.prove(other)
    assert second.values[2] == bytes(12) + b"\x05" * 20 != first.values[2]


async def test_warm_workers_hold_the_keys(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    async with open_engine(replace(engine_config, prove_workers=2)) as engine:
        await hold_all(engine, solvency_plan)
        await engine.warm(built.program_id)
        pids = set(engine.worker_pids)
        assert len(pids) == 2
        async with trio.open_nursery() as nursery:
            for index in range(2):
                nursery.start_soon(engine.prove, segment_task(built, index))
        assert set(engine.worker_pids) == pids


async def test_idle_workers_are_retired_and_replaced_when_needed(
    engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    config = replace(engine_config, idle_limit_s=0.3)
    async with open_engine(config) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.retire_idle_workers)
        await hold_all(engine, solvency_plan)
        for index in range(2):
            await engine.prove(segment_task(built, index))
            (worker,) = engine.worker_pids
            with trio.fail_after(10):
                await trio.lowlevel.wait_readable(descriptor := os.pidfd_open(worker))
            os.close(descriptor)
            assert engine.worker_pids == ()
        assert engine.workers_lost == 0
        nursery.cancel_scope.cancel()


async def test_a_worker_that_can_not_start_is_a_named_failure(
    engine_config: EngineConfig,
    built: BuiltProgram,
    solvency_plan: SolvencyPlan,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    async with open_engine(engine_config) as engine:
        await hold_all(engine, solvency_plan)
        with pytest.raises(BackendError) as caught:
            await engine.prove(segment_task(built))
        assert caught.value.fault is BackendFault.WORKER_LOST
        assert engine.worker_pids == ()


CHILD = """
import signal, sys, trio
from pathlib import Path
from node.proving.artifacts import load_program
from node.proving.engine import EngineConfig, ProvingTask, open_engine

async def main(folder, journal, request, last):
    program = load_program(Path(folder))
    config = EngineConfig({program.program_id: program}, Path(journal), prove_workers=1)
    task = ProvingTask(bytes.fromhex(request), 0, program.program_id, "segment", bytes(range(20)))
    async with open_engine(config) as engine:
        def report(stage, elapsed_ms):
            if stage.name == last:
                print(*engine.worker_pids, flush=True)
                signal.pause()  # the node goes no further; its worker does

        await engine.prove(task, report)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("stage", ["WITNESS", "PROOF"])
async def test_a_killed_node_leaves_no_worker_and_resumes(
    stage: str, engine_config: EngineConfig, built: BuiltProgram, solvency_plan: SolvencyPlan
) -> None:
    journal = ProofJournal(engine_config.journal_dir)
    journal.hold_input(REQUEST, 0, solvency_plan.segment_inputs[0])
    arguments = [str(built.folder), str(engine_config.journal_dir), REQUEST.hex(), stage]
    child = await trio.lowlevel.open_process(
        [sys.executable, "-c", CHILD, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    output = b""
    with trio.fail_after(60):
        while not output.endswith(b"\n"):
            output += await child.stdout.receive_some()
        worker = int(output)
        descriptor = os.pidfd_open(worker)
        child.kill()
        await child.wait()
        await trio.lowlevel.wait_readable(descriptor)  # the worker's end
        os.close(descriptor)
    stages = Stages()
    async with open_engine(engine_config) as engine:
        proof = await engine.prove(segment_task(built), stages)
        await engine.verify(ProofCheck(built.program_id, SEGMENT, proof.values, proof.proof))
    resumed = [Stage.VERIFIED] if stage == "PROOF" else [*Stage][:3]
    assert stages.heard == resumed
