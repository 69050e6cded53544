"""A toy application: 32-byte ids appear somewhere, spread, and are decided in rounds.

An id travels as a Cancel. Half of the ids are outcomes: a node lists and accepts one only after its
own check of it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from protocol import codec
from protocol.batch import Batch
from protocol.effects import Broadcast, Effect, SendTo, ServeBatches
from protocol.eip712 import value_digest
from protocol.errors import RejectionReason
from protocol.hashing import keccak
from protocol.inputs import AnyInput, ClockJudged, ProofChecked, Received
from protocol.messages import (
    Batches,
    BidList,
    BidShares,
    Cancel,
    Envelope,
    Fetch,
    FetchBatches,
    Kind,
    Value,
)
from protocol.round import (
    Missing,
    Phase,
    RoundContext,
    decode_state,
    encode_state,
    fresh,
    lookup,
    next_deadline_ms,
    next_round,
    resume,
    step,
)
from protocol.types import ZERO_HASH, Address, Hash, Wei
from tests.sim.ingress import Ingress


class ToyState(msgspec.Struct):
    round: bytes
    items: dict[bytes, bytes]
    """Id -> frame."""
    checked: set[bytes]
    done: dict[bytes, int]
    """Id -> round that decided it."""
    history: list[tuple[bytes, bytes]]
    clock_fine: bool


@dataclass(frozen=True)
class CheckItem:
    """The toy's own effect: check an outcome; answered by ProofChecked(item)."""

    item: bytes


ToyEffect = Effect | CheckItem


def toy_share(member: bytes, item: bytes) -> bytes:
    """A member's share of an id: whoever has f + 1 of them may execute it."""
    return keccak(b"share" + member + item)


def is_outcome(item: bytes) -> bool:
    return item[-1] % 2 == 1


class ToyApp:
    """`Application` over plain sets; every answer is a function of them."""

    def __init__(self, ctx: RoundContext) -> None:
        self.ctx = ctx
        self.items: dict[bytes, bytes] = {}
        self.checked: set[bytes] = set()
        self.done: dict[bytes, int] = {}
        self.history: list[tuple[bytes, bytes]] = []
        self.clock_fine = True

    def open_items(self) -> list[bytes]:
        ready = (item for item in self.items if not is_outcome(item) or item in self.checked)
        return [item for item in ready if item not in self.done]

    def listable(self) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        items = [Hash(item) for item in self.open_items()]
        bids = tuple(item for item in items if not is_outcome(item))
        return bids, tuple(item for item in items if is_outcome(item))

    def pending(self) -> bool:
        return bool(self.open_items())

    def next_epoch(self) -> int:
        return 1

    def may_vote(self) -> RejectionReason | None:
        return None if self.clock_fine else RejectionReason.CLOCK_OFF

    def judge(self, value: Value) -> Missing | RejectionReason | None:
        named = (*value.bids, *value.outcomes)
        missing = tuple(Hash(item) for item in named if item not in self.items)
        if missing:
            return Missing(missing)
        if any(item in self.done for item in named) or value.next_epoch != 1:
            return RejectionReason.ALREADY_KNOWN
        if any(item not in self.checked for item in value.outcomes):
            return RejectionReason.UNVERIFIED_OUTCOME
        return None

    def reveal(self, value: Value) -> tuple[bytes, ...] | Missing:
        missing = tuple(Hash(item) for item in value.bids if item not in self.items)
        if missing:
            return Missing(missing)
        return tuple(toy_share(self.ctx.me, item) for item in value.bids)

    def execute(self, value: Value, shares: Sequence[BidShares]) -> Batch | Missing:
        named = (*value.bids, *value.outcomes)
        missing = tuple(Hash(item) for item in named if item not in self.items)
        if missing:
            return Missing(missing)
        for place, item in enumerate(value.bids):
            good = sum(held.shares[place] == toy_share(held.member, item) for held in shares)
            if good < self.ctx.announcers:
                return Missing(())
        parent = self.history[-1][1] if self.history else ZERO_HASH
        return Batch(
            epoch=value.epoch,
            round=value.round,
            value=value_digest(self.ctx.domain, value),
            sequence=0,
            parent=ZERO_HASH,
            root=Hash(keccak(b"batch" + parent + b"".join(named))),
            paid=Wei(0),
            debits_hash=ZERO_HASH,
        )

    def envelopes(self, value: Value) -> tuple[bytes, ...]:
        return tuple(self.items[item] for item in (*value.bids, *value.outcomes))


