"""All that a node remembers of the round it works on. msgspec encodes and decodes it.

What is kept of every operator is out of the garbage collector's sight (`gc=False`): it cannot be
part of a cycle, and looking through all of it again and again took a third of a large network's
time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from protocol.errors import LocalProtocolError
from protocol.messages import (
    BODY_TYPES,
    BidList,
    BidShares,
    Certificate,
    Commit,
    DecidedRound,
    Envelope,
    Kind,
    Proposal,
    Value,
)
from protocol.rounds.phases import Phase

_K = TypeVar("_K")
_V = TypeVar("_V")


class Statement(msgspec.Struct, frozen=True, gc=False):
    """An envelope whose body is kept encoded, its type being known by the kind only."""

    kind: int
    sender: bytes
    body: bytes
    signature: bytes
    """Empty while this node's own statement has not come back signed."""


class SignedList(msgspec.Struct, frozen=True):
    """A member's list with its signature."""

    body: BidList
    signature: bytes


class SignedProposal(msgspec.Struct, frozen=True):
    """A gateway's proposal with its signature and the digest of its Value."""

    body: Proposal
    signature: bytes
    value: bytes


class Ballot(msgspec.Struct, frozen=True, gc=False):
    """One operator's PREPARE or LOCK of the Value with this digest."""

    value: bytes
    signature: bytes


class SignedCommit(msgspec.Struct, frozen=True, gc=False):
    """An operator's COMMIT, with the digest of the batch that it signs."""

    body: Commit
    signature: bytes
    batch: bytes


class Asked(msgspec.Struct, frozen=True):
    """When a body was asked for last, and how often."""

    at_ms: int
    times: int


class Conflict(msgspec.Struct, frozen=True):
    """Statements that prove a fault of the first one's sender (`protocol/evidence.py`)."""

    statements: tuple[Statement, ...]


class RoundState(msgspec.Struct):
    """State of one round. `step` works on a copy: a state handed out never changes.

    Its containers are replaced when something comes in, never changed: the copy shares them, and a
    step pays for what it writes alone, however many operators there are.
    """

    epoch: int
    round: int
    parent: bytes
    phase: Phase
    began_ms: int

    view: int
    gateway: bytes
    attempt_ms: int
    """Start of this view's attempt on the own clock; its list deadlines count from here."""
    refused_view: int
    """View whose proposal is refused for good; -1: none."""
    frozen: tuple[bytes, ...] | None
    """Members whose list was held at this attempt's list deadline."""

    announced: frozenset[bytes]
    """Members known to work on this round: f+1 of them open an attempt."""
    said: Mapping[bytes, Statement]
    """Own statements by slot that still matter: re-sent, and published again after a crash."""

    lists: Mapping[bytes, SignedList]
    """By id; at most two per member, besides those that a proposal names."""
    first_lists: Mapping[bytes, bytes]
    """Member -> id of its list that counts."""
    proposed: Mapping[int, SignedProposal]
    """View -> its proposal that counts."""
    values: Mapping[bytes, SignedProposal]
    """Value digest -> a proposal that carries it: served to whoever asks."""

    prepares: Mapping[int, Mapping[bytes, Ballot]]
    locks: Mapping[int, Mapping[bytes, Ballot]]
    timeouts: Mapping[int, Mapping[bytes, Statement]]
    shares: Mapping[bytes, tuple[BidShares, ...]]
    """Member -> what it revealed; more than one only if it spoke of several Values."""
    commits: Mapping[bytes, SignedCommit]

    valid: Certificate | None
    """Highest PrepareCert known: what a gateway proposes again (validValue)."""
    lock_view: int
    """Highest view for which this node signed LOCK; -1: none (lockedValue)."""
    timed_out: int
    """Highest view for which this node signed a Timeout; -1: none."""
    lock: Certificate | None
    """The LockCert: the Value is decided."""
    outcome: DecidedRound | None
    """The decided round, in phase DECIDED."""

    early: Mapping[bytes, tuple[Statement, ...]]
    """Messages of rounds to come, bounded per sender."""
    catch_up: Mapping[int, DecidedRound]
    """Decided rounds handed by a peer and not adopted yet."""
    asked: Mapping[bytes, Asked]
    answered: Mapping[bytes, int]
    """Sender of a message of an older round -> when it was answered."""
    ahead: tuple[bytes, ...]
    """Peers that work on a later round; the first is asked for what was decided."""
    ahead_ms: int
    conflicts: Mapping[bytes, Conflict]
    """One fault per operator."""

    pause_ms: int
    """From the last repetition of own statements, or the last own move, to the next repetition."""
    resend_ms: int
    deadline_ms: int | None


def fresh(epoch: int, round_number: int, parent: bytes, now_ms: int) -> RoundState:
    """An idle round about which nothing is known."""
    return RoundState(
        epoch=epoch,
        round=round_number,
        parent=parent,
        phase=Phase.IDLE,
        began_ms=now_ms,
        view=-1,
        gateway=b"",
        attempt_ms=0,
        refused_view=-1,
        frozen=None,
        announced=frozenset(),
        said={},
        lists={},
        first_lists={},
        proposed={},
        values={},
        prepares={},
        locks={},
        timeouts={},
        shares={},
        commits={},
        valid=None,
        lock_view=-1,
        timed_out=-1,
        lock=None,
        outcome=None,
        early={},
        catch_up={},
        asked={},
        answered={},
        ahead=(),
        ahead_ms=0,
        conflicts={},
        pause_ms=0,
        resend_ms=now_ms,
        deadline_ms=None,
    )


def pack(envelope: Envelope) -> Statement:
    """An envelope as the state keeps it."""
    body = msgspec.msgpack.encode(envelope.body)
    return Statement(envelope.kind, envelope.sender, body, envelope.signature)


def unpack(statement: Statement) -> Envelope:
    """The envelope of a kept statement; raises LocalProtocolError if the snapshot is damaged."""
    try:
        body = msgspec.msgpack.decode(statement.body, type=BODY_TYPES[Kind(statement.kind)])
    except ValueError as exc:
        raise LocalProtocolError("a kept statement does not decode") from exc
    return Envelope(statement.kind, statement.sender, body, statement.signature)  # type: ignore[arg-type]


def encode_state(state: RoundState) -> bytes:
    """A round's state for a snapshot."""
    return msgspec.msgpack.encode(state)


def decode_state(raw: bytes) -> RoundState:
    """A round's state out of a snapshot; raises LocalProtocolError if it is damaged."""
    try:
        return msgspec.msgpack.decode(raw, type=RoundState)
    except ValueError as exc:
        raise LocalProtocolError("the round's snapshot does not decode") from exc


def list_envelope(signed: SignedList) -> Envelope:
    """A list as it crossed the wire."""
    return Envelope(Kind.BID_LIST, signed.body.member, signed.body, signed.signature)


def proposal_envelope(signed: SignedProposal) -> Envelope:
    """A proposal as it crossed the wire."""
    return Envelope(Kind.PROPOSAL, signed.body.gateway, signed.body, signed.signature)


def value_held(state: RoundState, value: bytes) -> Value | None:
    """Body of a Value by its digest."""
    held = state.values.get(value)
    return None if held is None else held.body.value


def without(held: Mapping[_K, _V], key: _K) -> Mapping[_K, _V]:
    """A container less one key; itself if the key is not in it."""
    return {each: value for each, value in held.items() if each != key} if key in held else held
