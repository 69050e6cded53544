"""What a proof costs by the size of its circuit: the measurements behind `protocol.dispatch`."""

from __future__ import annotations

import math
import resource
import secrets
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks import requests
from benchmarks.processes import cpu_seconds, footprint
from benchmarks.records import ROOT, load, save, spread
from devnet.cluster import CIRCUIT_LIBRARY, PROGRAM_SOURCE
from node.programs.solvency import SEED_BYTES, plan
from node.proving import wire
from node.proving.build import build_program
from node.proving.pool import PoolConfig, open_pool
from protocol.programs import COMBINE, SEGMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.records import Json
    from node.proving.artifacts import BuiltProgram

SIZES: Final = tuple(1 << power for power in (12, 13, 14, 15, 16, 17, 19))
"""Constraints. Full powers of two are the worst case, and where tiers end: with the public values
beside them they need the next larger domain of the Fourier transform."""
RUNS: Final = 3
SHAPES: Final[dict[str, Callable[[float], float]]] = {
    "n": lambda size: size,
    "n log2 n": lambda size: size * math.log2(size),
}
"""What grows with the number of constraints, by name."""
CIRCUITS: Final = ROOT / "benchmarks" / "circuits"
_HASH_CONSTRAINTS: Final = 240
_OTHER_CONSTRAINTS: Final = 6
_POOL: Final = PoolConfig(
    workers=1,
    memory_limit_bytes=16 << 30,
    queue_limit=1,
    job_timeout_s=900.0,
    attempts=1,
    nice=0,
    idle_limit_s=900.0,
)
_MAIN: Final = """\
pragma circom 2.1.6;

include "chain.circom";

component main {{
    public [requestIdHi, requestIdLo, prover, segmentIndex, accountCount, rootHash]
}} = Chain({hashes}, {squarings});
"""


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """For each size: make the keys, then load them and prove in a fresh worker."""
    busy = load()
    circuits = []
    for constraints in SIZES[: 3 if quick else None]:
        with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
            before = _cpu_of_ended_children()
            program = await trio.to_thread.run_sync(partial(build, Path(folder), constraints))
            setup_s = _cpu_of_ended_children() - before
            say(f"tiers, {constraints} constraints: keys are made, {setup_s:.0f} CPU seconds")
            proving = await _prove(program, 1 if quick else RUNS)
        circuits.append({"constraints": constraints, "setup_s": round(setup_s, 1), **proving})
        say(f"tiers, {constraints} constraints: {proving['cpu_ms']['median']} CPU ms a proof")
    fits = {
        "cpu_ms": fit(
            "n log2 n", [(row["constraints"], row["cpu_ms"]["median"]) for row in circuits]
        ),
        "worker_bytes": fit("n", [(row["constraints"], row["worker_bytes"]) for row in circuits]),
        "key_bytes": fit("n", [(row["constraints"], row["key_bytes"]) for row in circuits]),
    }
    save("tiers", {"load_before": busy, "circuits": circuits, "fits": fits})


def build(folder: Path, constraints: int) -> BuiltProgram:
    """A program whose segment has exactly so many constraints, built like any other."""
    source = folder / "source"
    source.mkdir()
    hashes, squarings = divmod(constraints - _OTHER_CONSTRAINTS, _HASH_CONSTRAINTS)
    main = _MAIN.format(hashes=hashes, squarings=squarings)
    (source / f"{SEGMENT}.circom").write_text(main, encoding="ascii")
    shutil.copy(PROGRAM_SOURCE / f"{COMBINE}.circom", source)
    program = build_program(source, folder, [CIRCUITS, PROGRAM_SOURCE, CIRCUIT_LIBRARY])
    if program.manifest.segment.constraints != constraints:
        raise RuntimeError(f"{program.manifest.segment.constraints} constraints, not {constraints}")
    return program


async def _prove(program: BuiltProgram, runs: int) -> Json:
    """What one worker takes to load the segment's key, and to make and check proofs."""
    folder = str(program.folder)
    accounts = requests.accounts(program.manifest.accounts_per_segment)
    private_input = plan(accounts, bytes(SEED_BYTES)).segment_inputs[0]
    witness_ms: list[float] = []
    cpu_ms: list[float] = []

    async def note(answer: wire.Answer) -> None:
        if isinstance(answer, wire.WitnessChecked):
            witness_ms.append(answer.elapsed_ms)

    async with open_pool(_POOL) as pool:
        await pool.run(wire.LoadJob(folder, ()), note)
        (pid,) = pool.worker_pids

        async def work(job: wire.Job) -> float:
            before = cpu_seconds(pid)
            match await pool.run(job, note):
                case wire.Loaded() | wire.Verified():
                    return 1_000 * (cpu_seconds(pid) - before)
                case answer:
                    raise RuntimeError(f"the worker answered {answer}")

        bare = footprint(pid)
        load_ms = await work(wire.LoadJob(folder, (SEGMENT,)))
        key_memory = footprint(pid).address_space - bare.address_space
        for _ in range(1 + runs):
            request_id, prover = secrets.token_bytes(32), secrets.token_bytes(20)
            job = wire.ProveJob(folder, SEGMENT, private_input, request_id, prover, 0)
            cpu_ms.append(await work(job))
        peak = footprint(pid)
    return {
        "key_bytes": program.proving_key_path(SEGMENT).stat().st_size,
        "load_ms": round(load_ms),
        # The first proof of a worker loads libraries on the way.
        "cpu_ms": spread(cpu_ms[1:]),
        "witness_ms": spread(witness_ms[1:]),
        "key_memory_bytes": key_memory,
        "peak_rss_bytes": peak.peak_rss,
        "peak_address_space_bytes": peak.peak_address_space,
        # A worker keeps both circuits of a program, and the other one may be as large.
        "worker_bytes": peak.peak_address_space + key_memory,
    }


def fit(shape: str, points: Sequence[tuple[int, float]]) -> Json:
    """fixed + slope * shape(size) with the least squares of relative errors."""
    grow = SHAPES[shape]
    weights = [1 / value**2 for _, value in points]
    xs = [grow(size) for size, _ in points]
    ys = [value for _, value in points]
    total = sum(weights)
    x_mean = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    y_mean = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    covariance = sum(
        w * (x - x_mean) * (y - y_mean) for w, x, y in zip(weights, xs, ys, strict=True)
    )
    variance = sum(w * (x - x_mean) ** 2 for w, x in zip(weights, xs, strict=True))
    slope = covariance / variance
    fixed = y_mean - slope * x_mean
    worst = max(abs(fixed + slope * x - y) / y for x, y in zip(xs, ys, strict=True))
    return {"shape": shape, "fixed": fixed, "slope": slope, "worst_error": round(worst, 3)}


def _cpu_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
