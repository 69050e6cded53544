"""One step in progress: the state being changed, and the effects gathered so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.effects import Broadcast, Effect, Publish, Record, SendTo
from protocol.messages import (
    BidList,
    BidShares,
    Body,
    Commit,
    Envelope,
    Fetch,
    Kind,
    Proposal,
    Status,
)
from protocol.rotation import gateway, view_start_ms
from protocol.rounds.context import Application, RoundContext
from protocol.rounds.phases import Move, after
from protocol.rounds.state import Asked, Conflict, RoundState, Statement, pack, unpack
from protocol.types import Address, TimestampMs

MAX_PREVIOUS_VIEWS = 3
"""Votes and proposals of so many earlier views still count; a LockCert may come late."""
MAX_EARLY_VIEWS = 2
"""A peer's clock may be ahead: votes and proposals of so many views to come are kept."""
MAX_FETCH = 256
"""Ids in one Fetch."""


@dataclass(slots=True)
class Turn:
    """Working copy of a state with what a step may ask."""

    state: RoundState
    app: Application
    ctx: RoundContext
    now_ms: int
    effects: list[Effect] = field(default_factory=list)
    _pending: bool | None = None

    @property
    def view_start_ms(self) -> int:
        """Start of the view this node is in."""
        return view_start_ms(self.state.view, self.ctx.genesis_ms, self.ctx.params.view_ms)

    @property
    def settle_ms(self) -> int:
        """Gossip bound plus clock bound: what one node said, every other one has heard by then."""
        return self.ctx.params.gossip_bound_ms + self.ctx.params.clock_bound_ms

    @property
    def pending(self) -> bool:
        """Whether the application has something pending; asked at most once a step."""
        if self._pending is None:
            self._pending = self.app.pending()
        return self._pending

    def leader_of(self, view: int) -> Address:
        """Gateway of a view."""
        return gateway(self.ctx.table, self.ctx.members, view)

    def near(self, view: int) -> bool:
        """Tell whether votes and proposals of this view are kept."""
        return self.state.view - MAX_PREVIOUS_VIEWS <= view <= self.state.view + MAX_EARLY_VIEWS

    def move(self, move: Move) -> None:
        """Go where the transition table says."""
        self.state.phase = after(self.state.phase, move)
        self.be_patient()
        self.record("round_phase", phase=self.state.phase.value, move=move.name.lower())

    def be_patient(self) -> None:
        """Repeat nothing for resend_ms: what was just said has to arrive first."""
        self.state.pause_ms = self.ctx.params.resend_ms
        self.state.resend_ms = self.now_ms + self.state.pause_ms

    def meet(self, operator: bytes) -> None:
        """Note that an operator works on this round."""
        if operator not in self.state.announced:
            self.state.announced |= {operator}

    def record(self, event: str, **fields: str | int) -> None:
        """Tell operators something about this round and view."""
        place = (("round", self.state.round), ("view", self.state.view))
        self.effects.append(
            Record(event, TimestampMs(self.now_ms), (*place, *sorted(fields.items())))
        )

    def say(self, kind: Kind, body: Body, slot: bytes) -> None:
        """Have a statement signed and published, once per slot."""
        if slot in self.state.said:
            return
        self._note_said(slot, Envelope(kind, self.ctx.me, body, b""))
        self.effects.append(_publish(kind, body, slot))

    def heard_own(self, envelope: Envelope) -> None:
        """An own statement came back signed (perhaps an older one for the slot: it stands)."""
        if envelope.sender == self.ctx.me:
            self._note_said(slot_of(Kind(envelope.kind), envelope.body), envelope)

    def repeat(self) -> None:
        """Send again what this node said, byte for byte; gossip is lossy."""
        for slot, statement in self.state.said.items():
            envelope = unpack(statement)
            if statement.signature:
                self.effects.append(Broadcast(envelope))
            else:
                self.effects.append(_publish(Kind(envelope.kind), envelope.body, slot))

    def say_again(self) -> None:
        """Publish every statement anew: after a crash nobody knows which were signed and sent."""
        for slot, statement in self.state.said.items():
            self.effects.append(_publish(Kind(statement.kind), unpack(statement).body, slot))

    def fetch(self, ids: Iterable[bytes], first: bytes) -> None:
        """Ask for bodies: `first` (who named them), then another operator at each resend."""
        due: dict[bytes, list[bytes]] = {}
        for wanted in ids:
            asked = self.state.asked.get(wanted, Asked(0, 0))
            if asked.times and self.now_ms < asked.at_ms + self.ctx.params.resend_ms:
                continue
            asked_now = Asked(self.now_ms, asked.times + 1)
            self.state.asked = {**self.state.asked, wanted: asked_now}
            due.setdefault(self._source(first, asked.times), []).append(wanted)
        for source, wanted_ids in due.items():
            body = Fetch(tuple(wanted_ids[:MAX_FETCH]))
            self.send(source, Envelope(Kind.FETCH, self.ctx.me, body, b""))

    def send(self, operator: bytes, envelope: Envelope) -> None:
        """Send to one operator, never to oneself."""
        if operator != self.ctx.me:
            self.effects.append(SendTo(Address(operator), envelope))

    def conflict(self, *statements: Envelope) -> None:
        """Keep what proves a fault of the first statement's sender, its first one in this round."""
        first = statements[0]
        if first.sender not in self.state.conflicts:
            proof = Conflict(tuple(map(pack, statements)))
            self.state.conflicts = {**self.state.conflicts, first.sender: proof}
            self.record("conflict", kind=first.kind, operator=first.sender.hex())

    def _note_said(self, slot: bytes, envelope: Envelope) -> None:
        self.state.said = {**self.state.said, slot: pack(envelope)}

    def _source(self, first: bytes, times: int) -> bytes:
        rows = self.ctx.table.operators
        if times == 0 and first != self.ctx.me:
            return first
        own = self.ctx.table.position_of(self.ctx.me) or 0
        return rows[(own + max(1, times)) % len(rows)].operator


def slot_of(kind: Kind, body: Body) -> bytes:
    """Name of what may be signed only once: kind, epoch, round and, where it has one, view.

    A Status may be said anew whenever what it tells has changed.
    """
    match body:
        case BidList() | BidShares() | Commit():
            numbers: tuple[int, ...] = (body.epoch, body.round)
        case Status():
            prepare = 0 if body.prepare is None else body.prepare.view + 1
            told = (int(body.pending), prepare, int(body.lock is not None))
            numbers = (body.epoch, body.round, body.view, *told)
        case _:
            numbers = (body.epoch, body.round, body.view)  # type: ignore[union-attr]
    return bytes([kind]) + b"".join(number.to_bytes(8, "big") for number in numbers)


def keep(statement: Statement, view: int) -> bool:
    """Tell whether an own statement still matters in this view."""
    kind = statement.kind
    if kind in {Kind.BID_LIST, Kind.BID_SHARES, Kind.COMMIT}:
        return True
    body = unpack(statement).body
    said_in: int = body.view  # type: ignore[union-attr]
    # The last Timeout carries the certificate that the next gateway needs.
    return said_in >= view - 1 if kind == Kind.TIMEOUT else said_in >= view


def _publish(kind: Kind, body: Body, slot: bytes) -> Publish:
    return Publish(kind, body, slot, reliable=isinstance(body, BidList | BidShares | Proposal))
