"""A small world of real nodes on loopback, and a rogue that speaks libp2p but keeps no rules."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from node.net import (
    HelloInfo,
    Libp2pNetwork,
    NetConfig,
    PeerRecord,
    compat,
    peer_id_of_seed,
    run_network,
)
from node.net.counters import NetCounters
from node.net.gossip import GOSSIP_PROTOCOL
from node.net.hello import HELLO_PROTOCOL, greet
from node.net.host import build_host, dial
from node.net.identity import key_pair_of
from node.net.outbox import FRAME_PROTOCOL
from node.net.records import Refusal
from node.net.streams import PeerStream, open_stream

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


def operator_of(index: int) -> bytes:
    return bytes([index + 1]) * 20


def seed_of(index: int) -> bytes:
    return bytes([index + 1]) * 32


async def eventually(true: Callable[[], object], seconds: float = 30.0) -> None:
    with trio.fail_after(seconds):
        while not true():
            await trio.sleep(0.005)


@dataclass
class Node:
    index: int
    net: Libp2pNetwork
    scope: trio.CancelScope
    stopped: trio.Event
    blobs: list[tuple[bytes, bytes, bytes]]

    @property
    def operator(self) -> bytes:
        return operator_of(self.index)

    @property
    def record(self) -> PeerRecord:
        return PeerRecord(self.operator, self.net.peer_id, self.net.listen_addresses())

    @property
    def drops(self) -> dict[str, int]:
        return self.net.counters.drops

    @property
    def refused(self) -> dict[str, int]:
        return self.net.counters.refused

    async def receive(self, seconds: float = 30.0) -> Any:
        with trio.fail_after(seconds):
            return await self.net.inbound.receive()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.stopped.wait()


@dataclass
class World:
    nursery: trio.Nursery
    folder: Path
    hello: HelloInfo = field(
        default_factory=lambda: HelloInfo(31337, b"\xaa" * 20, b"\xbb" * 32, bytes(20))
    )
    blob_code: int = 0

    async def start(
        self, index: int, hello: HelloInfo | None = None, listen: str = LOOPBACK, **limits: Any
    ) -> Node:
        folder = self.folder / str(index)
        config = NetConfig(
            **{
                "listen": (listen,),
                "blob_dir": folder,
                "redial_cap": 0.5,
                "yield_delay": 0.2,
                "linger": 0.2,
            }
            | limits
        )
        scope, stopped = trio.CancelScope(), trio.Event()
        blobs: list[tuple[bytes, bytes, bytes]] = []

        async def on_blob(operator: bytes, name: bytes, path: Path) -> int:
            blobs.append((operator, name, path.read_bytes()))
            return self.blob_code

        info = replace(hello or self.hello, operator=operator_of(index))

        async def run(task_status: Any) -> None:
            try:
                with scope:
                    await run_network(
                        config, seed_of(index), info, on_blob, task_status=task_status
                    )
            finally:
                stopped.set()

        net = await self.nursery.start(run)
        return Node(index, net, scope, stopped, blobs)

    def introduce(self, *nodes: Node, also: tuple[PeerRecord, ...] = ()) -> None:
        records = {node.operator: node.record for node in nodes}
        records |= {record.operator: record for record in also}
        for node in nodes:
            node.net.set_operators(records)

    async def connect(self, *nodes: Node) -> None:
        self.introduce(*nodes)
        others = len(nodes) - 1
        try:
            await eventually(lambda: all(len(n.net.gossip_reaches()) == others for n in nodes))
        except trio.TooSlowError:
            for n in nodes:
                print(n.index, len(n.net.connected()), len(n.net.gossip_reaches()), n.net.counters)
            raise

    async def pair(self, **limits: Any) -> tuple[Node, Node]:
        first, second = await self.start(0, **limits), await self.start(1, **limits)
        await self.connect(first, second)
        return first, second


class Rogue:
    """A host with a key of its own that dials a node and sends what it likes."""

    def __init__(self, index: int, folder: Path, hello: HelloInfo) -> None:
        self.index = index
        self.hello = replace(hello, operator=operator_of(index))
        self.config = NetConfig(listen=(LOOPBACK,), blob_dir=folder, hello_timeout=3.0)
        self.host = build_host(self.config, key_pair_of(seed_of(index)), NetCounters())
        for protocol in (FRAME_PROTOCOL, GOSSIP_PROTOCOL):
            self.host.set_stream_handler(protocol, self.swallow)

    async def swallow(self, stream: Any) -> None:
        """Read what the node sends, acknowledge nothing."""
        while await stream.read(65536):
            pass

    @property
    def record(self) -> PeerRecord:
        return PeerRecord(operator_of(self.index), peer_id_of_seed(seed_of(self.index)), ())

    async def dial(self, node: Node) -> Any:
        (address,) = node.net.listen_addresses()
        conn = await dial(self.host, node.net.peer_id, address, 5)
        assert conn is not None
        return conn

    async def greet(self, node: Node, hello: HelloInfo | None = None) -> tuple[Any, Refusal]:
        conn = await self.dial(node)
        stream = await open_stream(conn, HELLO_PROTOCOL, 3)
        outcome = await greet(stream, hello or self.hello, lambda _: Refusal.NONE)
        return conn, outcome.refusal

    async def open(self, conn: Any, protocol: Any) -> PeerStream:
        return await open_stream(conn, protocol, 3)


@pytest.fixture
def world(nursery: trio.Nursery, tmp_path: Path) -> World:
    compat.install()
    return World(nursery, tmp_path)


@pytest.fixture
async def rogue(world: World, nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Rogue]:
    made = Rogue(200, tmp_path / "rogue", world.hello)
    async with running(made.host):
        yield made


@asynccontextmanager
async def running(host: Any) -> AsyncIterator[None]:
    async with host.run([]):
        try:
            yield
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 3):
                for conn in host.get_network().get_connections():
                    await conn.close()


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
