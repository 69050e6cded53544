"""How long a request waits for its award, where in the round the time goes, what is sent for it."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks import requests
from benchmarks.in_process import PARAMS, LocalNetwork, hand_in, local_network
from benchmarks.processes import cpu_seconds
from benchmarks.records import load, save, spread
from benchmarks.traffic import by_kind, per_node, sent_bytes
from benchmarks.trail import Trail, decided, read_trail, split
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
IN_PROCESS_REQUESTS: Final = 16
VIEW_MS: Final = DEVNET.view_ms
TARGETS_MS: Final = {4: 1_500, 10: 2_500}
"""Of nodes that are processes."""
IN_PROCESS: Final = (25, 4_000)
"""Nodes in one process, and their target."""
BEFORE_SEALING: Final = {4: ((2.8, 542), (6.7, 767)), 10: ((2.3, 2_193), (9.4, 2_561))}
"""Load and median in ms of commits whose bids were open: first of 06e7072fa6, then of 0a50929297,
the last of them, on the day and machine of the first figures with sealing."""
DEADLINE_S: Final = 10
"""Nobody delivers inputs: a request expires, about when its standby would have a turn."""
PATIENCE_S: Final = 10.0
IN_PROCESS_PATIENCE_S: Final = 30.0
GIVE_UP: Final = 3
"""So many requests without an award in succession: there will be none, and time is bounded."""
KIND_REQUESTS: Final = 6


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Clusters of each size, one after the other, then one process."""
    sizes: Json = {}
    for nodes, target in TARGETS_MS.items():
        found = await _cluster(nodes, 6 if quick else REQUESTS)
        kinds = await _in_process(nodes, 2 if quick else KIND_REQUESTS)
        before = {"before_sealing": BEFORE_SEALING[nodes], "kinds": kinds["kinds"]}
        sizes[str(nodes)] = {"target_ms": target, "view_ms": VIEW_MS, **found, **before}
        say(f"assignment at {nodes} nodes: {found['assigned_ms']}")
    nodes, target = IN_PROCESS
    found = await _in_process(nodes, 4 if quick else IN_PROCESS_REQUESTS)
    sizes[str(nodes)] = {"target_ms": target, "view_ms": PARAMS.view_ms, **found}
    say(f"assignment at {nodes} nodes in one process: {found['assigned_ms']}")
    save("assignment", {"in_process": nodes, "sizes": sizes})


async def _cluster(nodes: int, count: int) -> Json:
    books = requests.accounts(1)
    samples: list[Json] = []
    busy = load()
    with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
        async with run_cluster(ClusterSpec(nodes=nodes), Path(folder)) as cluster:
            # The phase of the view in which a request arrives is drawn, not an echo of the last.
            dice = random.Random(requests.SEED)
            pids = [node.child.pid for node in cluster.nodes.values() if node.child]
            cpu = sum(map(cpu_seconds, pids))
            before = await sent_bytes(cluster.api_urls)
            for number in range(count):
                url = cluster.api_urls[number % nodes]
                await trio.sleep(dice.uniform(0, VIEW_MS / 1_000))
                async with open_http() as http:
                    samples.append(await _sample(NodeClient([url], http), cluster, books))
                if _hopeless(samples):
                    break
            sent = await sent_bytes(cluster.api_urls) - before
            cpu = sum(map(cpu_seconds, pids)) - cpu
            await cluster.stop_all()
            folders = [node.files.folder for node in cluster.nodes.values()]
            trails = [read_trail(one / "data" / "node.sqlite") for one in folders]
    return {
        **_summary(samples, trails, cpu),
        "load_before": busy,
        "wire": per_node(sent, nodes, max(1, decided(trails))),
    }


async def _sample(client: NodeClient, cluster: Cluster, books: tuple[Account, ...]) -> Json:
    request = await requests.prepared(client, cluster, books, DEADLINE_S)
    for attempt in (1, 2):
        try:
            await requests.hand_in(client, request)
            break
        except RefusedError as exc:
            if attempt == 2:
                raise RuntimeError(f"a request was refused: {exc.reason}") from exc
    with trio.move_on_after(PATIENCE_S):
        return _awarded(await requests.until_stage(client, request.request_id, "assigned"))
    return {"assigned_ms": None}


async def _in_process(nodes: int, count: int) -> Json:
    samples: list[Json] = []
    busy = load()
    with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
        async with local_network(nodes, Path(folder)) as network:
            dice = random.Random(requests.SEED)
            cpu = time.process_time()
            for number in range(count):
                await trio.sleep(dice.uniform(0, PARAMS.view_ms / 1_000))
                samples.append(await _sample_in_process(network, number % nodes))
                if _hopeless(samples):
                    break
            cpu = time.process_time() - cpu
            sent, lost = network.sent.copy(), network.lost
        trails = [read_trail(node.database) for node in network.nodes]
    return {
        **_summary(samples, trails, cpu),
        "load_before": busy,
        "frames_lost": lost,
        "kinds": by_kind(sent, nodes, max(1, decided(trails))),
    }


async def _sample_in_process(network: LocalNetwork, place: int) -> Json:
    node = network.nodes[place]
    request_id = await hand_in(network, node)
    with trio.move_on_after(IN_PROCESS_PATIENCE_S):
        return _awarded(await node.until_stage(request_id, "assigned"))
    return {"assigned_ms": None}


def _awarded(document: Json) -> Json:
    at = document["stages_ms"]
    return {
        "received_at": at["received"],
        "assigned_at": at["assigned"],
        "assigned_ms": at["assigned"] - at["received"],
        "round": document["award"]["round"],
    }


def _hopeless(samples: list[Json]) -> bool:
    return len(samples) >= GIVE_UP and not any(map(_wait, samples[-GIVE_UP:]))


def _wait(sample: Json) -> int:
    """Milliseconds to the award; 0 for none."""
    return sample["assigned_ms"] or 0


def _summary(samples: list[Json], trails: list[Trail], cpu: float) -> Json:
    """Requests went to the nodes in turn; trails are in the nodes' order."""
    awarded = [
        (sample, trails[number % len(trails)])
        for number, sample in enumerate(samples)
        if _wait(sample)
    ]
    waits = [sample["assigned_ms"] for sample, _ in awarded]
    numbers = {sample["round"] for sample, _ in awarded}
    rounds = [found for trail in trails for found in _rounds(trail, numbers)]
    return {
        "requests": len(samples),
        "not_awarded": len(samples) - len(awarded),
        "processor_s_per_round": round(cpu / max(1, decided(trails)), 2),
        "assigned_ms": spread(waits) if waits else None,
        "from_opening_ms": spread([_from_opening(trails, one) for one, _ in awarded])
        if waits
        else None,
        "attempts_over_one": sum(
            "view_ended" in trail.get(sample["round"], {}) for sample, trail in awarded
        ),
        "round_split_ms": {
            name: spread([found[name] for found in rounds])
            for name in (rounds[0] if rounds else ())
        },
        "samples_ms": waits,
    }


def _from_opening(trails: list[Trail], sample: Json) -> int:
    """From when any node opened the awarding round, or the request came if that was later."""
    openings = [
        at
        for trail in trails
        for move in ("pending_in_time", "pending_late")
        for at in trail.get(sample["round"], {}).get(move, ())
    ]
    opened = max(min(openings, default=0), sample["received_at"])
    waited: int = sample["assigned_at"] - opened
    return waited


def _rounds(trail: Trail, numbers: set[int]) -> list[dict[str, int]]:
    """How one node spent the rounds that made an award."""
    parts = [split(trail[number]) for number in sorted(numbers) if number in trail]
    return [part for part in parts if part is not None]
