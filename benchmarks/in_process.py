"""Whole nodes in one process, but for libp2p, chain and provers.

Replicas, drivers, signing guards, databases, ingress and its checks, ciphers: all real, each node
with its own. A frame goes as bytes from a node straight into the inbox of another, so that what
runs here is the nodes' own work, on one interpreter. A batch is settled as soon as it is certified.
"""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, get_args

import trio

from node.box import BidCiphers
from node.client.bidding import default_reserve, sealed_bid
from node.crypto import Crypto, SessionKey
from node.driver import Driver
from node.guard import SigningGuard
from node.ingress import Ingress
from node.ingress_checks import Horizon
from node.keys import NodeKeys, random_keys
from node.metrics import Metrics
from node.net.records import Inbound
from node.services.intake import take_frames
from node.store import Store
from node.system_clock import SystemClock
from protocol import effects as wanted
from protocol.codec import decode_decided, encode
from protocol.dispatch import JobClass, Tier
from protocol.eip712 import Domain, digest
from protocol.hashing import keccak
from protocol.inputs import (
    AnyInput,
    AskPolicy,
    BatchSettled,
    ClockJudged,
    EscrowBalance,
    Operator,
    ProgramRegistered,
    Received,
    TableOpened,
)
from protocol.messages import Batches, Envelope, Kind, ProofRequest
from protocol.params import DEVNET
from protocol.replica import Replica
from protocol.rotation import committee
from protocol.setup import Setup
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from benchmarks.records import Json

PARAMS: Final = replace(
    DEVNET,
    view_ms=12_000,
    list_cutoff_ms=9_000,
    resend_ms=6 * DEVNET.resend_ms,
    relay_ms=6 * DEVNET.relay_ms,
    accept_timeout_ms=3_600_000,
)
"""The view of a production network, and repetitions as much rarer: many nodes share an interpreter.
No award is made twice."""
MAX_FEE: Final = 10**17
DEADLINE_S: Final = 3_600
"""No request expires meanwhile and takes a round of its own."""
_DOMAIN: Final = Domain(31_337, Address(b"\x05" * 20))
_PROGRAM: Final = keccak(b"program")
_CLASS: Final = JobClass("groth16", Tier.S).class_id
_SLOTS, _PRICE = 8, DEVNET.initial_price_wei // 1_000
"""With most slots free the posted price falls by a tenth a round. Were it to pass below what all of
them ask, a request would wait for the next clearing, a view later."""
_ESCROW: Final = 10**24
_INBOX: Final = 4_096
_SERVED: Final = 16
_CLOCK: Final = SystemClock()


class LocalNetwork:
    """All nodes of one process."""

    def __init__(self, size: int, folder: Path) -> None:
        self.genesis_ms = _CLOCK.now_ms()
        self.sent: Counter[str] = Counter()
        """Bytes of frames by kind, once for each time that one is sent to a node."""
        self.lost = 0
        """Frames that found an inbox full."""
        keys = [random_keys() for _ in range(size)]
        rows = tuple(_row(place, one) for place, one in enumerate(keys))
        self.table = TableOpened(1, keccak(b"seed"), rows)
        self.nodes = [
            LocalNode(self, Address(row.operator), one, folder / f"{place}.sqlite")
            for place, (row, one) in enumerate(zip(rows, keys, strict=True))
        ]

    def send(self, source: LocalNode, operator: bytes, frame: bytes) -> None:
        """A frame to one node."""
        target = next(node for node in self.nodes if node.me == operator)
        self._carry(source, target, frame, 1)

    def broadcast(self, source: LocalNode, frame: bytes, reliable: bool) -> None:
        """A frame to all others; a reliable one is sent twice and its twin dropped on arrival."""
        for target in self.nodes:
            if target is not source:
                self._carry(source, target, frame, 2 if reliable else 1)

    def settled(self, event: BatchSettled) -> None:
        """Every node sees the transaction."""
        for node in self.nodes:
            node.driver.offer(event)

    def _carry(self, source: LocalNode, target: LocalNode, frame: bytes, times: int) -> None:
        self.sent[Kind(frame[2]).name.lower()] += times * len(frame)
        try:
            target.arrivals.send_nowait(Inbound(source.me, frame, "stream"))
        except trio.WouldBlock:
            self.lost += 1


