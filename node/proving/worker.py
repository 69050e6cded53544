"""A proving worker: one process, one job at a time, keys kept in memory.

    python -m node.proving.worker PARENT_PID MEMORY_LIMIT_BYTES NICE

It dies with its parent, is held to its memory limit by the kernel, and leaves no core dump, because
its memory holds private inputs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import signal
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node.programs import solvency
from node.programs.witness import ProofContext, UnsatisfiedWitness, assign
from node.proving import wire
from node.proving.artifacts import BuiltProgram, load_program
from node.proving.backends.groth16 import Prover, Verifier
from node.proving.errors import BackendError, BackendFault
from protocol.errors import Rejection
from protocol.hashing import keccak
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_PDEATHSIG: Final = 1
# Two circuits of a program, with one program to spare.
_MAX_PROVING_KEYS: Final = 4
# Below this much free room a failed allocation could not even be reported.
_RESERVE_BYTES: Final = 16 << 20
_WATCHER_STACK_BYTES: Final = 256 << 10


class KeyCache:
    """Keys by file content; the least recently used proving key goes first."""

    def __init__(self) -> None:
        self._programs: dict[str, BuiltProgram] = {}
        self._provers: OrderedDict[str, Prover] = OrderedDict()
        self._verifiers: dict[bytes, Verifier] = {}

    def program(self, folder: str) -> BuiltProgram:
        """A built program, read once."""
        if folder not in self._programs:
            self._programs[folder] = load_program(Path(folder))
        program = self._programs[folder]
        manifest = program.manifest
        if (manifest.name, manifest.version) != (solvency.NAME, solvency.VERSION):
            raise BackendError(BackendFault.UNKNOWN_PROGRAM, manifest.name)
        return program

    def prover(self, program: BuiltProgram, circuit: str) -> Prover:
        """A loaded proving key."""
        content = program.hashes.get(f"{circuit}.pk", "")
        if content not in self._provers:
            if len(self._provers) >= _MAX_PROVING_KEYS:
                self._provers.popitem(last=False)
            program.read_checked(f"{circuit}.pk")
            self._provers[content] = Prover(program.proving_key_path(circuit))
        self._provers.move_to_end(content)
        return self._provers[content]

    def verifier(self, program: BuiltProgram, circuit: str) -> Verifier:
        """A loaded verifying key."""
        content = program.manifest.circuit(circuit).verifying_key_hash
        if content not in self._verifiers:
            self._verifiers[content] = Verifier(program.verifying_key(circuit))
        return self._verifiers[content]


def answers(job: wire.Job, keys: KeyCache) -> Iterator[wire.Answer]:
    """Do one job; every way it can end is an answer."""
    try:
        yield from _do(job, keys)
    except UnsatisfiedWitness as exc:
        yield wire.Unsatisfied(exc.fault.value, exc.row)
    except Rejection as exc:
        yield wire.Refused(exc.reason.name, exc.detail)
    except BackendError as exc:
        yield wire.Failed(exc.fault.value, exc.detail)
    except MemoryError:
        os._exit(wire.EXIT_OUT_OF_MEMORY)
    except OSError as exc:
        if exc.errno != errno.ENOMEM:
            raise
        os._exit(wire.EXIT_OUT_OF_MEMORY)


def _do(job: wire.Job, keys: KeyCache) -> Iterator[wire.Answer]:
    clock = _Stopwatch()
    program = keys.program(job.folder)
    match job:
        case wire.LoadJob():
            for circuit in job.circuits:
                keys.prover(program, circuit)
                keys.verifier(program, circuit)
            yield wire.Loaded(clock.lap_ms())
        case wire.VerifyJob():
            keys.verifier(program, job.circuit).check(job.values, job.proof)
            yield wire.Verified(clock.lap_ms())
        case wire.ProveJob():
            yield from _prove(job, program, keys, clock)


def _prove(
    job: wire.ProveJob, program: BuiltProgram, keys: KeyCache, clock: _Stopwatch
) -> Iterator[wire.Answer]:
    context = ProofContext(Hash(job.request_id), Address(job.prover), job.segment)
    assignment = assign(job.circuit, job.private_input, context)
    yield wire.WitnessChecked(clock.lap_ms(), assignment.values)
    proof = keys.prover(program, job.circuit).prove(assignment.inputs)
    yield wire.ProofMade(clock.lap_ms(), proof)
    try:
        keys.verifier(program, job.circuit).check(assignment.values, proof)
    except Rejection as exc:
        raise BackendError(BackendFault.SELF_VERIFY_FAILED, exc.reason.code) from exc
    yield wire.Verified(clock.lap_ms())


class _Stopwatch:
    def __init__(self) -> None:
        self._last = time.monotonic_ns()

    def lap_ms(self) -> int:
        now = time.monotonic_ns()
        elapsed, self._last = (now - self._last) // 1_000_000, now
        return elapsed


def die_with(parent: int) -> None:
    """Arrange to be killed when the parent is gone, however it went.

    The kernel's parent-death signal is tied to the parent's thread, so a watcher on the parent's
    process descriptor stands beside it; the proving library releases the interpreter's lock.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(0)
    if os.getppid() != parent:
        os._exit(0)

    def watch() -> None:
        select.select([descriptor], [], [])
        os._exit(0)

    threading.stack_size(_WATCHER_STACK_BYTES)
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def limit_memory(limit: int) -> None:
    """Let the kernel refuse address space beyond `limit` bytes; exit if that leaves no room."""
    keccak(b"")  # loads its implementation now, not in the middle of a job
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    if pages * resource.getpagesize() + _RESERVE_BYTES > limit:
        os._exit(wire.EXIT_OUT_OF_MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(parent: str, memory_limit: str, nice: str) -> None:
    """Serve jobs from standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    die_with(int(parent))
    limit_memory(int(memory_limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(int(nice))
    # The proving library writes to descriptor 1 when it likes: answers go to a private copy.
    jobs, replies = os.dup(0), os.dup(1)
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0)
    os.dup2(silence, 1)
    keys = KeyCache()
    with open(jobs, "rb") as incoming, open(replies, "wb") as outgoing:  # noqa: PTH123
        while header := incoming.read(wire.HEADER_BYTES):
            job = wire.decode_job(incoming.read(int.from_bytes(header, "big")))
            for answer in answers(job, keys):
                outgoing.write(wire.encode(answer))
                outgoing.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
