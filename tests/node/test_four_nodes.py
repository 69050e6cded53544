"""Four nodes: driver, guard, store and ingress around real replicas; the transport is a queue."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from types import SimpleNamespace

import msgspec
import trio

from node.box import BidCiphers
from node.client.bidding import sealed_bid
from node.driver import Driver
from node.guard import SigningGuard
from node.ingress import Ingress
from node.ingress_checks import Checks, Horizon
from node.keys import NodeKeys
from node.store import Store
from protocol import effects
from protocol.codec import decode_decided, encode
from protocol.eip712 import batch_digest, digest
from protocol.inputs import (
    BatchSettled,
    ClockJudged,
    EscrowBalance,
    ProgramRegistered,
    Received,
    TableOpened,
)
from protocol.messages import Batches, Envelope, Kind, ProofRequest
from protocol.params import DEVNET
from protocol.replica import Replica
from protocol.rotation import OperatorTable
from protocol.setup import Setup
from tests.node.operators import (
    BLS_KEYS,
    CRYPTO,
    DOMAIN,
    OPERATORS,
    REQUESTER,
    SEALING_KEYS,
    SESSIONS,
    WORD,
    row,
)

PARAMS = dataclasses.replace(
    DEVNET,
    view_ms=1_000,
    list_cutoff_ms=600,
    list_wait_ms=20,
    gossip_bound_ms=60,
    clock_bound_ms=10,
    resend_ms=300,
    min_deadline_views=1,
)
ROWS = tuple(row(index) for index in range(4))
CLOCK = SimpleNamespace(now_ms=lambda: time.time_ns() // 1_000_000)


class Node:
    """One node of the network; `life` is its process."""

    def __init__(self, network, index):
        self.network = network
        self.index = index
        self.me = OPERATORS[index]
        self.path = network.folder / f"{index}.db"
        self.life = None
        self.faults = []
        self.settled = []

    @property
    def replica(self):
        return self.driver.machine

    async def live(self, task_status=trio.TASK_STATUS_IGNORED):
        """Run until killed."""
        store = Store.open(self.path)
        sealing = SEALING_KEYS[self.index]
        keys = NodeKeys(SESSIONS[self.index], BLS_KEYS[self.index], sealing, b"\x04" * 32)
        setup = Setup(
            me=self.me,
            domain=DOMAIN,
            params=PARAMS,
            genesis_ms=self.network.genesis_ms,
            secret=b"\x07" * 32,
            aggregator=CRYPTO,
            cipher=BidCiphers(sealing),
        )
        self.store = store
        self.ingress = Ingress(DOMAIN, CRYPTO, self.faults.append)
        self.arrivals, self.inbound = trio.open_memory_channel(1_000)
        guard = SigningGuard(store, lambda _: keys, DOMAIN, self.me, began_view=-1)
        guard.open()
        self.driver = Driver(
            store=store,
            guard=guard,
            clock=CLOCK,
            restore=lambda raw: Replica(setup) if raw is None else Replica.restore(setup, raw),
            handlers={
                kind: getattr(self, f"on_{kind.__name__.lower()}", self.on_anything)
                for kind in effects.Effect.__args__
            },
        )
        try:
            async with trio.open_nursery() as nursery:
                self.life = nursery.cancel_scope
                await nursery.start(self.driver.run)
                for _ in range(3):
                    nursery.start_soon(self.take_frames)
                await self.driver.submit(TableOpened(1, WORD, ROWS))
                await self.driver.submit(ProgramRegistered(WORD, WORD, 4))
                await self.driver.submit(ClockJudged(True))
                task_status.started()
        finally:
            store.close()
            self.life = None

    async def take_frames(self):
        async for peer, frame in self.inbound:
            tables = {
                epoch: OperatorTable(epoch, opened.seed, opened.operators)
                for epoch, opened in self.replica.state.tables.items()
            }
            horizon = Horizon(tables, self.replica.state.round.round)
            verdict = await self.ingress.admit(peer, frame, CLOCK.now_ms(), horizon)
            if isinstance(verdict, Received):
                await self.driver.put(verdict)

    async def on_broadcast(self, effect):
        for other in self.network.nodes:
            if other is not self:
                self.network.carry(self, other, effect.envelope)

    async def on_sendto(self, effect):
        for other in self.network.nodes:
            if other.me == effect.operator:
                self.network.carry(self, other, effect.envelope)

    async def on_servebatches(self, effect):
        rounds = [decode_decided(raw) for raw in await self.store.decided(effect.from_round, 8)]
        if rounds:
            body = Batches(tuple(rounds))
            envelope = Envelope(int(Kind.BATCHES), self.me, body, b"")
            await self.on_sendto(effects.SendTo(effect.operator, envelope))

    async def on_watchescrow(self, effect):
        self.driver.offer(EscrowBalance(effect.requester, 10**20))

    async def on_submitbatch(self, effect):
        self.settled.append(effect)
        header = effect.header
        for node in self.network.nodes:
            if node.life is not None:
                node.driver.offer(BatchSettled(header.sequence, header.root, WORD, 21_000))

    async def on_anything(self, effect):
        pass


class Network:
    def __init__(self, folder):
        self.folder = folder
        self.genesis_ms = CLOCK.now_ms()
        self.nodes = [Node(self, index) for index in range(4)]

    def carry(self, source, target, envelope):
        """A full or dead inbox loses frames."""
        if target.life is not None:
            with contextlib.suppress(trio.WouldBlock):
                target.arrivals.send_nowait((source.me, encode(envelope)))

    async def until(self, holds, nodes):
        with trio.fail_after(60):
            for node in nodes:
                while not holds(node):
                    await node.driver.wait_changed()


def request_frames(genesis_ms, views):
    """A request, and the bid for it, sealed to all four."""
    now_ms = CLOCK.now_ms()
    amount = (10**16).to_bytes(32, "big")
    deadline = (now_ms - genesis_ms) // PARAMS.view_ms + views
    request = ProofRequest(
        WORD, REQUESTER.address, (WORD, WORD), 1, amount, now_ms // 1_000, deadline, (), WORD
    )
    request_id = digest(DOMAIN, request)
    frame = encode(
        Envelope(int(Kind.REQUEST), REQUESTER.address, request, REQUESTER.sign(request_id))
    )
    keys = [{"sealing_key": row.sealing_key.hex()} for row in ROWS]
    sealing = {"epoch": 1, "round": 1, "committee": keys}
    return frame, sealed_bid(DOMAIN, request_id, WORD, 10**15, REQUESTER, sealing)


async def test_a_request_that_nobody_serves_expires_in_a_certified_batch(tmp_path):
    network = Network(tmp_path)
    async with trio.open_nursery() as nursery:
        for node in network.nodes:
            await nursery.start(node.live)
        frames = request_frames(network.genesis_ms, views=4)
        for node in network.nodes:
            for frame in frames:
                await node.driver.submit(Received(frame))
        await network.until(lambda node: node.replica.state.ledger.round >= 1, network.nodes)
        network.nodes[3].life.cancel()
        # Three of four are more than two thirds: the network goes on without the fourth.
        alive = network.nodes[:3]
        await network.until(lambda node: node.replica.state.ledger.sequence == 1, alive)
        await nursery.start(network.nodes[3].live)
        await network.until(
            lambda node: node.replica.state.ledger.sequence == 1, [network.nodes[3]]
        )
        rounds = [
            [msgspec.msgpack.encode(decode_decided(raw).value) for raw in held]
            for held in [await node.store.decided(1, 100) for node in network.nodes]
        ]
        common = min(len(held) for held in rounds)
        assert common >= 2
        assert len({tuple(held[:common]) for held in rounds}) == 1
        submitted = [effect for node in network.nodes for effect in node.settled]
        for effect in submitted:
            assert effect.certificate.digest == batch_digest(DOMAIN, effect.header)
            Checks(DOMAIN, CRYPTO).certificate(
                effect.certificate, Horizon({1: OperatorTable(1, WORD, ROWS)}, 1)
            )
        assert submitted
        assert [node.faults for node in network.nodes] == [[], [], [], []]
        bad = sum(
            (node.ingress.refusals for node in network.nodes), start=type(node.ingress.refusals)()
        )
        assert not {"bad_signature", "malformed", "wrong_sender", "fault"} & set(bad)
        nursery.cancel_scope.cancel()