class LocalNode:
    """One operator's node."""

    def __init__(self, network: LocalNetwork, me: Address, keys: NodeKeys, database: Path) -> None:
        self.me = me
        self.database = database
        self.documents: dict[bytes, Json] = {}
        self._network = network
        self._store = Store.open(database)
        self.arrivals, self._inbound = trio.open_memory_channel[Inbound](_INBOX)
        crypto = Crypto()
        self._setup = Setup(
            me=me,
            domain=_DOMAIN,
            params=PARAMS,
            genesis_ms=network.genesis_ms,
            secret=secrets.token_bytes(32),
            aggregator=crypto,
            cipher=BidCiphers(keys.sealing),
        )
        guard = SigningGuard(self._store, lambda _: keys, _DOMAIN, me, began_view=-1)
        guard.open()  # nobody spoke before: there is nothing to listen for
        self._ingress = Ingress(_DOMAIN, crypto, self._fault)
        self.driver = Driver(
            store=self._store,
            guard=guard,
            clock=_CLOCK,
            restore=lambda _: Replica(self._setup),
            handlers=dict.fromkeys(get_args(wanted.Effect), self._perform),
        )

    @property
    def replica(self) -> Replica:
        """The machine that the driver owns."""
        if not isinstance(self.driver.machine, Replica):
            raise TypeError("the driver runs another machine")
        return self.driver.machine

    async def live(self, task_status: Any) -> None:
        """Run until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.driver.run)
                for event in self._beginning():
                    await self.driver.submit(event)
                nursery.start_soon(
                    take_frames,
                    self._inbound,
                    self._ingress,
                    self._horizon,
                    self,
                    self.driver.put,
                    Metrics(),
                    _CLOCK,
                )
                task_status.started()
        finally:
            self._store.close()

    async def take(self, frame: bytes, *before: AnyInput) -> None:
        """What a requester hands in, as the API takes it."""
        await self._ingress.admit(None, frame, _CLOCK.now_ms(), self._horizon())
        for event in (*before, Received(frame)):
            await self.driver.submit(event)
        self._network.broadcast(self, frame, reliable=True)

    async def until_stage(self, request_id: bytes, stage: str) -> Json:
        """The first document of a request that has reached a stage."""
        while True:
            document = self.documents.get(request_id)
            if document is not None and stage in document["stages_ms"]:
                return document
            await self.driver.wait_changed()

    def sealing(self) -> Json:
        """To whom a bid is to be sealed, as GET /v1/node says."""
        ledger = self.replica.state.ledger
        if ledger is None:
            raise RuntimeError("the node is not up")
        table = self.replica.tables()[ledger.next_epoch]
        members = committee(table, PARAMS)
        rows = [row for row in table.operators if row.operator in members]
        keys = [{"sealing_key": row.sealing_key.hex()} for row in rows]
        return {"epoch": table.epoch, "round": ledger.round + 1, "committee": keys}

    def penalise(self, operator: bytes, reason: str, points: float) -> None:
        """Nobody here is faulty: a penalty is a bug of the benchmark."""
        raise RuntimeError(f"{points} points for {operator.hex()}: {reason}")

    def _beginning(self) -> Sequence[AnyInput]:
        return (
            self._network.table,
            ProgramRegistered(_PROGRAM, _CLASS, 8),
            ClockJudged(True),
            AskPolicy(_CLASS, _SLOTS, _PRICE),
        )

    def _horizon(self) -> Horizon:
        state = self.replica.state.round
        prepared = -1 if state.valid is None else state.valid.view
        return Horizon(self.replica.tables(), state.round, prepared, state.lock is not None)

    def _fault(self, exc: Exception) -> None:
        raise RuntimeError("a fault in ingress") from exc

    async def _perform(self, effect: wanted.Effect) -> None:
        match effect:
            case wanted.Broadcast(envelope=envelope, reliable=reliable):
                self._network.broadcast(self, encode(envelope), reliable)
            case wanted.SendTo(operator=operator, envelope=envelope):
                self._network.send(self, operator, encode(envelope))
            case wanted.ServeBatches(operator=operator, from_round=number):
                held = await self._store.decided(number, _SERVED)
                body = Batches(tuple(map(decode_decided, held)))
                if body.rounds:
                    reply = Envelope(Kind.BATCHES, self.me, body, b"")
                    self._network.send(self, operator, encode(reply))
            case wanted.WatchEscrow(requester=requester):
                self.driver.offer(EscrowBalance(requester, _ESCROW))
            case wanted.SubmitBatch(header=header):
                root = header.root
                self._network.settled(BatchSettled(header.sequence, root, keccak(root), 0))
            case wanted.Report(request_id=request_id, document=document):
                self.documents[request_id] = dict(document)
            case _:
                pass


@asynccontextmanager
async def local_network(size: int, folder: Path) -> AsyncIterator[LocalNetwork]:
    """So many nodes, for the length of a block."""
    network = LocalNetwork(size, folder)
    async with trio.open_nursery() as nursery:
        for node in network.nodes:
            await nursery.start(node.live)
        yield network
        nursery.cancel_scope.cancel()


async def hand_in(network: LocalNetwork, node: LocalNode) -> bytes:
    """A request of one segment and the combining one, with its bid; its id."""
    key = SessionKey.random()
    now_ms = _CLOCK.now_ms()
    request = ProofRequest(
        program_id=_PROGRAM,
        requester=key.address,
        input_hashes=(secrets.token_bytes(32), secrets.token_bytes(32)),
        copies=1,
        reserve=default_reserve(MAX_FEE).to_bytes(32, "big"),
        issued_at=now_ms // 1_000,
        deadline_view=(now_ms + DEADLINE_S * 1_000 - network.genesis_ms) // PARAMS.view_ms,
        allowlist=(),
        salt=secrets.token_bytes(32),
    )
    request_id = digest(_DOMAIN, request)
    frame = encode(Envelope(int(Kind.REQUEST), key.address, request, key.sign(request_id)))
    await node.take(frame, EscrowBalance(key.address, _ESCROW))
    sealing = node.sealing()
    await node.take(sealed_bid(_DOMAIN, request_id, _CLASS, MAX_FEE, key, sealing))
    return request_id


def _row(place: int, keys: NodeKeys) -> Operator:
    return Operator(
        operator=keccak(bytes([place]))[:20],
        session=keys.session.address,
        bls_key=keys.bls.public_key,
        sealing_key=keys.sealing.public_key,
        peer_id=f"peer {place}",
        multiaddrs=(),
        weight=100 * DEVNET.slot_stake,
    )
