"""Nodes with real sockets, intake, ingress and replica; the fourth operator is for a rogue."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from node.ingress_checks import Horizon
from node.metrics import Metrics
from node.services.intake import take_frames
from protocol.codec import decode, encode
from protocol.inputs import Received
from protocol.messages import Kind
from tests.node import test_four_nodes as four

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.node.net.conftest import Node as NetNode
    from tests.node.net.conftest import World

HONEST = 3


class LiveNode(four.Node):
    """As the four nodes over queues, with the network and the intake of the real node."""

    def __init__(self, network: LiveNetwork, index: int, net: NetNode) -> None:
        super().__init__(network, index)
        self.wire = net
        self.net = net.net
        self.metrics = Metrics()
        self.intake = trio.Lock()
        self.admitted: Counter[tuple[bytes, Kind]] = Counter()

    async def take_frames(self) -> None:
        # Started several times for the queues; the real node has one.
        async with self.intake:
            # It also knows the operators before it listens to them.
            while not self.replica.tables():
                await self.driver.wait_changed()
            await take_frames(
                self.net.inbound,
                self.ingress,
                self.horizon,
                self.net,
                self.put,
                self.metrics,
                four.CLOCK,
            )

    async def put(self, event: Received) -> None:
        envelope = decode(event.frame)
        self.admitted[envelope.sender, Kind(envelope.kind)] += 1
        await self.driver.put(event)

    def horizon(self) -> Horizon:
        tables, state = self.replica.tables(), self.replica.state.round
        if state is None:
            return Horizon(tables, 0)
        prepared = -1 if state.valid is None else state.valid.view
        return Horizon(tables, state.round, prepared, state.lock is not None)

    async def on_broadcast(self, effect: Any) -> None:
        await self.net.broadcast(encode(effect.envelope), effect.reliable)

    async def on_sendto(self, effect: Any) -> None:
        await self.net.send(effect.operator, encode(effect.envelope))


class LiveNetwork(four.Network):
    """Three of four operators: more than two thirds."""

    def __init__(self, folder: Path, nets: list[NetNode]) -> None:
        super().__init__(folder)
        self.nodes = [LiveNode(self, index, net) for index, net in enumerate(nets)]

    async def expire_a_request(self, views: int) -> None:
        """Hand every node a request that nobody serves, and see it end in a certified batch."""
        frames = four.request_frames(self.genesis_ms, views)
        before = [node.replica.state.ledger.sequence for node in self.nodes]
        for node in self.nodes:
            for frame in frames:
                await node.driver.submit(Received(frame))
        for node, sequence in zip(self.nodes, before, strict=True):
            await self.until(
                lambda n, least=sequence: n.replica.state.ledger.sequence > least, [node]
            )


@asynccontextmanager
async def live_network(
    world: World, rogue: Any, folder: Path, **limits: Any
) -> AsyncIterator[LiveNetwork]:
    """The honest nodes, connected and running; the rogue is registered and may connect."""
    nets = [await world.start(index, **limits) for index in range(HONEST)]
    await world.connect(*nets)
    world.introduce(*nets, also=(rogue.record,))
    network = LiveNetwork(folder, nets)
    async with trio.open_nursery() as nursery:
        for node in network.nodes:
            await nursery.start(node.live)
        yield network
        nursery.cancel_scope.cancel()


def rss_mb() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1_024 for line in status.splitlines() if "VmRSS" in line)


def chunks(items: list[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
