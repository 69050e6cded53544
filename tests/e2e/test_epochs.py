"""Epochs turn by themselves, on an idle network too; what is asked for in between is settled."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from chain.contracts import ProverRegistry
from devnet.agreement import agreed
from devnet.cluster import ClusterSpec, run_cluster
from tests.e2e.workload import (
    ask,
    check_escrow,
    check_logs,
    documents_of,
    draw_accounts,
    logs_shown,
    settle_one,
)

if TYPE_CHECKING:
    from pathlib import Path

    from devnet.cluster import Cluster

EPOCH_BLOCKS = 8


@pytest.mark.slow
async def test_epochs_turn_idle_and_between_requests(tmp_path: Path) -> None:
    spec = ClusterSpec(epoch_blocks=EPOCH_BLOCKS)
    async with logs_shown(tmp_path), run_cluster(spec, tmp_path / "devnet", print) as cluster:
        # Nobody asks for anything: the network decides rounds for the sake of its tables alone.
        await until_epoch(cluster, 3)
        first = await settle_one(cluster, draw_accounts(16, 1), 200)
        await until_epoch(cluster, await current_epoch(cluster) + 1)
        second = await settle_one(cluster, draw_accounts(16, 2), 200)
        assert first["state"] == second["state"] == "settled"

        fees = 0
        for document in (first, second):
            everywhere = await documents_of(cluster, document["request_id"])
            fees += int(everywhere[0]["result"]["fee"])
        await check_escrow(cluster, fees)
        stand = await agreed(cluster.api_urls)
        assert stand.last_sequence == 2
        rounds = [
            await ask(cluster.api_urls[0], f"/v1/rounds/{n}") for n in range(1, stand.round + 1)
        ]
        for before, after in pairwise(rounds):
            assert after["epoch"] == before["next_epoch"] >= before["epoch"]
        assert {row["epoch"] for row in rounds} >= {1, 2, 3}
        assert cluster.ended() == {}
        for name in cluster.nodes:
            assert await cluster.stop(name) == 0
        check_logs(tmp_path / "devnet")


async def current_epoch(cluster: Cluster) -> int:
    """The epoch in force on chain."""
    contracts = cluster.deployment.contracts
    return await ProverRegistry(cluster.client, contracts.prover_registry).current_epoch()


async def until_epoch(cluster: Cluster, epoch: int) -> None:
    """Wait until the chain is in an epoch and every node's next round is to be of it."""
    with trio.fail_after(120):
        while await current_epoch(cluster) < epoch:
            await trio.sleep(0.5)
        for url in cluster.api_urls:
            while (await ask(url, "/v1/node"))["epoch"] < epoch:
                await trio.sleep(0.2)
