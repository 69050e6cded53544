"""An operator puts back an old copy of its node's data, or runs one copy beside the other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from devnet.cluster import Cluster, ClusterSpec, run_cluster
from devnet.ports import free_ports
from node.errors import ExitCode
from protocol.eip712 import Domain
from tests.e2e.audit import Statements, read_database
from tests.e2e.conftest import ROOT
from tests.e2e.workload import check_logs, documents_of, draw_accounts, logs_shown, settle_one

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.workload import Json

SETTLE_DEADLINE_S = 200
TWIN_DEADLINE_S = 60


def statements_for(cluster: Cluster) -> Statements:
    contracts = cluster.deployment.contracts
    return Statements(Domain(cluster.deployment.chain_id, contracts.prover_registry))


async def copy_at_rest(cluster: Cluster, name: str, target: Path) -> None:
    """A backup as an operator makes it: the node stops, its data is copied, it goes on."""
    assert await cluster.stop(name) == 0
    shutil.copytree(cluster.nodes[name].files.folder / "data", target)
    await cluster.restart(name)


async def test_a_restored_backup_says_nothing_twice_and_votes_again(tmp_path: Path) -> None:
    async with logs_shown(tmp_path), run_cluster(ClusterSpec(), tmp_path / "net", print) as cluster:
        restored, gone, *_ = list(cluster.nodes)
        data = cluster.nodes[restored].files.folder / "data"
        backup = tmp_path / "backup"
        await copy_at_rest(cluster, restored, backup)
        statements, old = statements_for(cluster), statements_for(cluster)
        read_database(backup, old)
        proven: list[Json] = []

        def seen(document: Json) -> None:
            if document["state"] == "verified":
                proven.append(document)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle_one, cluster, draw_accounts(32, 1), 200, seen)
            with trio.fail_after(SETTLE_DEADLINE_S):
                while not proven:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        # The round that certifies the request is open, and can end with the restored node alone.
        await cluster.kill(restored)
        await cluster.kill(gone)
        before = statements_for(cluster)
        for node in (restored, gone):
            read_database(cluster.nodes[node].files.folder / "data", statements)
        read_database(data, before)
        mine = bytes.fromhex(cluster.nodes[restored].operator[2:])
        forgotten = {slot for who, slot in before.said.keys() - old.said.keys() if who == mine}
        assert forgotten, "the backup forgot nothing"
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        await cluster.restart(restored)
        cluster.start(gone)
        await cluster.wait_ready([gone])
        (document, *_) = await documents_of(cluster, str(proven[0]["request_id"]))
        assert document["state"] == "settled"
        for name, node in cluster.nodes.items():
            assert await cluster.stop(name) == 0
            read_database(node.files.folder / "data", statements)
        check_logs(tmp_path / "net")


@pytest.mark.slow
async def test_a_second_process_with_the_same_keys_stops_and_says_why(tmp_path: Path) -> None:
    async with logs_shown(tmp_path), run_cluster(ClusterSpec(), tmp_path / "net", print) as cluster:
        doubled, _, *gone = list(cluster.nodes)
        files = cluster.nodes[doubled].files
        backup = tmp_path / "backup"
        await copy_at_rest(cluster, doubled, backup)
        for name in gone:
            await cluster.kill(name)
        async with trio.open_nursery() as nursery:
            # Two of four decide nothing: their round stays open, and they speak in every view.
            nursery.start_soon(settle_one, cluster, draw_accounts(16, 1), 200)
            done = await trio.to_thread.run_sync(run_beside, files.folder, backup, tmp_path)
            nursery.cancel_scope.cancel()
        assert done.returncode == ExitCode.ANOTHER_INSTANCE, done.stdout
        told = done.stderr.strip().splitlines()[-1]
        assert re.search(r"another process signs with .* not made here; stop the other one", told)
        await cluster.restart(gone[0])
        statements = statements_for(cluster)
        read_database(tmp_path / "net" / "twin" / "data", statements)
        for name in cluster.nodes:
            if name != gone[1]:
                assert await cluster.stop(name) == 0
                read_database(cluster.nodes[name].files.folder / "data", statements)


def run_beside(folder: Path, backup: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a copy of a node on other ports until it ends."""
    twin = root / "net" / "twin"
    twin.mkdir()
    shutil.copytree(folder / "keys", twin / "keys")
    shutil.copytree(backup, twin / "data")
    config = (folder / "node.toml").read_text(encoding="utf-8")
    p2p, api = free_ports(2)
    config = re.sub(r"/tcp/\d+", f"/tcp/{p2p}", config)
    config = re.sub(r"(?m)^port = \d+", f"port = {api}", config)
    (twin / "node.toml").write_text(config, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "node", "start", "--config", str(twin / "node.toml")],
        capture_output=True,
        text=True,
        timeout=TWIN_DEADLINE_S,
        cwd=ROOT,
        check=False,
    )
