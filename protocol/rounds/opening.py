"""Opening: members' shares of the decided Value's bids, revealed against its LockCert alone."""

from __future__ import annotations

from protocol.messages import BidShares, Envelope, Kind
from protocol.rounds.context import Missing
from protocol.rounds.phases import Phase
from protocol.rounds.state import value_held
from protocol.rounds.turn import Turn, slot_of

MAX_VALUES_PER_MEMBER = 2
"""A member that reveals for a Value that is not decided must not keep its true shares out."""


def reveal(turn: Turn) -> None:
    """Reveal the own shares, once every bid of the decided Value is held."""
    state, ctx = turn.state, turn.ctx
    if state.lock is None or state.phase is not Phase.OPENING or ctx.me not in ctx.members:
        return
    value = value_held(state, state.lock.value)
    if value is None:
        turn.fetch((state.lock.value,), turn.leader_of(state.lock.view))
        return
    if not value.bids:
        return
    shares = turn.app.reveal(value)
    if isinstance(shares, Missing):
        turn.fetch(shares.ids, turn.leader_of(state.lock.view))
        return
    body = BidShares(state.epoch, state.round, ctx.me, state.lock.value, shares)
    turn.say(Kind.BID_SHARES, body, slot_of(Kind.BID_SHARES, body))


def hear_shares(turn: Turn, envelope: Envelope, body: BidShares) -> None:
    """Keep a member's shares; whether they are good its bids' hashes tell."""
    state = turn.state
    if body.member != envelope.sender or envelope.sender not in turn.ctx.members:
        return
    turn.heard_own(envelope)
    known = state.shares.get(envelope.sender, ())
    if all(held.value != body.value for held in known):
        known = (*known, body)[-MAX_VALUES_PER_MEMBER:]
        state.shares = {**state.shares, envelope.sender: known}


def revealed(turn: Turn, value: bytes) -> tuple[BidShares, ...]:
    """What members revealed of a Value's bids."""
    return tuple(
        held for member in turn.state.shares.values() for held in member if held.value == value
    )
