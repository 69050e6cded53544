"""The proving engine: private inputs in, self-verified proofs out, with checkpoints between."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import trio

from node.programs.witness import UnsatisfiedWitness, WitnessFault
from node.proving import wire
from node.proving.errors import BackendError, BackendFault
from node.proving.journal import Checkpoint, ProofJournal, Stage
from node.proving.pool import PoolConfig, WorkerPool, open_pool
from protocol.errors import LocalProtocolError, Rejection, RejectionReason
from protocol.hashing import keccak

if TYPE_CHECKING:
    from pathlib import Path

    from node.proving.artifacts import BuiltProgram
    from protocol.types import Address, Hash

# A loaded worker has 0.1 GB; a larger circuit needs a larger grant.
DEFAULT_MEMORY_LIMIT_BYTES: Final = 512 * 1024 * 1024
# Checking takes 2 ms, so one worker keeps up with 500 proofs a second beside busy provers.
VERIFY_WORKERS: Final = 1


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Programs by id, the journal's folder, and limits; memory is per worker."""

    programs: Mapping[Hash, BuiltProgram]
    journal_dir: Path
    prove_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES
    prove_timeout_s: float = 120.0
    verify_timeout_s: float = 20.0
    prove_queue_limit: int = 64
    verify_queue_limit: int = 1024
    attempts: int = 3
    # Proving must not starve the event loop of the node, nor of its neighbours.
    nice: int = 5
    # A loaded prover has 0.1 GB, and loading takes 2 s: worth keeping between jobs, not overnight.
    idle_limit_s: float = 120.0


@dataclass(frozen=True, slots=True)
class ProvingTask:
    """One proof to make from an input that `hold_input` was given."""

    request_id: Hash
    segment: int
    program_id: Hash
    circuit: str
    prover: Address


@dataclass(frozen=True, slots=True)
class SegmentProof:
    """A self-verified proof; public values as 32-byte words, the proof in 256 bytes."""

    values: tuple[bytes, ...]
    proof: bytes


@dataclass(frozen=True, slots=True)
class ProofCheck:
    """A proof to verify, with the program and circuit that it claims to be of."""

    program_id: Hash
    circuit: str
    values: tuple[bytes, ...]
    proof: bytes


