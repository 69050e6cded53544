"""How long a request waits for its award, and where in the round the time goes."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks import requests
from benchmarks.processes import cpu_seconds
from benchmarks.records import load, save, spread
from benchmarks.trail import Trail, read_trail, split
from devnet.cluster import ClusterSpec, run_cluster
from node.client.api import NodeClient, open_http
from node.errors import RefusedError
from protocol.params import DEVNET

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json
    from devnet.cluster import Cluster
    from node.programs.accounts import Account

REQUESTS: Final = 32
VIEW_MS: Final = DEVNET.view_ms
TARGETS_MS: Final = {4: 1_500, 10: 2_500}
DEADLINE_S: Final = 10
"""Nobody delivers inputs: a request expires, about when its standby would have a turn."""
PATIENCE_S: Final = 10.0
GIVE_UP: Final = 3
"""So many requests without an award in succession: there will be none, and time is bounded."""


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Clusters of each size, one after the other."""
    count = 6 if quick else REQUESTS
    sizes = {}
    for nodes, target in TARGETS_MS.items():
        sizes[str(nodes)] = {"target_ms": target, **await _cluster(say, nodes, count)}
    save("assignment", {"view_ms": VIEW_MS, "sizes": sizes})


async def _cluster(say: Callable[[str], None], nodes: int, count: int) -> Json:
    books = requests.accounts(1)
    samples: list[Json] = []
    busy = load()
    with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
        async with run_cluster(ClusterSpec(nodes=nodes), Path(folder)) as cluster:
            # The phase of the view in which a request arrives is drawn, not an echo of the last.
            dice = random.Random(requests.SEED)
            pids = [node.child.pid for node in cluster.nodes.values() if node.child]
            cpu = sum(map(cpu_seconds, pids))
            for number in range(count):
                url = cluster.api_urls[number % nodes]
                await trio.sleep(dice.uniform(0, VIEW_MS / 1_000))
                async with open_http() as http:
                    samples.append(await _sample(NodeClient([url], http), cluster, books))
                if len(samples) >= GIVE_UP and not any(map(_wait, samples[-GIVE_UP:])):
                    break
            cpu = sum(map(cpu_seconds, pids)) - cpu
            await cluster.stop_all()
            names = list(cluster.nodes)
            trails = {
                name: read_trail(cluster.nodes[name].files.folder / "data" / "node.sqlite")
                for name in names
            }
    awarded = [sample for sample in samples if _wait(sample)]
    waits = [sample["assigned_ms"] for sample in awarded]
    for number, sample in enumerate(samples):
        sample["node"] = names[number % len(names)]
    rounds = [found for trail in trails.values() for found in _rounds(trail, awarded)]
    found = {
        "load_before": busy,
        "requests": len(samples),
        "not_awarded": len(samples) - len(awarded),
        "processor_s_per_round": round(cpu / max(1, _decided(trails)), 2),
        "assigned_ms": spread(waits) if waits else None,
        "from_opening_ms": spread(_from_opening(trails, awarded)) if waits else None,
        "attempts_over_one": sum(
            "view_ended" in trail.get(sample["round"], {})
            for sample in awarded
            for trail in (trails[sample["node"]],)
        ),
        "round_split_ms": {
            name: spread([found[name] for found in rounds])
            for name in (rounds[0] if rounds else ())
        },
        "samples_ms": waits,
    }
    say(f"assignment at {nodes} nodes: {found['assigned_ms']}")
    return found


async def _sample(client: NodeClient, cluster: Cluster, books: tuple[Account, ...]) -> Json:
    request = await requests.prepared(client, cluster, books, DEADLINE_S)
    for attempt in (1, 2):
        try:
            await client.post("/v1/requests", request.frame)
            break
        except RefusedError as exc:
            if attempt == 2:
                raise RuntimeError(f"a request was refused: {exc.reason}") from exc
    with trio.move_on_after(PATIENCE_S):
        document = await requests.until_stage(client, request.request_id, "assigned")
        at = document["stages_ms"]
        return {
            "received_at": at["received"],
            "assigned_at": at["assigned"],
            "assigned_ms": at["assigned"] - at["received"],
            "round": document["award"]["round"],
        }
    return {"assigned_ms": None}


def _wait(sample: Json) -> int:
    """Milliseconds to the award; 0 for none."""
    return sample["assigned_ms"] or 0


def _decided(trails: dict[str, Trail]) -> int:
    """Rounds that were decided, awarding or not."""
    return len(
        {n for trail in trails.values() for n, moves in trail.items() if "batch_cert" in moves}
    )


def _from_opening(trails: dict[str, Trail], awarded: list[Json]) -> list[int]:
    """From when any node opened the awarding round, or the request came if that was later."""
    found = []
    for sample in awarded:
        openings = [
            at
            for trail in trails.values()
            for move in ("pending_in_time", "pending_late")
            for at in trail.get(sample["round"], {}).get(move, ())
        ]
        opened = max(min(openings, default=0), sample["received_at"])
        found.append(sample["assigned_at"] - opened)
    return found


def _rounds(trail: Trail, awarded: list[Json]) -> list[dict[str, int]]:
    """How one node spent the rounds that made an award."""
    numbers = {sample["round"] for sample in awarded}
    parts = [split(trail[number]) for number in sorted(numbers) if number in trail]
    return [part for part in parts if part is not None]