class ToyMachine:
    """The round machine over the toy application, as a `NodePort`."""

    def __init__(self, ctx: RoundContext, ingress: Ingress) -> None:
        self.address = ctx.me
        self.ctx = ctx
        self.ingress = ingress
        self.app = ToyApp(ctx)
        self.round = fresh(1, 1, ZERO_HASH, 0)

    def step(self, event: AnyInput, now_ms: int) -> list[ToyEffect]:
        effects: list[ToyEffect] = []
        envelope: Envelope | None = None
        match event:
            case Received(frame=frame):
                envelope = self.ingress.admit(frame)
                assert envelope is not None
                self._absorb(envelope, frame, effects)
            case ProofChecked(digest=digest):
                self.app.checked.add(digest)
            case ClockJudged(within_bounds=fine):
                self.app.clock_fine = fine
            case _:
                pass
        self.round, more = step(self.round, envelope, self.app, self.ctx, now_ms)
        return effects + self._settle(more, now_ms)

    def resume(self, now_ms: int) -> list[ToyEffect]:
        checks: list[ToyEffect] = [
            CheckItem(item)
            for item in self.app.items
            if is_outcome(item) and item not in self.app.checked
        ]
        self.round, effects = resume(self.round, self.app, self.ctx, now_ms)
        return checks + self._settle(effects, now_ms)

    def next_deadline_ms(self) -> int | None:
        return next_deadline_ms(self.round)

    def decisions(self) -> list[tuple[bytes, bytes]]:
        return list(self.app.history)

    def snapshot(self) -> bytes:
        app = self.app
        parts = (app.items, app.checked, app.done, app.history, app.clock_fine)
        return msgspec.msgpack.encode(ToyState(encode_state(self.round), *parts))

    def restore(self, raw: bytes) -> None:
        kept = msgspec.msgpack.decode(raw, type=ToyState)
        self.round = decode_state(kept.round)
        app = self.app
        app.items, app.checked, app.done = kept.items, kept.checked, kept.done
        app.history, app.clock_fine = kept.history, kept.clock_fine

    def _settle(self, effects: list[ToyEffect], now_ms: int) -> list[ToyEffect]:
        while self.round.phase is Phase.DECIDED:
            record = self.round.outcome
            assert record is not None
            for item in (*record.value.bids, *record.value.outcomes):
                assert item not in self.app.done, "an id was decided twice"
                self.app.done[item] = self.round.round
            digest = value_digest(self.ctx.domain, record.value)
            self.app.history.append((digest, record.certificate.digest))
            self.round, more = next_round(self.round, self.app, self.ctx, now_ms)
            effects = effects + more
        return effects

    def _absorb(self, envelope: Envelope, frame: bytes, effects: list[ToyEffect]) -> None:
        match envelope.body:
            case Cancel(request_id=item):
                if item not in self.app.items:
                    self.app.items[item] = frame
                    effects.append(Broadcast(envelope))
                    if is_outcome(item):
                        effects.append(CheckItem(item))
            case BidList(bids=bids, outcomes=outcomes):
                unknown = tuple(item for item in (*bids, *outcomes) if item not in self.app.items)
                if unknown:
                    fetch = Envelope(Kind.FETCH, self.address, Fetch(unknown), b"")
                    effects.append(SendTo(Address(envelope.sender), fetch))
            case Batches(rounds=rounds):
                for inner in (frame for record in rounds for frame in record.envelopes):
                    held = self.ingress.admit(inner)
                    if held is not None and held.kind == Kind.CANCEL:
                        self._absorb(held, inner, effects)
            case Fetch(ids=ids):
                found = [self._find(wanted) for wanted in ids]
                effects += [SendTo(Address(envelope.sender), each) for each in found if each]
            case FetchBatches(from_round=number):
                effects.append(ServeBatches(Address(envelope.sender), number))
            case _:
                pass

    def _find(self, wanted: bytes) -> Envelope | None:
        if wanted in self.app.items:
            return codec.decode(self.app.items[wanted])
        return lookup(self.round, wanted)