StageListener = Callable[[Stage, int], None]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ProvingEngine:
    """Proves and verifies in worker processes; open it with `open_engine`."""

    def __init__(
        self, config: EngineConfig, journal: ProofJournal, prove: WorkerPool, verify: WorkerPool
    ) -> None:
        self._config = config
        self._journal = journal
        self._prove_pool = prove
        self._verify_pool = verify
        self._in_flight: dict[tuple[Hash, int], trio.Lock] = {}

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of all living workers."""
        return (*self._prove_pool.worker_pids, *self._verify_pool.worker_pids)

    @property
    def workers_lost(self) -> int:
        """How many workers have died since the start."""
        return self._prove_pool.workers_lost + self._verify_pool.workers_lost

    async def warm(self, program_id: Hash) -> None:
        """Load a program's proving keys in every prover (about 2 s of CPU each)."""
        program = self._program(program_id)
        manifest = program.manifest
        job = wire.LoadJob(str(program.folder), (manifest.segment.name, manifest.combine.name))

        async def load() -> None:
            _expect(await self._prove_pool.run(job, _unheard))

        async with trio.open_nursery() as nursery:
            for _ in range(self._config.prove_workers):
                nursery.start_soon(load)

    async def retire_idle_workers(self) -> None:
        """Give idle workers' memory back; a service for the owner's nursery, never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prove_pool.retire_idle)
            nursery.start_soon(self._verify_pool.retire_idle)

    async def hold_input(self, request_id: Hash, segment: int, private_input: bytes) -> None:
        """Keep a private input on disk until `forget`; on return it survives a crash."""
        await _blocking(self._journal.hold_input, request_id, segment, private_input)

    async def holds_input(self, request_id: Hash, segment: int) -> bool:
        """Whether the input of a segment is held."""
        return await _blocking(self._journal.input, request_id, segment) is not None

    async def prove(self, task: ProvingTask, on_stage: StageListener | None = None) -> SegmentProof:
        """A self-verified proof, from the journal if it was made before; cancelling kills the work.

        `on_stage` hears each stage that is reached now, with the milliseconds that it took.

        Raises:
            UnsatisfiedWitness: no proof exists for the input; it names the broken rule.
            Rejection: INPUT_WITHHELD when no whole input is held.
            BackendError: the work could not be done here.
        """
        key = (task.request_id, task.segment)
        lock = self._in_flight.setdefault(key, trio.Lock())
        try:
            async with lock:
                return await self._prove_once(task, on_stage or _unheard_stage)
        finally:
            if not lock.locked():
                self._in_flight.pop(key, None)

    async def verify(self, check: ProofCheck) -> None:
        """Return if the proof holds; raises Rejection (see `backends`) or BackendError."""
        program = self._program(check.program_id)
        job = wire.VerifyJob(str(program.folder), check.circuit, check.values, check.proof)
        _expect(await self._verify_pool.run(job, _unheard))

    async def mark_submitted(self, request_id: Hash, segment: int) -> None:
        """Note that a segment's proof left this node."""
        saved = await _blocking(self._journal.load, request_id, segment)
        if saved is not None and saved.stage >= Stage.VERIFIED:
            submitted = Checkpoint(saved.task, Stage.SUBMITTED, saved.values, saved.proof)
            await _blocking(self._journal.save, request_id, segment, submitted)

    async def stage_of(self, request_id: Hash, segment: int) -> Stage | None:
        """The last stage of a segment that is on disk."""
        saved = await _blocking(self._journal.load, request_id, segment)
        return None if saved is None else saved.stage

    async def held_inputs(self) -> tuple[tuple[Hash, int], ...]:
        """Request and segment of every private input on disk."""
        return await _blocking(self._journal.held)

    async def forget(self, request_id: Hash) -> None:
        """Delete a request's private inputs and checkpoints."""
        await _blocking(self._journal.forget, request_id)

    async def _prove_once(self, task: ProvingTask, on_stage: StageListener) -> SegmentProof:
        program = self._program(task.program_id)
        private_input = await _blocking(self._journal.input, task.request_id, task.segment)
        if private_input is None:
            raise Rejection(RejectionReason.INPUT_WITHHELD)
        name = _task_name(task, private_input)
        saved = await _blocking(self._journal.load, task.request_id, task.segment)
        if saved is not None and saved.task == name and saved.stage >= Stage.PROOF:
            if saved.stage is Stage.PROOF:
                await self._self_verify(task, program, saved, on_stage)
            return SegmentProof(saved.values, saved.proof)
        return await self._prove_anew(task, program, private_input, name, on_stage)

    async def _self_verify(
        self, task: ProvingTask, program: BuiltProgram, saved: Checkpoint, on_stage: StageListener
    ) -> None:
        job = wire.VerifyJob(str(program.folder), task.circuit, saved.values, saved.proof)
        try:
            verified = _expect(await self._verify_pool.run(job, _unheard))
        except Rejection as exc:
            raise BackendError(BackendFault.SELF_VERIFY_FAILED, exc.reason.code) from exc
        await self._finish(task, saved, verified.elapsed_ms, on_stage)

    async def _prove_anew(
        self,
        task: ProvingTask,
        program: BuiltProgram,
        private_input: bytes,
        name: bytes,
        on_stage: StageListener,
    ) -> SegmentProof:
        job = wire.ProveJob(
            folder=str(program.folder),
            circuit=task.circuit,
            private_input=private_input,
            request_id=task.request_id,
            prover=task.prover,
            segment=task.segment,
        )
        saved = Checkpoint(name, Stage.WITNESS, (), b"")

        async def reached(answer: wire.Answer) -> None:
            nonlocal saved
            match answer:
                case wire.WitnessChecked(elapsed_ms, values):
                    saved = Checkpoint(name, Stage.WITNESS, values, b"")
                case wire.ProofMade(elapsed_ms, proof):
                    saved = Checkpoint(name, Stage.PROOF, saved.values, proof)
                case _:
                    raise LocalProtocolError(f"unexpected answer of a worker: {answer}")
            await _blocking(self._journal.save, task.request_id, task.segment, saved)
            on_stage(saved.stage, elapsed_ms)

        verified = _expect(await self._prove_pool.run(job, reached))
        await self._finish(task, saved, verified.elapsed_ms, on_stage)
        return SegmentProof(saved.values, saved.proof)

    async def _finish(
        self, task: ProvingTask, saved: Checkpoint, elapsed_ms: int, on_stage: StageListener
    ) -> None:
        state = Checkpoint(saved.task, Stage.VERIFIED, saved.values, saved.proof)
        await _blocking(self._journal.save, task.request_id, task.segment, state)
        on_stage(Stage.VERIFIED, elapsed_ms)

    def _program(self, program_id: Hash) -> BuiltProgram:
        try:
            return self._config.programs[program_id]
        except KeyError:
            raise BackendError(BackendFault.UNKNOWN_PROGRAM, program_id.hex()) from None


@asynccontextmanager
async def open_engine(config: EngineConfig) -> AsyncIterator[ProvingEngine]:
    """An engine whose workers and files are in order; on exit no process is left."""
    journal = await _blocking(ProofJournal, config.journal_dir)
    prove = PoolConfig(
        workers=config.prove_workers,
        memory_limit_bytes=config.memory_limit_bytes,
        queue_limit=config.prove_queue_limit,
        job_timeout_s=config.prove_timeout_s,
        attempts=config.attempts,
        nice=config.nice,
        idle_limit_s=config.idle_limit_s,
    )
    verify = replace(
        prove,
        workers=VERIFY_WORKERS,
        queue_limit=config.verify_queue_limit,
        job_timeout_s=config.verify_timeout_s,
        nice=0,
    )
    async with open_pool(prove) as prove_pool, open_pool(verify) as verify_pool:
        yield ProvingEngine(config, journal, prove_pool, verify_pool)


async def _blocking(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run disk work in a thread; it always ends, so cancelling waits for it."""
    return await trio.to_thread.run_sync(partial(call, *args, **kwargs))


def _expect(answer: wire.FinalAnswer) -> wire.Verified | wire.Loaded:
    """The good end of a job; every other end becomes its exception."""
    match answer:
        case wire.Verified() | wire.Loaded():
            return answer
        case wire.Unsatisfied(fault, row):
            raise UnsatisfiedWitness(WitnessFault(fault), row)
        case wire.Refused(reason, detail):
            raise Rejection(RejectionReason[reason], detail)
        case wire.Failed(fault, detail):
            raise BackendError(BackendFault(fault), detail)


async def _unheard(_answer: wire.Answer) -> None:
    """No stages are told of."""


def _unheard_stage(_stage: Stage, _elapsed_ms: int) -> None:
    """Nobody follows the stages."""


def _task_name(task: ProvingTask, private_input: bytes) -> bytes:
    """32 bytes that name all a proof depends on, so that a checkpoint is never used for another."""
    parts = (
        task.program_id,
        keccak(task.circuit.encode()),
        task.prover,
        task.segment.to_bytes(4, "big"),
        keccak(private_input),
    )
    return keccak(b"".join(parts))
