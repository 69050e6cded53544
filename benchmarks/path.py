"""Submit to settled, against the same proofs made by the same number of workers alone."""

from __future__ import annotations

import itertools
import json
import secrets
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks import requests
from benchmarks.records import ROOT, load, save, spread
from devnet.cluster import CIRCUIT_LIBRARY, PROGRAM_SOURCE, PROGRAMS, ClusterSpec, run_cluster
from devnet.node_files import WORKER_MEMORY_MB
from node.client.api import NodeClient, open_http
from node.client.submit import submit
from node.programs.solvency import SEED_BYTES, plan
from node.proving.build import build_program
from node.proving.engine import EngineConfig, ProvingEngine, ProvingTask, open_engine
from protocol.programs import COMBINE, SEGMENT
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json
    from devnet.cluster import Cluster
    from node.programs.accounts import Account
    from node.proving.artifacts import BuiltProgram

NODES: Final = 4
ACCOUNTS: Final = 128
COLD_RUNS: Final = 3
WARM_RUNS: Final = 8
RATIO: Final = 1.25
DEADLINE_S: Final = 180
REST_S: Final = 3
"""Idle before every measured run, raw or not: a virtual machine's cores slow down under load."""
STAGES: Final = ("received", "assigned", "accepted", "proven", "verified", "certified", "settled")
_GAS: Final = ROOT / "contracts" / "snapshots" / "GasTest.json"


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Pairs of a raw and a network run, first with new workers, then with loaded ones."""
    books = requests.accounts(ACCOUNTS)
    build = partial(build_program, PROGRAM_SOURCE, PROGRAMS, [CIRCUIT_LIBRARY])
    program = await trio.to_thread.run_sync(build)  # at once, but for the first time
    cold_runs, warm_runs = (1, 1) if quick else (COLD_RUNS, WARM_RUNS)
    cold: list[Json] = []
    warm: list[Json] = []
    busy = load()
    for number in range(cold_runs):
        last = number == cold_runs - 1
        with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
            config = _engine(program, Path(folder) / "raw")
            async with open_engine(config) as engine:
                raw_ms = await _raw(engine, program, books)
                async with run_cluster(
                    ClusterSpec(nodes=NODES), Path(folder) / "devnet"
                ) as cluster:
                    run = await _network(cluster, books)
                    cold.append(_compared(say, "cold", run, raw_ms))
                    if not last:
                        continue
                    await engine.warm(program.program_id)
                    await _warm_nodes(cluster)
                    before_ms = await _raw(engine, program, books)
                    for _ in range(warm_runs):
                        run = await _network(cluster, books)
                        after_ms = await _raw(engine, program, books)
                        # The speed of a virtual machine's cores drifts: half from either side.
                        warm.append(_compared(say, "warm", run, (before_ms + after_ms) // 2))
                        before_ms = after_ms
    found = {
        "nodes": NODES,
        "accounts": ACCOUNTS,
        "proofs": ACCOUNTS // program.manifest.accounts_per_segment + 1,
        "workers": NODES,
        "load_before": busy,
        "target_ratio": RATIO,
        "cold": _summary(cold),
        "warm": _summary(warm),
    }
    save("path", found)
    save("gas", _gas(cold, warm))


def _engine(program: BuiltProgram, journal: Path) -> EngineConfig:
    """The nodes' engines as one: as many workers as all of them have, with the same grant."""
    return EngineConfig(
        programs={program.program_id: program},
        journal_dir=journal,
        prove_workers=NODES,
        memory_limit_bytes=WORKER_MEMORY_MB << 20,
    )


async def _raw(engine: ProvingEngine, program: BuiltProgram, books: tuple[Account, ...]) -> int:
    """Milliseconds to prove and self-verify all segments, given their inputs."""
    work = plan(books, secrets.token_bytes(SEED_BYTES))
    request_id, prover = Hash(secrets.token_bytes(32)), Address(secrets.token_bytes(20))
    inputs = (*work.segment_inputs, work.combine_input)
    for segment, private_input in enumerate(inputs):
        await engine.hold_input(request_id, segment, private_input)
    await trio.sleep(REST_S)
    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for segment in range(len(inputs)):
            circuit = COMBINE if segment == len(inputs) - 1 else SEGMENT
            task = ProvingTask(request_id, segment, program.program_id, circuit, prover)
            nursery.start_soon(engine.prove, task)
    elapsed = time.perf_counter() - started
    await engine.forget(request_id)
    return round(elapsed * 1_000)


