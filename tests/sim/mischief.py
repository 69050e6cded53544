"""What faulty operators do. All of them collude, and know each other's keys but nobody else's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Protocol, cast

import msgspec

from protocol import codec
from protocol.claims import (
    COMBINE_VALUES,
    encode_combine,
    encode_segment,
    parse_combine,
    parse_segment,
)
from protocol.effects import Effect, Publish, SendTo, ServeBatches
from protocol.eip712 import body_digest, digest, value_digest
from protocol.messages import (
    BidList,
    BidShares,
    Body,
    Certificate,
    Commit,
    Envelope,
    Kind,
    Proposal,
    SealedBid,
    SegmentResult,
    Value,
    Vote,
)
from protocol.params import ProtocolParams
from protocol.round import RoundContext, RoundState
from protocol.rounds.lists import sets_of
from protocol.types import Address
from tests.sim import timing
from tests.sim.bidders import short
from tests.sim.world import Shell, World, signed_envelope

HABITS = (
    "mute",
    "split",
    "double_vote",
    "stale",
    "selective",
    "wrap",
    "two_lists",
    "hoard",
    "withhold",
    "lie",
)
MARKET_HABITS = ("two_asks", "two_results")
"""Of runs over the whole replica alone."""
LATER_HABITS = (
    "omit",
    "vanish",
    "misclear",
    "late",
    "last_moment",
    "backdate",
    "whisper",
    "hide",
    "hold_commit",
    "replay",
)
LATER_MARKET_HABITS = ("vouch", "short_asks")
ASKING = frozenset({Kind.FETCH, Kind.FETCH_BATCHES})


@dataclass
class Mischief:
    """The habits of this run's faulty operators."""

    habits: frozenset[str]
    rng: Random
    params: ProtocolParams
    done: Counter[str] = field(default_factory=Counter)
    """How often each of the later habits showed."""

    def __call__(self, world: World, shell: Shell, effect: object) -> list[Effect] | None:
        """Effects instead of the one that an honest machine wants; None: leave it."""
        asks = isinstance(effect, SendTo) and effect.envelope.kind in ASKING
        if isinstance(effect, SendTo | ServeBatches) and not asks:
            # Asked for what it holds, it has nothing.
            return [] if self.does("hide", 0.5) else None
        if not isinstance(effect, Publish):
            return None
        if self.does("replay", 0.3):
            self._replay(world, shell)
        instead = timing.instead(self, world, shell, effect)
        return self._say(world, shell, effect) if instead is None else instead

    def does(self, habit: str, odds: float = 1.0) -> bool:
        """Tell whether they do it this time, and count it."""
        does = habit in self.habits and (odds == 1.0 or self.rng.random() < odds)
        self.done[habit] += does
        return does

    def _say(self, world: World, shell: Shell, effect: Publish) -> list[Effect] | None:
        """Another content, or other hearers, than an honest machine's."""
        body = effect.body
        match body:
            case Proposal():
                return self._propose(world, shell, body)
            case SealedBid() | SegmentResult() if (twice := self._doubled(body)) is not None:
                both = [sign(world, shell, effect.kind, each) for each in twice]
                self._split_send(world, shell, both)
                return []
            case BidShares():
                return self._reveal(world, shell, body)
            case Commit() if self.does("misclear"):
                wrong = msgspec.structs.replace(body, root=self.rng.randbytes(32))
                both = [sign(world, shell, Kind.COMMIT, each) for each in (body, wrong)]
                self._split_send(world, shell, both)
                return []
            case BidList() if lists := self._lists(world, shell, body):
                self._split_send(world, shell, lists)
                return []
            case Vote() if {"split", "double_vote"} <= self.habits and self._leads(world, shell):
                return []  # voted when it proposed, to each node as suits
            case Vote() if effect.kind is Kind.LOCK and "hoard" in self.habits:
                # Only one node learns of it: its LockCert stays alone.
                envelope = sign(world, shell, Kind.LOCK, body)
                self._send(world, shell, self.rng.randrange(len(world.nodes)), envelope)
                return []
            case Vote() if effect.kind is Kind.PREPARE and "wrap" in self.habits:
                self._wrap(world, shell)
        if "selective" in self.habits and effect.kind != Kind.STATUS:
            envelope = sign(world, shell, effect.kind, body)
            for target in range(len(world.nodes)):
                if target == shell.index or self.rng.random() < 0.5:
                    self._send(world, shell, target, envelope)
            return []
        return None

    def _propose(self, world: World, shell: Shell, body: Proposal) -> list[Effect] | None:
        if "mute" in self.habits and self.rng.random() < 0.5:
            return []
        bodies = [body]
        if body.prepare is None and (less := _omitting(body.value)) and self.does("omit"):
            bodies.append(replace_proposal(body, less))
        fresh = _other_value(shell, self.rng)
        if "stale" in self.habits and fresh is not None:
            # A fresh Value although a certificate is known.
            bodies = [replace_proposal(body, fresh)]
        other = _other_value(shell, self.rng)
        if "split" in self.habits and other is not None:
            bodies.append(replace_proposal(body, other))
        if bodies == [body] and "vanish" not in self.habits:
            return None
        for target in range(len(world.nodes)):
            if "vanish" not in self.habits or target == shell.index or self.rng.random() < 0.5:
                self._push(world, shell, target, self.rng.choice(bodies))
        if self.does("vanish"):
            back = world.now_ms + self.rng.randint(1, 3 * self.params.view_ms)
            world.crash(shell.index)
            world.at(back, partial(world.restart, shell.index))
        return []

    def _doubled(self, body: SealedBid | SegmentResult) -> Sequence[Body] | None:
        """Two statements of which each honest node shall see one."""
        if isinstance(body, SealedBid):
            if self.does("short_asks", 0.5):
                return [short(body, self.rng), body]
            return _two_asks(body) if "two_asks" in self.habits else None
        return _two_results(body) if "two_results" in self.habits else None

    def _reveal(self, world: World, shell: Shell, body: BidShares) -> list[Effect] | None:
        if "withhold" in self.habits and self.rng.random() < 0.5:
            return []
        if "lie" not in self.habits:
            return None
        wrong = tuple(self.rng.randbytes(32) for _ in body.shares)
        lies = [body, msgspec.structs.replace(body, shares=wrong)]
        self._split_send(world, shell, [sign(world, shell, Kind.BID_SHARES, lie) for lie in lies])
        return []

    def _push(self, world: World, shell: Shell, target: int, body: Proposal) -> None:
        """Show one node one proposal, with every accomplice's votes for just that one."""
        self._send(world, shell, target, sign(world, shell, Kind.PROPOSAL, body))
        if "double_vote" not in self.habits:
            return
        value = value_digest(world.ingress.domain, body.value)
        vote = Vote(body.epoch, body.round, body.view, value)
        for accomplice in world.nodes:
            if not accomplice.honest and accomplice.alive:
                for kind in (Kind.PREPARE, Kind.LOCK):
                    envelope = sign(world, accomplice, kind, vote)
                    self._send(world, accomplice, target, envelope)

    def _replay(self, world: World, shell: Shell) -> None:
        """Frames of anybody, said long ago, to anybody; some with a byte changed."""
        for said in self.rng.choices(list(world.frames) or [b""], k=3):
            frame = bytearray(said)
            if frame and self.rng.random() < 0.25:
                frame[self.rng.randrange(len(frame))] ^= 1
            self.send_frame(world, shell, self.rng.randrange(len(world.nodes)), bytes(frame))

    def _leads(self, world: World, shell: Shell) -> bool:
        """Tell whether one of the colluders is gateway of the view that this one is in."""
        leader = own(shell).round.gateway
        return any(leader == node.machine.address for node in world.nodes if not node.honest)

    def _lists(self, world: World, shell: Shell, body: BidList) -> list[Envelope]:
        """Lists instead of the honest one; none: leave it."""
        if self.does("vouch"):
            return [sign(world, shell, Kind.BID_LIST, _vouched(world, shell, body))]
        return self._two_lists(world, shell, body) if "two_lists" in self.habits else []

    def _two_lists(self, world: World, shell: Shell, body: BidList) -> list[Envelope]:
        other = msgspec.structs.replace(body, bids=body.bids[1:], outcomes=body.outcomes[1:])
        if other == body:
            other = msgspec.structs.replace(body, bids=(bytes(31) + b"\x02",))
        return [sign(world, shell, Kind.BID_LIST, each) for each in (body, other)]

    def _split_send(self, world: World, shell: Shell, envelopes: list[Envelope]) -> None:
        """Each node gets one of the envelopes, some get both."""
        for target in range(len(world.nodes)):
            chosen = [self.rng.choice(envelopes)]
            if target == shell.index or self.rng.random() < 0.2:
                chosen = envelopes
            for envelope in chosen:
                self._send(world, shell, target, envelope)

    def _wrap(self, world: World, shell: Shell) -> None:
        """Pass PREPAREs, and their certificate, off as COMMITs of somebody else."""
        machine = own(shell)
        state = machine.round
        for view, tally in state.prepares.items():
            for sender, ballot in tally.items():
                commit = Commit(
                    epoch=state.epoch,
                    round=state.round,
                    value=ballot.value,
                    sequence=view,
                    parent=bytes(32),
                    root=bytes(32),
                    paid=bytes(32),
                    debits_hash=bytes(32),
                )
                world.broadcast(
                    shell.index, Envelope(Kind.COMMIT, sender, commit, ballot.signature)
                )
        held = state.valid
        if held is not None:
            wrapped = msgspec.structs.replace(held, kind=int(Kind.COMMIT), view=0)
            assert isinstance(wrapped, Certificate)
            world.broadcast(shell.index, Envelope(Kind.CERTIFICATE, machine.address, wrapped, b""))

    def _send(self, world: World, shell: Shell, target: int, envelope: Envelope) -> None:
        self.send_frame(world, shell, target, codec.encode(envelope))

    def send_frame(
        self, world: World, shell: Shell, target: int, frame: bytes, at_ms: int | None = None
    ) -> None:
        """Over the link, or at a time: who colludes chooses when, a parted network stays parted."""
        delay = 0 if target == shell.index else world.rng.randint(*world.links.delay_ms)
        if target == shell.index or world.links.open(shell.index, target):
            world.at(at_ms or world.now_ms + delay, partial(world.receive, target, frame))


