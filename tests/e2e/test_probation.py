"""Newcomers are tried with jobs of known answer, which the treasury pays for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from devnet.cluster import ClusterSpec, run_cluster
from tests.e2e.workload import MAX_FEE, ask, check_logs, draw_accounts, logs_shown, settle_one

if TYPE_CHECKING:
    from pathlib import Path

    from devnet.cluster import Cluster

TRIED_WITHIN_S = 90.0


@pytest.mark.slow
async def test_operators_that_proved_nothing_are_tried_by_their_sponsors(tmp_path: Path) -> None:
    spec = ClusterSpec(probation_wei=MAX_FEE)
    async with logs_shown(tmp_path), run_cluster(spec, tmp_path / "devnet", print) as cluster:
        # One segment and the combining one: two of four operators stay newcomers.
        first = await settle_one(cluster, draw_accounts(4, 1), 120)
        assert first["state"] == "settled"
        with trio.fail_after(TRIED_WITHIN_S):
            while not all(row["proven"] for row in await standings(cluster)):
                await trio.sleep(1)
        assert all(row["quality"] == 10_000 for row in await standings(cluster))
        requests = (await ask(cluster.api_urls[0], "/v1/requests"))["requests"]
        owners = {row["requester"] for row in requests} - {first["requester"]}
        assert len(requests) >= 2
        assert owners
        assert cluster.ended() == {}
        check_logs(tmp_path / "devnet")


async def standings(cluster: Cluster) -> list[dict[str, int]]:
    url = cluster.api_urls[0]
    return [await ask(url, f"/v1/operators/{node.operator}") for node in cluster.nodes.values()]
