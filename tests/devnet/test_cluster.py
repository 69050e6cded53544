"""The cluster without running nodes: what is registered, configured, and put away."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio

from chain.contracts import ProofMarket, ProverRegistry
from chain.deployments import check_deployment, load_deployment
from devnet import cluster as cluster_module
from devnet.anvil import HOST
from devnet.cluster import ClusterSpec, PortTakenError, run_cluster
from devnet.errors import DevnetError
from devnet.node_files import DEPLOYMENT_FILE, PASSWORD_FILE, REQUESTER_FILE
from devnet.operators import ESCROW
from devnet.ports import free_ports
from node.config import load_config
from node.keys import load_keys, load_session_key, read_password
from node.net.identity import peer_id_bytes, peer_id_of_seed
from node.proving.artifacts import load_programs

if TYPE_CHECKING:
    from pathlib import Path

HELD = ClusterSpec(nodes=4, hold=4)

OWNER = """
import sys, trio
from pathlib import Path
from devnet.cluster import ClusterSpec, run_cluster

async def main():
    async with run_cluster(ClusterSpec(nodes=1, hold=1), Path(sys.argv[1])) as cluster:
        print(cluster.anvil.child.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_each_node_is_registered_with_the_keys_and_address_of_its_own_files(
    tmp_path: Path,
) -> None:
    async with run_cluster(HELD, tmp_path) as cluster:
        deployment = load_deployment(tmp_path / DEPLOYMENT_FILE)
        await check_deployment(cluster.client, deployment)
        registry = ProverRegistry(cluster.client, deployment.contracts.prover_registry)
        table = {row.operator: row for row in await registry.table_of(1)}
        assert await registry.current_epoch() == 1
        assert len(table) == 4
        for name, node in cluster.nodes.items():
            config = load_config(tmp_path / name / "node.toml")
            keys = load_keys(config.keys_dir, read_password(config.password_file))
            operator = bytes.fromhex(node.operator[2:])
            row = table[operator]
            assert row.session == keys.session.address
            assert row.sealing_key == keys.sealing.public_key
            assert row.weight > 0
            (peer,) = await registry.peers_of([operator])
            assert peer.peer_id == peer_id_bytes(peer_id_of_seed(keys.peer_seed))
            assert peer.multiaddrs == config.network.listen
            assert await cluster.client.balance(keys.session.address) > 0
            assert load_programs(config.proving.programs)
            assert load_deployment(config.chain.deployment) == deployment
            assert cluster.name_of(node.operator) == name


async def test_the_requester_can_pay_and_its_key_file_opens(tmp_path: Path) -> None:
    async with run_cluster(HELD, tmp_path) as cluster:
        for name in (PASSWORD_FILE, REQUESTER_FILE):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        password = read_password(tmp_path / PASSWORD_FILE)
        key = load_session_key(tmp_path / REQUESTER_FILE, password)
        market = ProofMarket(cluster.client, cluster.deployment.contracts.proof_market)
        assert await market.escrow_of(key.address) == ESCROW
        assert await cluster.client.balance(key.address) > 0


async def test_the_chain_clock_is_that_of_the_machine(tmp_path: Path) -> None:
    """Nodes do not vote on a chain whose clock is off; set-up mines many blocks in a second."""
    async with run_cluster(HELD, tmp_path) as cluster:
        first = await cluster.client.block_number()
        with trio.fail_after(10):
            while await cluster.client.block_number() < first + 2:
                await trio.sleep(0.05)
        assert abs((await cluster.client.head()).timestamp_s - time.time()) < 2.5


async def test_two_clusters_run_beside_each_other(tmp_path: Path) -> None:
    async with (
        run_cluster(HELD, tmp_path / "a") as one,
        run_cluster(HELD, tmp_path / "b") as two,
    ):
        ports = [n.files.api_port for c in (one, two) for n in c.nodes.values()]
        ports += [n.files.p2p_port for c in (one, two) for n in c.nodes.values()]
        assert len(set(ports)) == 16
        assert one.anvil.port != two.anvil.port


async def test_a_second_warm_start_is_quick(tmp_path: Path) -> None:
    """The contracts are deployed once: the second time only the operators are new."""
    async with run_cluster(HELD, tmp_path / "first"):
        pass
    start = time.monotonic()
    async with run_cluster(HELD, tmp_path / "second") as cluster:
        assert cluster.nodes
    assert time.monotonic() - start < 20


async def test_nothing_is_left_when_the_body_fails(tmp_path: Path) -> None:
    pid = 0
    with pytest.raises(ZeroDivisionError):
        async with run_cluster(HELD, tmp_path) as cluster:
            pid = cluster.anvil.child.pid
            raise ZeroDivisionError
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_owner(tmp_path: Path, how: signal.Signals) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(how)
        owner.wait(20)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("Anvil is still there")


async def test_a_port_that_is_taken_in_between_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks: list[tuple[int, ...]] = []

    def look(count: int) -> tuple[int, ...]:
        blocks.append(free_ports(count))
        return blocks[-1]

    async def wait_ready(_cluster: object, _names: list[str]) -> None:
        if len(blocks) == 1:
            raise PortTakenError("somebody was faster")

    monkeypatch.setattr(cluster_module, "free_ports", look)
    monkeypatch.setattr(cluster_module.Cluster, "wait_ready", wait_ready)
    async with run_cluster(HELD, tmp_path) as cluster:
        used = [n.files.p2p_port for n in cluster.nodes.values()]
        assert set(used) <= set(blocks[1])
    assert len(blocks) == 2


async def test_a_body_that_meets_a_taken_port_is_not_run_twice(tmp_path: Path) -> None:
    runs = 0
    with pytest.raises(PortTakenError):
        async with run_cluster(HELD, tmp_path):
            runs += 1
            raise PortTakenError("in a restart")
    assert runs == 1


@pytest.mark.parametrize("spec", [ClusterSpec(nodes=0), ClusterSpec(nodes=2, hold=3)])
async def test_a_cluster_that_can_not_be_is_refused(tmp_path: Path, spec: ClusterSpec) -> None:
    with pytest.raises(DevnetError):
        async with run_cluster(spec, tmp_path):
            pass


async def test_a_held_node_is_nobody_to_kill(tmp_path: Path) -> None:
    async with run_cluster(HELD, tmp_path) as cluster:
        with pytest.raises(DevnetError, match="never started"):
            await cluster.kill("node-1")


def test_free_ports_leaves_out_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen()
        monkeypatch.setattr("devnet.ports._FIRST", port)
        monkeypatch.setattr("devnet.ports._LAST", port + 2)
        with pytest.raises(DevnetError, match="free ports"):
            free_ports(1)