async def _warm_nodes(cluster: Cluster) -> None:
    """A small request for each operator alone: then every node has loaded both circuits' keys."""
    books = requests.accounts(1)
    async with open_http() as http:
        client = NodeClient(cluster.api_urls, http)
        node = await client.get("/v1/node")
        for row in node["operators"]:
            only = (bytes.fromhex(row["operator"].removeprefix("0x")),)
            request = await requests.prepared(client, cluster, books, DEADLINE_S, only)
            document = await submit(client, request, lambda _: None)
            if document["state"] != "settled":
                raise RuntimeError(f"a request to warm a node ended {document['state']}")


async def _network(cluster: Cluster, books: tuple[Account, ...]) -> Json:
    """One request from its submission to its settlement."""
    async with open_http() as http:
        client = NodeClient(cluster.api_urls, http)
        request = await requests.prepared(client, cluster, books, DEADLINE_S)
        await trio.sleep(REST_S)
        started = time.perf_counter()
        document = await submit(client, request, lambda _: None)
        client_ms = round((time.perf_counter() - started) * 1_000)
    if document["state"] != "settled" or not document["root_matches"]:
        raise RuntimeError(f"the request ended {document['state']}: {document['reason']}")
    at = document["stages_ms"]
    split = {name: at[name] - at[before] for before, name in itertools.pairwise(STAGES)}
    result = document["result"]
    return {
        "total_ms": at["settled"] - at["received"],
        "client_ms": client_ms,
        "rounds_ms": split["assigned"] + split["certified"],
        "stages_ms": split,
        "provers": len({row["operator"] for row in document["segments"]}),
        "reassigned": sum(row["attempt"] > 0 for row in document["segments"]),
        "sequence": result["sequence"],
        "voters": result["voters"],
        "gas_used": result["gas_used"],
    }


def _compared(say: Callable[[str], None], kind: str, run: Json, raw_ms: int) -> Json:
    """A run beside the raw proving time of the same segments."""
    total_ms, rounds_ms = run["total_ms"], run["rounds_ms"]
    say(f"path, {kind}: raw {raw_ms} ms, network {total_ms} ms, of it two rounds {rounds_ms} ms")
    return {
        "raw_ms": raw_ms,
        "allowed_ms": round(RATIO * raw_ms) + rounds_ms,
        "overhead": round((total_ms - raw_ms) / raw_ms, 3),
        "without_rounds": round((total_ms - rounds_ms) / raw_ms, 3),
        **run,
    }


def _summary(runs: list[Json]) -> Json:
    return {
        "raw_ms": spread([run["raw_ms"] for run in runs]),
        "total_ms": spread([run["total_ms"] for run in runs]),
        "rounds_ms": spread([run["rounds_ms"] for run in runs]),
        "allowed_ms": spread([run["allowed_ms"] for run in runs]),
        "overhead": spread([run["overhead"] for run in runs], 2),
        "without_rounds": spread([run["without_rounds"] for run in runs], 2),
        "met": sum(run["total_ms"] <= run["allowed_ms"] for run in runs),
        "stages_ms": {
            name: spread([run["stages_ms"][name] for run in runs]) for name in STAGES[1:]
        },
        "runs": runs,
    }


def _gas(cold: list[Json], warm: list[Json]) -> Json:
    """Gas of real settlement transactions, and what forge measures with 85 operators."""
    runs = [*cold, *warm]
    first = [run["gas_used"] for run in runs if run["sequence"] == 1]
    later = [run["gas_used"] for run in runs if run["sequence"] > 1]
    forge = json.loads(_GAS.read_text(encoding="utf-8"))
    return {
        "operators": NODES,
        "first": spread(first),
        "later": spread(later) if later else None,
        "voters": sorted({run["voters"] for run in runs}),
        "forge_85_operators": {name: int(value) for name, value in forge.items()},
    }
