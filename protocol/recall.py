"""What a node has heard another operator say that still matters: the answer to a Recall.

Certified rounds are over, so only the open round, the asks and receipts in the pool and the jobs
under way count. What a view holds is kept for three views, as long as the round machine itself
counts it. Shares are left out: a Value and the own keys alone give them, the same each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.application import bid_envelope
from protocol.codec import decode, encode
from protocol.messages import Envelope, Kind, Recalled, Vote
from protocol.rounds.state import list_envelope, proposal_envelope, unpack
from protocol.sealing import is_ask
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.replica_state import ReplicaState
    from protocol.rounds.state import RoundState

MAX_REPLY: Final = 900 * 1_024
"""Bytes of statements in one answer, below the frame limit of RECALLED."""
_EARLY: Final = frozenset(
    {Kind.BID_LIST, Kind.PROPOSAL, Kind.PREPARE, Kind.LOCK, Kind.COMMIT, Kind.TIMEOUT}
)
"""What of a round that this node has not begun is kept for it."""


def recalled(state: ReplicaState, me: Address, asker: bytes, nonce: bytes) -> Recalled:
    """The answer of operator `me`; of too many statements those of the round come first."""
    frames: list[bytes] = []
    size = 0
    for frame in dict.fromkeys(_held(state, me, asker)):
        size += len(frame)
        if size > MAX_REPLY:
            break
        frames.append(frame)
    return Recalled(nonce, 0 if state.round is None else state.round.round, tuple(frames))


def _held(state: ReplicaState, me: Address, asker: bytes) -> Iterator[bytes]:
    if state.round is not None:
        for certificate in (state.round.valid, state.round.lock):
            if certificate is not None:
                yield encode(Envelope(Kind.CERTIFICATE, me, certificate, b""))
        yield from map(encode, _of_round(state.round, asker))
    for bid in state.bids.values():
        if is_ask(bid.body) and bid.body.bidder == asker:
            yield encode(bid_envelope(bid))
    for held_receipts in state.receipts.values():
        if (receipt := held_receipts.get(Address(asker))) is not None:
            yield encode(Envelope(Kind.BID_RECEIPT, asker, receipt.body, receipt.signature))
    for held in state.statements.values():
        for frame in held.values():
            if decode(frame).sender == asker:
                yield frame


def _of_round(state: RoundState, asker: bytes) -> Iterator[Envelope]:
    for signed in state.lists.values():
        if signed.body.member == asker:
            yield list_envelope(signed)
    for proposed in (*state.proposed.values(), *state.values.values()):
        if proposed.body.gateway == asker:
            yield proposal_envelope(proposed)
    for kind, tallies in ((Kind.PREPARE, state.prepares), (Kind.LOCK, state.locks)):
        for view, tally in tallies.items():
            if (ballot := tally.get(asker)) is not None:
                vote = Vote(state.epoch, state.round, view, ballot.value)
                yield Envelope(kind, asker, vote, ballot.signature)
    if (commit := state.commits.get(asker)) is not None:
        yield Envelope(Kind.COMMIT, asker, commit.body, commit.signature)
    for heard in state.timeouts.values():
        if asker in heard:
            yield unpack(heard[asker])
    for statement in state.early.get(asker, ()):
        if statement.kind in _EARLY:
            yield unpack(statement)
