"""Nodes as processes of their own, as in real life: killed, not stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import trio

from node.net import PeerRecord, peer_id_of_seed
from tests.node.net.conftest import World, eventually, operator_of, seed_of

ROOT = Path(__file__).parents[3]

# Answers every frame with the same frame reversed, and gossips one frame when it has a peer.
CHILD = """
import sys, json, trio
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from node.net import HelloInfo, NetConfig, PeerRecord, open_network

async def blob(operator, name, path):
    return 0

async def main():
    listen, folder, seed, operator, peer = sys.argv[2:]
    peer = json.loads(peer)
    hello = HelloInfo(31337, b"\\xaa" * 20, b"\\xbb" * 32, bytes.fromhex(operator))
    config = NetConfig(listen=(listen,), blob_dir=Path(folder), redial_cap=0.5, yield_delay=0.2)
    async with open_network(config, bytes.fromhex(seed), hello, blob) as net:
        other = bytes.fromhex(peer["operator"])
        record = PeerRecord(other, peer["peer_id"], tuple(peer["multiaddrs"]))
        net.set_operators({other: record})
        with open("/proc/self/status") as status:
            rss = next(line.split()[1] for line in status if line.startswith("VmRSS"))
        print(json.dumps({"listen": net.listen_addresses(), "rss_kib": int(rss)}), flush=True)
        async for got in net.inbound:
            if got.via == "stream":
                await net.send(got.operator, got.frame[::-1])
            else:
                await net.broadcast(got.frame[::-1], reliable=False)

trio.run(main)
"""


def spawn(world: World, listen: str, node) -> tuple[subprocess.Popen, dict]:
    peer = {
        "operator": node.operator.hex(),
        "peer_id": node.net.peer_id,
        "multiaddrs": node.net.listen_addresses(),
    }
    arguments = [str(ROOT), listen, str(world.folder / "child"), seed_of(1).hex()]
    arguments += [operator_of(1).hex(), json.dumps(peer)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, *arguments], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


async def receive_until(node, frame: bytes) -> None:
    """A process in its second life is told of recent gossip again, and answers it."""
    while (await node.receive()).frame != frame:
        pass


async def test_a_killed_process_comes_back_and_nothing_acknowledged_or_gossiped_is_lost(
    world, record_property
):
    node = await world.start(0)
    listen = "/ip4/127.0.0.1/tcp/0"
    process, told = await trio.to_thread.run_sync(spawn, world, listen, node)
    processes = [process]
    try:
        record = PeerRecord(operator_of(1), peer_id_of_seed(seed_of(1)), tuple(told["listen"]))
        node.net.set_operators({record.operator: record})
        for life in range(3):
            await eventually(lambda: node.net.gossip_reaches() == {operator_of(1)})
            await node.net.send(operator_of(1), b"life %d" % life)
            await receive_until(node, (b"life %d" % life)[::-1])
            await node.net.broadcast(b"gossip %d" % life, reliable=False)
            await receive_until(node, (b"gossip %d" % life)[::-1])
            if life == 2:
                break
            processes[-1].send_signal(signal.SIGKILL)
            processes[-1].wait()
            await eventually(lambda: not node.net.connected())
            await node.net.send(operator_of(1), b"for the next life")
            address = told["listen"][0].rsplit("/p2p/")[0]
            process, told = await trio.to_thread.run_sync(spawn, world, address, node)
            processes.append(process)
            await receive_until(node, b"for the next life"[::-1])
        record_property("rss_kib", told["rss_kib"])
        print("RSS of a connected node:", told["rss_kib"] // 1024, "MiB")
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
