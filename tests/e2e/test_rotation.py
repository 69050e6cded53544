"""An operator rotates its keys in a running network, and nobody has to wait for it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from chain.contracts import ProverRegistry
from chain.tables import read_table
from devnet.agreement import agreed
from devnet.cluster import ClusterSpec, run_cluster
from devnet.operators import mine
from node.key_sets import load_key_sets
from node.keys import KEY_FILES
from tests.e2e.test_epochs import until_epoch
from tests.e2e.workload import ask, check_logs, draw_accounts, logs_shown, settle_one

if TYPE_CHECKING:
    from pathlib import Path

    from devnet.cluster import Cluster
    from node.keys import NodeKeys
    from protocol.inputs import Operator

EPOCH_BLOCKS = 600
"""Ten minutes: no epoch turns until the test mines so many."""
ROTATING = "node-2"


@pytest.mark.slow
async def test_an_operator_rotates_and_no_round_is_lost(tmp_path: Path) -> None:
    # One of four never runs: each quorum needs the vote of the one that rotates.
    spec = ClusterSpec(hold=1, epoch_blocks=EPOCH_BLOCKS)
    async with logs_shown(tmp_path), run_cluster(spec, tmp_path / "devnet", print) as cluster:
        await cluster.rotate_keys(ROTATING)
        old, fresh = load_key_sets(folder_of(cluster), "devnet")

        # Registered, but not in force: it votes, proves and opens its input with the old keys.
        during = await proven_by_the_rotating(cluster, 1)
        assert during["epoch"] == 1
        assert names(await row_of(cluster, 1), old)

        await turn_epoch(cluster, 2)
        assert names(await row_of(cluster, 2), fresh)
        after = await proven_by_the_rotating(cluster, 2)
        assert after["epoch"] == 2

        stand = await agreed(cluster.api_urls)
        assert stand.last_sequence == 2
        rounds = [
            await ask(cluster.api_urls[0], f"/v1/rounds/{number}")
            for number in range(1, stand.round + 1)
        ]
        for before, later in pairwise(rounds):
            assert later["epoch"] == before["next_epoch"] >= before["epoch"]
        assert {row["epoch"] for row in rounds} == {1, 2}

        # Two epochs on, no table that matters names the old set: its operator removes it.
        await turn_epoch(cluster, 3)
        for file in KEY_FILES:
            (folder_of(cluster) / file).unlink()
        assert await cluster.stop(ROTATING) == 0
        await cluster.restart(ROTATING)
        assert cluster.ended() == {}
        check_logs(tmp_path / "devnet")


def folder_of(cluster: Cluster) -> Path:
    return cluster.nodes[ROTATING].files.folder / "keys"


def names(row: Operator, keys: NodeKeys) -> bool:
    held = (keys.session.address, keys.bls.public_key, keys.sealing.public_key)
    return (row.session, row.bls_key, row.sealing_key) == held


async def row_of(cluster: Cluster, epoch: int) -> Operator:
    """The rotating operator in an epoch's table."""
    registry = ProverRegistry(cluster.client, cluster.deployment.contracts.prover_registry)
    table = await read_table(registry, epoch)
    assert table is not None
    operator = cluster.nodes[ROTATING].operator
    (row,) = [row for row in table.operators if "0x" + row.operator.hex() == operator]
    return row


async def turn_epoch(cluster: Cluster, epoch: int) -> None:
    """Let the table become due, and wait until every node that runs works in the epoch."""
    await mine(cluster.client, EPOCH_BLOCKS)
    await until_epoch(cluster, epoch)


async def proven_by_the_rotating(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Settle a request that only the rotating operator may prove; the round that decided it."""
    operator = cluster.nodes[ROTATING].operator
    allowlist = (bytes.fromhex(operator[2:]),)
    document = await settle_one(cluster, draw_accounts(16, seed), 200, allowlist=allowlist)
    assert document["state"] == "settled", document
    assert {row["operator"] for row in document["segments"]} == {operator}
    return await ask(cluster.api_urls[0], f"/v1/rounds/{document['result']['round']}")