def _two_asks(body: SealedBid) -> tuple[SealedBid, SealedBid]:
    """Another one that opens to nothing that counts, for every member alike."""
    return body, msgspec.structs.replace(body, commitment=bytes(31) + b"\x03")


def _two_results(body: SegmentResult) -> list[SegmentResult]:
    """Two statements about one segment, each of which a proof may bear out."""
    if len(body.publics) == COMBINE_VALUES:
        combined = parse_combine(body.publics)
        other = encode_combine(replace(combined, total=combined.total + 1))
    else:
        values = parse_segment(body.publics)
        other = encode_segment(replace(values, root_hash=values.root_hash + 1_000))
    return [body, msgspec.structs.replace(body, publics=other)]


def replace_proposal(body: Proposal, value: Value) -> Proposal:
    return msgspec.structs.replace(body, value=value, prepare=None)


def _omitting(value: Value) -> Value | None:
    """The same lists, and a bid or an outcome of theirs left out."""
    if value.bids:
        return msgspec.structs.replace(value, bids=value.bids[1:])
    return msgspec.structs.replace(value, outcomes=value.outcomes[1:]) if value.outcomes else None


def _vouched(world: World, shell: Shell, body: BidList) -> BidList:
    """A list that carries every bid ever heard of: also those with a bad share for this member."""
    more = sorted(world.ingress.bids)[: own(shell).ctx.list_cap - len(body.bids)]
    return msgspec.structs.replace(body, bids=tuple(sorted({*body.bids, *more})))


