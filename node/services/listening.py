"""Listens before this node signs: its disk may be an old copy, and others remember what it said.

It asks every operator what it heard this one say (Recall), and takes that as said. The node signs
once the answers and itself are more than two thirds of the stake, without which no round is decided
anyway; everybody answered, or had a view to do so; and its own round is no older than theirs.

Then it goes on asking, one operator a view while a round is open: what another process says with
the same keys reaches this one in no other way, as no message comes back to its origin.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
import trio

from node.ingress import Refused
from protocol.codec import decode, encode
from protocol.errors import Rejection
from protocol.messages import Envelope, FetchBatches, Kind, Recall, Recalled
from protocol.recall import recalled
from protocol.rounds.phases import Phase

if TYPE_CHECKING:
    from node.driver import Driver
    from node.guard import SigningGuard
    from node.ingress import Ingress
    from node.ingress_checks import Horizon
    from node.ports import Clock, Network
    from protocol.inputs import Received
    from protocol.replica import Replica
    from protocol.rotation import OperatorTable

log = structlog.get_logger()

NONCE_SIZE: Final = 16


class Listening:
    """Stands between ingress and the driver: answers Recalls, and hears this node's own word."""

    def __init__(
        self,
        *,
        replica: Callable[[], Replica],
        driver: Driver,
        guard: SigningGuard,
        ingress: Ingress,
        horizon: Callable[[], Horizon],
        network: Network,
        clock: Clock,
    ) -> None:
        self._replica = replica
        self._driver = driver
        self._guard = guard
        self._ingress = ingress
        self._horizon = horizon
        self._network = network
        self._clock = clock
        self._nonce = b""
        self._answers: dict[bytes, int] = {}
        self._answered = trio.Event()
        self._fetches = 0

    @property
    def me(self) -> bytes:
        """This operator."""
        return self._replica().setup.me

    async def run(self) -> None:
        """Ask until it is safe to sign, let the driver sign, and ask on until cancelled."""
        while not self._replica().tables():
            await self._driver.wait_changed()
        params = self._replica().setup.params
        while True:
            await self._ask(params.view_ms / 1_000)
            reached = round_told(self._table(), self._answers)
            if self._round() >= reached:
                break
            # What the others hold of a round is of use only in that round: catch up, ask again.
            await self._fetch(reached)
            with trio.move_on_after(params.view_ms / 1_000):
                while self._round() < reached:
                    await self._driver.wait_changed()
        await self._driver.start_signing()
        log.info("signing", round=self._round(), answers=len(self._answers))
        turn = 0
        while True:
            while self._idle():
                await self._driver.wait_changed()
            rows = self._table().operators
            await self._send_to({rows[turn % len(rows)].operator})
            turn += 1
            await trio.sleep(params.view_ms / 1_000)

    async def take(self, received: Received) -> None:
        """Take in an admitted frame of a peer.

        Raises:
            AnotherInstanceError: it shows that another process signs with this node's keys.
        """
        envelope = decode(received.frame)
        match envelope.body:
            case Recall(nonce=nonce):
                await self._answer(envelope.sender, nonce)
            case Recalled():
                await self._take_answer(envelope.sender, envelope.body)
            case _:
                await self._take_statement(received, envelope)

    async def _take_statement(self, received: Received, envelope: Envelope) -> None:
        if envelope.sender != self.me:
            await self._driver.put(received)
            return
        # The machine first: the guard's statements count as taken in its next snapshot.
        await self._driver.submit(received)
        await self._guard.hear(envelope)

    async def _answer(self, asker: bytes, nonce: bytes) -> None:
        replica = self._replica()
        body = recalled(replica.state, replica.setup.me, asker, nonce)
        envelope = Envelope(Kind.RECALLED, self.me, body, b"")
        await self._network.send(asker, encode(envelope))

    async def _take_answer(self, peer: bytes, body: Recalled) -> None:
        if body.nonce != self._nonce:
            return
        for frame in body.envelopes:
            try:
                envelope = decode(frame)
            except Rejection:
                continue
            if envelope.sender != self.me and envelope.kind != Kind.CERTIFICATE:
                continue
            now_ms = self._clock.now_ms()
            verdict = await self._ingress.admit(peer, frame, now_ms, self._horizon())
            if not isinstance(verdict, Refused):
                await self._take_statement(verdict, envelope)
        self._answers[peer] = body.round
        self._answered.set()
        self._answered = trio.Event()

    async def _ask(self, view_s: float) -> None:
        """Return with enough answers that were all given after this call."""
        self._nonce = os.urandom(NONCE_SIZE)
        self._answers = {}
        # The first time it is kept for those that are not connected yet.
        operators = self._silent()
        while True:
            await self._send_to(operators)
            with trio.move_on_after(view_s):
                while self._silent():
                    await self._answered.wait()
            if not self._silent() or enough(self._table(), self.me, self._answers):
                return
            # Those that answered, too: what they hear meanwhile shows another process that runs.
            operators = set(self._network.connected())

    async def _send_to(self, operators: set[bytes]) -> None:
        frame = encode(Envelope(Kind.RECALL, self.me, Recall(self._nonce), b""))
        for operator in operators - {self.me}:
            await self._network.send(operator, frame)

    async def _fetch(self, reached: int) -> None:
        """Ask one that has reached this round, each time another, for what was decided.

        What was said in a round is not said again once the network is idle, and this node, which
        says nothing, is not told by itself.
        """
        ahead = sorted(peer for peer, number in self._answers.items() if number >= reached)
        peer = ahead[self._fetches % len(ahead)]
        self._fetches += 1
        body = FetchBatches(self._round())
        await self._network.send(peer, encode(Envelope(Kind.FETCH_BATCHES, self.me, body, b"")))

    def _silent(self) -> set[bytes]:
        others = {row.operator for row in self._table().operators} - {self.me}
        return others - self._answers.keys()

    def _idle(self) -> bool:
        state = self._replica().state.round
        return state is None or state.phase is Phase.IDLE

    def _round(self) -> int:
        state = self._replica().state.round
        return 0 if state is None else state.round

    def _table(self) -> OperatorTable:
        tables = self._replica().tables()
        return tables[max(tables)]


def enough(table: OperatorTable, me: bytes, answers: dict[bytes, int]) -> bool:
    """Tell whether who answered, and `me`, are more than two thirds of the stake."""
    return table.quorum(sum(table.weight_of(who) for who in answers.keys() | {me}))


def round_told(table: OperatorTable, answers: dict[bytes, int]) -> int:
    """The highest round that more than a third of the stake says it has reached; 0 if none.

    An honest operator is among them: a faulty minority keeps nobody silent with a made-up round.
    """
    weight = 0
    for who, number in sorted(answers.items(), key=lambda item: -item[1]):
        weight += table.weight_of(who)
        if 3 * weight > table.total:
            return number
    return 0
