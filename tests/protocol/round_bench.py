"""One round machine on a bench: its peers' messages are written and signed by hand."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.batch import Batch
from protocol.effects import Effect, Publish, Record
from protocol.eip712 import batch_digest, body_digest, commit_of, digest, value_digest, vote_digest
from protocol.messages import (
    BidList,
    BidShares,
    Body,
    Certificate,
    Envelope,
    Kind,
    Proposal,
    Status,
    Timeout,
    Value,
    Vote,
)
from protocol.params import DEVNET
from protocol.rotation import OperatorTable, gateway
from protocol.round import RoundState, context, fresh, step
from protocol.types import ZERO_HASH, Address
from tests.sim.crypto import HashCrypto
from tests.sim.ingress import Ingress
from tests.sim.run import DOMAIN, item_frame, make_table
from tests.sim.toy import ToyApp, toy_share
from tests.sim.world import signed_envelope

VIEW = DEVNET.view_ms
SETTLE = DEVNET.gossip_bound_ms + DEVNET.clock_bound_ms
LIST_DUE = DEVNET.list_wait_ms
FREEZE = LIST_DUE + 2 * DEVNET.gossip_bound_ms + DEVNET.clock_bound_ms


def item(number: int) -> bytes:
    """A bid of the toy application."""
    return bytes([number]) * 31 + b"\x00"


class Bench:
    """Node 0 of four equal operators (f = 1), unless told otherwise."""

    def __init__(self, me: int = 0, size: int = 4, table: OperatorTable | None = None) -> None:
        self.table = table or make_table([100] * size, b"\x07" * 32)
        self.ingress = Ingress(self.table, DOMAIN)
        self.who = [Address(row.operator) for row in self.table.operators]
        self.me = self.who[me]
        self.ctx = context(self.me, self.table, 0, DEVNET, DOMAIN, HashCrypto())
        self.app = ToyApp(self.ctx)
        self.state: RoundState = fresh(1, 1, ZERO_HASH, 0)
        self.now = 0
        self.said: list[Envelope] = []
        self.effects: list[Effect] = []

    # ------------------------------------------------------------------ driving

    def tick(self, now: int) -> list[Effect]:
        self.now = now
        return self._step(None)

    def hear(self, envelope: Envelope) -> list[Effect]:
        return self._step(envelope)

    def hold(self, *items: bytes) -> list[Effect]:
        for each in items:
            self.app.items[each] = item_frame(DOMAIN, each)
        return self._step(None)

    def _step(self, envelope: Envelope | None) -> list[Effect]:
        self.state, effects = step(self.state, envelope, self.app, self.ctx, self.now)
        return self.perform(effects)

    def perform(self, effects: list[Effect]) -> list[Effect]:
        """Sign what is published and hand it back, as a driver does."""
        gathered = list(effects)
        for effect in effects:
            if isinstance(effect, Publish):
                signed = body_digest(DOMAIN, effect.kind, effect.body)
                envelope = signed_envelope(self.me, effect.kind, effect.body, signed)
                self.said.append(envelope)
                gathered += self._step(envelope)
        self.effects = gathered
        return gathered

    # ------------------------------------------------------------------ asking

    def spoken(self, kind: Kind) -> list[Envelope]:
        return [envelope for envelope in self.said if envelope.kind == kind]

    def refusals(self) -> list[str]:
        found = [e for e in self.effects if isinstance(e, Record) and e.event == "proposal_refused"]
        return [str(dict(e.fields)["reason"]) for e in found]

    def leader(self, view: int) -> Address:
        return gateway(self.table, self.ctx.members, view)

    def view_led_by(self, leads: bool, start: int = 0) -> int:
        """The next view from `start` on that this node leads, or does not."""
        view = start
        while (self.leader(view) == self.me) != leads:
            view += 1
        return view

    def others(self) -> list[Address]:
        return [who for who in self.who if who != self.me]

    # ------------------------------------------------------------------ peers' words

    def sign(self, who: bytes, kind: Kind, body: Body) -> Envelope:
        return signed_envelope(who, kind, body, body_digest(DOMAIN, kind, body))

    def status(self, who: bytes, *, number: int = 1, pending: bool = True) -> Envelope:
        body = Status(1, number, max(0, self.state.view), who, pending, None, None)
        return self.sign(who, Kind.STATUS, body)

    def bid_list(self, who: bytes, *bids: bytes) -> Envelope:
        return self.sign(who, Kind.BID_LIST, BidList(1, 1, who, tuple(sorted(bids)), ()))

    def value(self, lists: Sequence[Envelope], *bids: bytes, next_epoch: int = 1) -> Value:
        ids = tuple(sorted(digest(DOMAIN, envelope.body) for envelope in lists))  # type: ignore[arg-type]
        return Value(1, 1, ZERO_HASH, ids, tuple(sorted(bids)), (), (), next_epoch)

    def proposal(
        self, view: int, value: Value, prepare: Certificate | None = None, by: bytes | None = None
    ) -> Envelope:
        leader = by or self.leader(view)
        return self.sign(leader, Kind.PROPOSAL, Proposal(1, 1, view, leader, value, prepare))

    def vote(self, who: bytes, kind: Kind, view: int, value: Value | bytes) -> Envelope:
        named = value if isinstance(value, bytes) else value_digest(DOMAIN, value)
        return self.sign(who, kind, Vote(1, 1, view, named))

    def certificate(
        self, kind: Kind, view: int, value: Value, signers: Sequence[Address] | None = None
    ) -> Certificate:
        chosen = self.who[-3:] if signers is None else signers
        named = value_digest(DOMAIN, value)
        if kind is Kind.COMMIT:
            batch = self.batch(value)
            envelopes = [self.commit(who, batch) for who in chosen]
            signed = batch_digest(DOMAIN, batch)
        else:
            envelopes = [self.vote(who, kind, view, value) for who in chosen]
            signed = vote_digest(DOMAIN, kind, 1, 1, view, named)
        absent = tuple(p for p, who in enumerate(self.who) if who not in chosen)
        total = HashCrypto().aggregate([envelope.signature for envelope in envelopes])
        return Certificate(kind, 1, 1, view, named, signed, absent, total)

    def batch(self, value: Value) -> Batch:
        """What follows from a Value once its bids are opened."""
        batch = self.app.execute(value, [self.revealed(who, value) for who in self.who])
        assert isinstance(batch, Batch)
        return batch

    def commit(self, who: bytes, batch: Batch) -> Envelope:
        return self.sign(who, Kind.COMMIT, commit_of(batch))

    def revealed(self, who: bytes, value: Value) -> BidShares:
        shares = tuple(toy_share(who, bid) for bid in value.bids)
        return BidShares(1, 1, who, value_digest(DOMAIN, value), shares)

    def shares(self, who: bytes, value: Value) -> Envelope:
        return self.sign(who, Kind.BID_SHARES, self.revealed(who, value))

    def timeout(self, who: bytes, view: int, prepare: Certificate | None) -> Envelope:
        held = (0, ZERO_HASH) if prepare is None else (prepare.view, prepare.value)
        return self.sign(who, Kind.TIMEOUT, Timeout(1, 1, view, who, *held, prepare))

    # ------------------------------------------------------------------ places to start from

    def open(self, view: int, *bids: bytes) -> list[Envelope]:
        """Open an attempt in this view and have every list but the own one; own list signed."""
        self.tick(view * VIEW)
        self.hold(*bids)
        for who in self.others():
            self.hear(self.status(who))
        self.tick(view * VIEW + LIST_DUE)
        lists = [self.bid_list(who, *bids) for who in self.others()]
        for each in lists:
            self.hear(each)
        return [*self.spoken(Kind.BID_LIST), *lists]

    def lock(self, view: int, *bids: bytes) -> Value:
        """Come as far as an own LOCK in this view, and no further."""
        value = self.value(self.open(view, *bids), *bids)
        if self.leader(view) == self.me:
            self.tick(view * VIEW + SETTLE)
        else:
            self.hear(self.proposal(view, value))
        for who in self.others()[:2]:
            self.hear(self.vote(who, Kind.PREPARE, view, value))
        assert len(self.spoken(Kind.LOCK)) == 1
        return value
