"""Killable worker processes behind a bounded queue."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from node.proving import wire
from node.proving.child import child_command, child_environment
from node.proving.errors import BackendError, BackendFault

_STDERR_TAIL_BYTES: Final = 400
# What Rust's allocator says before it aborts; the worker's Python code has an exit code for it.
_OUT_OF_MEMORY_MARK: Final = "memory allocation of"

# glibc reserves 64 MB of address space per thread otherwise, and the memory limit counts it.
_ONE_ARENA: Final = {"MALLOC_ARENA_MAX": "1"}

AnswerListener = Callable[[wire.Answer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Limits of one pool: memory is per worker (address space), the queue counts waiting jobs."""

    workers: int
    memory_limit_bytes: int
    queue_limit: int
    job_timeout_s: float
    attempts: int
    nice: int
    idle_limit_s: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: exit code (negative: signal) and the end of its standard error."""

    exit_code: int
    errors: str

    @property
    def out_of_memory(self) -> bool:
        """Whether the memory limit ended it."""
        return self.exit_code == wire.EXIT_OUT_OF_MEMORY or _OUT_OF_MEMORY_MARK in self.errors

    def __str__(self) -> str:
        last = self.errors.splitlines()[-1] if self.errors else ""
        return f"exit code {self.exit_code} {last}".strip()


class WorkerLost(Exception):  # noqa: N818  internal signal between worker and pool
    """The worker process ended before it answered."""


class Worker:
    """One worker process; its owner runs one job at a time and kills it when in doubt."""

    def __init__(self, config: PoolConfig) -> None:
        job_reader, job_writer = os.pipe()
        answer_reader, answer_writer = os.pipe()
        self._errors = os.fdopen(os.memfd_create("worker-stderr"), "rb")
        arguments = map(str, (os.getpid(), config.memory_limit_bytes, config.nice))
        try:
            # Started from this thread, not a helper's: the parent-death signal follows the thread.
            self._process = subprocess.Popen(
                child_command("node.proving.worker", *arguments),
                stdin=job_reader,
                stdout=answer_writer,
                stderr=self._errors.fileno(),
                env=child_environment() | _ONE_ARENA,
                process_group=0,
            )
        except OSError as exc:
            self._errors.close()
            os.close(job_writer)
            os.close(answer_reader)
            raise BackendError(BackendFault.WORKER_LOST, f"not started: {exc.strerror}") from exc
        finally:
            os.close(job_reader)
            os.close(answer_writer)
        self._jobs = trio.lowlevel.FdStream(job_writer)
        self._answers = trio.lowlevel.FdStream(answer_reader)
        self._buffer = bytearray()
        self.warm: set[tuple[str, str]] = set()
        self.idle_since = trio.current_time()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def run(self, job: wire.Job, on_answer: AnswerListener) -> wire.FinalAnswer:
        """Do one job; raises WorkerLost. After any exception the worker must be killed."""
        try:
            await self._jobs.send_all(wire.encode(job))
            while True:
                answer = wire.decode_answer(await self._receive())
                if isinstance(answer, wire.FinalAnswer):
                    return answer
                await on_answer(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise WorkerLost from exc

    async def _receive(self) -> bytes:
        header = await self._receive_exactly(wire.HEADER_BYTES)
        return await self._receive_exactly(int.from_bytes(header, "big"))

    async def _receive_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = await self._answers.receive_some()
            if not data:
                raise WorkerLost
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def terminate(self) -> None:
        """Send SIGKILL without waiting; whoever runs a job on it sees WorkerLost and reaps it."""
        self._process.kill()

    async def kill(self) -> Ending:
        """End the process for certain, and tell how it went."""
        with trio.CancelScope(shield=True):
            self.terminate()
            # SIGKILL can not be held off, so this wait ends without a deadline of ours.
            await trio.to_thread.run_sync(self._process.wait)
            await self._jobs.aclose()
            await self._answers.aclose()
        size = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), size, max(0, size - _STDERR_TAIL_BYTES))
        self._errors.close()
        return Ending(self._process.returncode, tail.decode(errors="replace").strip())


class WorkerPool:
    """Runs jobs in up to `workers` processes, started when first needed and kept warm."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._slots = trio.Semaphore(config.workers)
        self._waiting = 0
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._became_idle = trio.Event()
        self._closed = False
        self.workers_lost = 0

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the living workers, busy ones first."""
        return tuple(worker.pid for worker in (*self._busy, *self._idle))

    async def run(self, job: wire.Job, on_answer: AnswerListener) -> wire.FinalAnswer:
        """Do one job; cancelling kills its worker. `on_answer` hears them again after a retry.

        Raises:
            BackendError: QUEUE_FULL at once when too many wait; TIMED_OUT; OUT_OF_MEMORY;
                WORKER_LOST when the job lost its worker in every attempt; ENGINE_CLOSED.
        """
        try:
            # Who finds a worker free does not wait, not even for its turn in the event loop.
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._wait_for_slot()
        try:
            return await self._attempt(job, on_answer)
        finally:
            self._slots.release()

    async def _wait_for_slot(self) -> None:
        if self._waiting >= self._config.queue_limit:
            raise BackendError(BackendFault.QUEUE_FULL)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    async def _attempt(self, job: wire.Job, on_answer: AnswerListener) -> wire.FinalAnswer:
        ending = None
        for _ in range(self._config.attempts):
            if self._closed:
                raise BackendError(BackendFault.ENGINE_CLOSED)
            worker = self._take(job)
            answer = None
            deadline = trio.CancelScope(deadline=trio.current_time() + self._config.job_timeout_s)
            try:
                with deadline:
                    answer = await worker.run(job, on_answer)
            except WorkerLost:
                self.workers_lost += 1
            finally:
                self._busy.discard(worker)
                if answer is None or self._closed:
                    ending = await worker.kill()
                else:
                    worker.warm |= _keys_of(job)
                    worker.idle_since = trio.current_time()
                    self._idle.append(worker)
                    self._became_idle.set()
            if answer is not None:
                return answer
            if deadline.cancelled_caught:
                raise BackendError(BackendFault.TIMED_OUT)
            if ending is not None and ending.out_of_memory:
                raise BackendError(BackendFault.OUT_OF_MEMORY)
        raise BackendError(BackendFault.WORKER_LOST, str(ending))

    def _take(self, job: wire.Job) -> Worker:
        """An idle worker that knows the job's keys, else the one idle longest, else a new one."""
        wanted = _keys_of(job)
        for worker in self._idle:
            if wanted <= worker.warm:
                self._idle.remove(worker)
                break
        else:
            full = len(self._busy) + len(self._idle) >= self._config.workers
            worker = self._idle.pop(0) if self._idle and full else Worker(self._config)
        self._busy.add(worker)
        return worker

    async def retire_idle(self) -> None:
        """End workers without a job for `idle_limit_s`, to give memory back; never returns."""
        while True:
            if not self._idle:
                self._became_idle = trio.Event()
                await self._became_idle.wait()
                continue
            # The list is in the order in which the workers became idle.
            await trio.sleep_until(self._idle[0].idle_since + self._config.idle_limit_s)
            due = trio.current_time() - self._config.idle_limit_s
            while self._idle and self._idle[0].idle_since <= due:
                await self._idle.pop(0).kill()

    async def close(self) -> None:
        """Kill every worker; running jobs fail with ENGINE_CLOSED."""
        self._closed = True
        idle, self._idle = self._idle, []
        for worker in idle:
            await worker.kill()
        for worker in tuple(self._busy):
            worker.terminate()


@asynccontextmanager
async def open_pool(config: PoolConfig) -> AsyncIterator[WorkerPool]:
    """A pool that leaves no process behind."""
    pool = WorkerPool(config)
    try:
        yield pool
    finally:
        with trio.CancelScope(shield=True):
            await pool.close()


def _keys_of(job: wire.Job) -> set[tuple[str, str]]:
    match job:
        case wire.LoadJob():
            return {(job.folder, circuit) for circuit in job.circuits}
        case wire.ProveJob():
            return {(job.folder, job.circuit)}
        case wire.VerifyJob():
            return set()  # verifying keys load in microseconds
