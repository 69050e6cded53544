"""One operator floods a node of a small network: the node's own work goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio

from devnet.cluster import ClusterSpec, run_cluster
from tests.e2e.conftest import ROOT
from tests.e2e.test_hostile import GROWTH_LIMIT_MB, memory_mb, refused, rogue_of
from tests.e2e.workload import ask, check_logs, documents_of, draw_accounts, logs_shown, settle_one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devnet.cluster import Cluster
    from tests.e2e.test_hostile import Rogue

PER_SECOND: Final = 10_000
ASK_EVERY_S: Final = 0.1
BAN_AFTER: Final = 500
"""Frames above the rate, a fifth of a point each."""
API_LIMIT_S: Final = 5.0
"""The slowest answer of the flooded node's API; a shared machine alone takes a part of a second."""


@dataclass
class Flood:
    """What a flooder told, second by second, and how the node answered meanwhile."""

    told: list[dict[str, int]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def rates(self) -> list[int]:
        """Messages sent in each second."""
        sums = [0, *(counts.get("sent", 0) for counts in self.told)]
        return [after - before for before, after in pairwise(sums)]


@asynccontextmanager
async def flooding(rogue: Rogue, victim: bytes) -> AsyncIterator[Flood]:
    """A flooder runs for the length of the block."""
    record, hello = rogue.victims[victim], rogue.hello
    told = {
        "seed": rogue.seed.hex(),
        "hello": [
            hello.chain_id,
            *(raw.hex() for raw in (hello.registry, hello.parameters_hash, hello.operator)),
        ],
        "peer_id": record.peer_id,
        "address": record.multiaddrs[0],
        "per_second": PER_SECOND,
    }
    flood = Flood()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.e2e.flooder"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin
    assert process.stdout

    async def listen() -> None:
        waiting = b""
        async for part in process.stdout:
            *lines, waiting = (waiting + part).split(b"\n")
            flood.told += map(json.loads, lines)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await process.stdin.send_all(json.dumps(told).encode() + b"\n")
            yield flood
            assert process.returncode is None
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def watch(url: str, latencies: list[float]) -> None:
    """Ask a node how it is, for ever."""
    async with httpx.AsyncClient(timeout=API_LIMIT_S, trust_env=False) as http:
        while True:
            start = trio.current_time()
            (await http.get(url + "/v1/node")).raise_for_status()
            latencies.append(trio.current_time() - start)
            await trio.sleep(ASK_EVERY_S)


async def settle_watched(cluster: Cluster, seed: int, latencies: list[float]) -> dict[str, Any]:
    """One request from its submission to its settlement; the first node is asked meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, cluster.api_urls[0], latencies)
        document = await settle_one(cluster, draw_accounts(24, seed), 200)
        nursery.cancel_scope.cancel()
    return document


async def test_a_flooded_node_goes_on_with_its_work(tmp_path: Path) -> None:
    spec = ClusterSpec(nodes=4, hold=1)
    async with logs_shown(tmp_path), run_cluster(spec, tmp_path / "devnet", print) as cluster:
        rogue, _ = await rogue_of(cluster, tmp_path)
        first = next(iter(cluster.nodes.values()))
        victim = bytes.fromhex(first.operator.removeprefix("0x"))
        url = cluster.api_urls[0]
        quiet: list[float] = []
        with trio.fail_after(180):
            start = trio.current_time()
            await settle_watched(cluster, 1, quiet)
            settled_s = [trio.current_time() - start]
            before, rounds = memory_mb(cluster), [(await ask(url, "/v1/node"))["round"]]
            async with flooding(rogue, victim) as flood:
                while len(flood.told) < 2:
                    await ask(url, "/v1/node")
                start = trio.current_time()
                document = await settle_watched(cluster, 2, flood.latencies)
                settled_s.append(trio.current_time() - start)
                rounds.append((await ask(url, "/v1/node"))["round"])
                while not flood.told[-1].get("hello_banned"):
                    await ask(url, "/v1/node")
        counted = await refused(cluster)
        grown = {name: size - before[name] for name, size in memory_mb(cluster).items()}
        print(f"sent each second {flood.rates()}, in the end {flood.told[-1]}")
        print(f"settled in {settled_s[0]:.1f} s, flooded {settled_s[1]:.1f} s; rounds {rounds}")
        for name, found in (("quiet", quiet), ("flooded", flood.latencies)):
            found.sort()
            median, late, worst = (found[int(len(found) * part)] for part in (0.5, 0.95, 0.999))
            print(f"API {name}: median {median:.3f}, p95 {late:.3f}, worst {worst:.3f} s")
        print(f"refused {dict(counted)}; grown by {grown} MB")

        assert document["state"] == "settled"
        assert document["root_matches"]
        assert rounds[1] > rounds[0]
        everywhere = await documents_of(cluster, document["request_id"])
        assert {found["state"] for found in everywhere} == {"settled"}
        # It was let in, limited, banned for it, and never let in again.
        last = flood.told[-1]
        assert last["hello_none"] >= 1
        assert "let_in_again" not in last
        assert last["sent"] >= PER_SECOND
        assert counted["network:rate_limited"] >= BAN_AFTER
        assert counted["network:banned"] > last["hello_banned"]
        assert max(grown.values()) < GROWTH_LIMIT_MB
        assert cluster.ended() == {}
        for name in list(cluster.nodes)[:3]:
            assert await cluster.stop(name) == 0
        check_logs(tmp_path / "devnet")
