"""Nodes die at random moments, again and again; nothing is lost, said twice or paid twice."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from devnet.agreement import agreed
from devnet.cluster import Cluster, ClusterSpec, run_cluster
from node.errors import NodeUnreachableError
from protocol.eip712 import Domain
from tests.e2e.audit import Statements, read_chain, read_database
from tests.e2e.conftest import processes_naming
from tests.e2e.workload import (
    check_escrow,
    check_logs,
    documents_of,
    draw_accounts,
    logs_shown,
    settle_one,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.workload import Json

KILLS = 20
REQUESTS = 4
LANES = 2
DEADLINE_S = 300
RUN_DEADLINE_S = 400


@dataclass
class Chaos:
    """Kills one node after the other until enough died; at most one is down at any time."""

    cluster: Cluster
    chance: random.Random
    statements: Statements
    told: Callable[[str], None]
    killed: list[int] = field(default_factory=list)
    finished: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        while len(self.killed) < KILLS:
            await trio.sleep(self.chance.uniform(0.1, 1.0))
            name = self.chance.choice(list(self.cluster.nodes))
            await self._kill(name)
            while self.chance.random() < 0.4:
                # While it starts: its recovery must survive a crash, too.
                self.cluster.start(name)
                await trio.sleep(self.chance.uniform(0.3, 3.0))
                await self._kill(name)
            if self.chance.random() < 0.5:
                await trio.sleep(self.chance.uniform(0.0, 3.0))
            self.cluster.start(name)
            await self.cluster.wait_ready([name])
        self.finished.set()

    async def _kill(self, name: str) -> None:
        node = self.cluster.nodes[name]
        assert node.child is not None
        self.killed.append(node.child.pid)
        self.told(f"kill {len(self.killed)}: {name}")
        await self.cluster.kill(name)
        data = node.files.folder / "data"
        await trio.to_thread.run_sync(read_database, data, self.statements)


async def test_random_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    started = time.monotonic()
    ended: list[Json] = []

    def told(what: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {what}")

    told(f"seed {seed}")
    async with (
        logs_shown(tmp_path, f"repeat with CRASH_SEED={seed}"),
        run_cluster(ClusterSpec(), tmp_path, told) as cluster,
    ):
        contracts = cluster.deployment.contracts
        statements = Statements(Domain(cluster.deployment.chain_id, contracts.prover_registry))
        chaos = Chaos(cluster, chance, statements, told)

        async def submit_in_turn(lane: int) -> None:
            while not (chaos.finished.is_set() and len(ended) >= REQUESTS):
                accounts = draw_accounts(chance.choice((16, 24, 32)), chance.randrange(1 << 30))
                document = await settle_one(cluster, accounts, DEADLINE_S)
                told(f"lane {lane}: {document['request_id'][:10]} {document['state']}")
                ended.append(document)

        with trio.fail_after(RUN_DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chaos.run)
                for lane in range(LANES):
                    nursery.start_soon(submit_in_turn, lane)

        await check_books(cluster, ended)
        told(f"{len(ended)} requests are over")
        await check_disks(cluster, chaos)
        told(f"{statements.frames} statements were read")
        check_logs(tmp_path)


async def test_all_nodes_lose_power_at_once(tmp_path: Path) -> None:
    # Starting four nodes on a busy machine takes longer than a prover is given on a devnet.
    spec = ClusterSpec(params="crowded")
    async with logs_shown(tmp_path), run_cluster(spec, tmp_path, print) as cluster:
        contracts = cluster.deployment.contracts
        statements = Statements(Domain(cluster.deployment.chain_id, contracts.prover_registry))
        accepted: list[Json] = []

        def seen(document: Json) -> None:
            rows = document.get("segments") or [{"state": "assigned"}]
            # The inputs are with the provers; from here on the client is not needed.
            if all(row["state"] != "assigned" for row in rows):
                accepted.append(document)

        with pytest.RaisesGroup(NodeUnreachableError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(settle_one, cluster, draw_accounts(32, 1), 200, seen)
                with trio.fail_after(60):
                    while not accepted:
                        await trio.sleep(0.02)
                for node in cluster.nodes.values():
                    assert node.child is not None
                    node.child.send_signal(signal.SIGKILL)
        # The client may notice before the last of them is collected, so this stands outside.
        for name, node in cluster.nodes.items():
            await cluster.kill(name)
            read_database(node.files.folder / "data", statements)
        assert accepted[-1]["state"] not in {"settled", "refunded"}
        for name in cluster.nodes:
            cluster.start(name)
        await cluster.wait_ready(list(cluster.nodes))
        document = (await documents_of(cluster, accepted[0]["request_id"]))[0]
        await check_books(cluster, [{**document, "root_matches": True}])
        assert document["state"] == "settled"
        for name, node in cluster.nodes.items():
            assert await cluster.stop(name) == 0
            read_database(node.files.folder / "data", statements)
        check_logs(tmp_path)


async def check_books(cluster: Cluster, ended: list[Json]) -> None:
    """All nodes and the chain tell the same of every request, and each was paid once at most."""
    fees = 0
    for document in ended:
        everywhere = await documents_of(cluster, str(document["request_id"]))
        assert {found["state"] for found in everywhere} == {document["state"]}
        assert len({str(found["result"]["settle_tx"]) for found in everywhere}) == 1
        fees += int(everywhere[0]["result"]["fee"])
    settled = [document for document in ended if document["state"] == "settled"]
    assert settled
    assert all(document["root_matches"] for document in settled)
    await check_escrow(cluster, fees)
    stand = await agreed(cluster.api_urls)
    chain = await read_chain(cluster.client, cluster.deployment)
    assert chain.settled == tuple(range(1, stand.last_sequence + 1))


async def check_disks(cluster: Cluster, chaos: Chaos) -> None:
    """The nodes stop as they should, leave no worker, and their disks show no second statement."""
    assert cluster.ended() == {}
    for name, node in cluster.nodes.items():
        assert await cluster.stop(name) == 0
        read_database(node.files.folder / "data", chaos.statements)
    assert chaos.statements.frames > 1_000
    for pid in chaos.killed:
        assert processes_naming(f"node.proving.worker {pid} ") == [], "a worker outlived a kill"