def _other_value(shell: Shell, rng: Random) -> Value | None:
    """A valid fresh Value out of another choice of the lists that this node holds."""
    machine = own(shell)
    state, ctx = machine.round, machine.ctx
    choice = dict(state.first_lists)
    for list_id, signed in state.lists.items():
        if rng.random() < 0.5:
            choice[signed.body.member] = list_id
    members = sorted(choice)
    rng.shuffle(members)
    members = members[: rng.randint(ctx.enough_lists, max(ctx.enough_lists, len(members)))]
    if len(members) < ctx.enough_lists:
        return None
    lists = [state.lists[choice[member]].body for member in members]
    bids, outcomes = sets_of(lists, ctx.enough_lists)
    return Value(
        epoch=state.epoch,
        round=state.round,
        parent=state.parent,
        lists=tuple(sorted(digest(ctx.domain, body) for body in lists)),
        bids=bids,
        outcomes=outcomes,
        evidence=(),
        next_epoch=1,
    )


def sign(world: World, shell: Shell, kind: Kind, body) -> Envelope:  # type: ignore[no-untyped-def]
    """Sign without any guard."""
    signed = body_digest(world.ingress.domain, kind, body)
    return signed_envelope(shell.machine.address, kind, body, signed, world.ingress.keys)


class Agreeing(Protocol):
    """What a faulty operator looks up in its own, honest machine."""

    address: Address

    @property
    def round(self) -> RoundState: ...
    @property
    def ctx(self) -> RoundContext: ...


def own(shell: Shell) -> Agreeing:
    return cast(Agreeing, shell.machine)
