"""Memory and processor time of nodes that have nothing to do."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks import requests
from benchmarks.processes import children, cpu_seconds, memory
from benchmarks.records import load, save, spread
from devnet.cluster import ClusterSpec, run_cluster
from node.client.api import NodeClient, open_http
from node.client.submit import submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json
    from devnet.cluster import Cluster

NODES: Final = 4
ACCOUNTS: Final = 128
SETTLE_S: Final = 5.0
SAMPLE_S: Final = 30.0
TARGET_RSS_MB: Final = 165
TARGET_CPU_PERCENT: Final = 1.0
_MB: Final = 10**6


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Before the first request, and after one, when workers wait for the next."""
    seconds = 5.0 if quick else SAMPLE_S
    busy = load()
    with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
        async with run_cluster(ClusterSpec(nodes=NODES), Path(folder)) as cluster:
            await trio.sleep(SETTLE_S)
            fresh = await _sample(cluster, seconds)
            say(f"idle, fresh: {fresh['rss_mb']} MB, {fresh['cpu_percent']} %")
            async with open_http() as http:
                client = NodeClient(cluster.api_urls, http)
                books = requests.accounts(ACCOUNTS)
                request = await requests.prepared(client, cluster, books, 180)
                await submit(client, request, lambda _: None)
            await trio.sleep(SETTLE_S)
            after = await _sample(cluster, seconds)
            say(f"idle, after a request: {after['rss_mb']} MB, {after['cpu_percent']} %")
    found = {
        "nodes": NODES,
        "seconds": seconds,
        "load_before": busy,
        "target_rss_mb": TARGET_RSS_MB,
        "target_cpu_percent": TARGET_CPU_PERCENT,
        "fresh": fresh,
        "after_a_request": after,
    }
    save("idle", found)


async def _sample(cluster: Cluster, seconds: float) -> Json:
    pids = [node.child.pid for node in cluster.nodes.values() if node.child is not None]
    before = {pid: cpu_seconds(pid) for pid in pids}
    started = time.monotonic()
    await trio.sleep(seconds)
    elapsed = time.monotonic() - started
    workers = {pid: children(pid) for pid in pids}
    own = [memory(pid) for pid in pids]
    with_workers = [
        memory(pid).rss + sum(memory(child).rss for child in workers[pid]) for pid in pids
    ]
    return {
        "rss_mb": spread([held.rss / _MB for held in own], 1),
        "pss_mb": spread([held.pss / _MB for held in own], 1),
        "workers": sum(map(len, workers.values())),
        "rss_with_workers_mb": spread([held / _MB for held in with_workers], 1),
        "cpu_percent": spread(
            [100 * (cpu_seconds(pid) - before[pid]) / elapsed for pid in pids], 2
        ),
    }
