"""The round machine: agreement on one Value after the other, Tendermint with decide-before-open.

    state = fresh(epoch, 1, parent, now_ms)                       # a network's first round
    state, effects = step(state, envelope, app, ctx, now_ms)      # a message passed ingress
    state, effects = step(state, None, app, ctx, now_ms)          # time passed, or app changed
    next_deadline_ms(state)                                       # call step(None) then, at latest
    if state.phase is Phase.DECIDED:                              # state.outcome is the record
        # apply state.outcome to the application, then, with the context of the new epoch
        # (state.outcome.value.next_epoch):
        state, effects = next_round(state, app, ctx, now_ms)      # may be DECIDED again: repeat
    state, effects = resume(state, app, ctx, now_ms)              # once after a restart
    lookup(state, id) -> Envelope | None                          # answers a Fetch: lists, Values
    encode_state(state), decode_state(raw)                        # snapshots

`app` is an `Application` and `ctx` a `RoundContext` (both in `protocol/rounds/context.py`, built
by `context(me, table, genesis_ms, params, domain, aggregator)`).

What the owner does: envelopes are handed in only after ingress (membership, signature, PREPARE and
LOCK certificates with their digests recomputed; a COMMIT certificate's quorum, but not what it
signs). Own statements come back as envelopes like any other's. BATCHES are handed in after their
inner envelopes went to the application's pools. FETCH and FETCH_BATCHES are the owner's to answer.
Nothing is done for kinds that agreement does not use.

The table of phases is in `protocol/rounds/phases.py`; the rules by number are those of the protocol
page, "One round".
"""

from __future__ import annotations

from copy import copy

from protocol.effects import Effect
from protocol.errors import LocalProtocolError
from protocol.messages import (
    Batches,
    BidList,
    BidShares,
    Certificate,
    Commit,
    Envelope,
    Kind,
    Proposal,
    Status,
    Timeout,
    Vote,
)
from protocol.rotation import view_start_ms
from protocol.rounds.context import Application, Missing, RoundContext, context
from protocol.rounds.lists import (
    freeze,
    freeze_due_ms,
    hear_list,
    list_due_ms,
    own_list_slot,
    sign_list,
)
from protocol.rounds.opening import hear_shares, reveal
from protocol.rounds.phases import ATTEMPT, Move, Phase, after
from protocol.rounds.presence import (
    MAX_AHEAD,
    announce,
    ask_ahead,
    busy,
    follow_clock,
    hear_batches,
    hear_certificate,
    hear_other_round,
    hear_status,
    hear_timeout,
    open_attempt,
    resend,
)
from protocol.rounds.proposals import consider, fresh_at_ms, hear_proposal, propose, propose_at_ms
from protocol.rounds.state import (
    RoundState,
    decode_state,
    encode_state,
    fresh,
    list_envelope,
    proposal_envelope,
    unpack,
)
from protocol.rounds.turn import Turn
from protocol.rounds.votes import (
    adopt,
    count_commits,
    decide,
    hear_commit,
    hear_vote,
    learned_view,
    sign_commit,
    sign_lock,
)

__all__ = [
    "Application",
    "Missing",
    "Phase",
    "RoundContext",
    "RoundState",
    "context",
    "decode_state",
    "encode_state",
    "fresh",
    "list_is_closed",
    "lookup",
    "next_deadline_ms",
    "next_round",
    "resume",
    "step",
]

_AGREEMENT = BidList | Proposal | Vote | BidShares | Commit | Timeout | Status | Certificate

Stepped = tuple[RoundState, list[Effect]]


def step(
    state: RoundState, event: Envelope | None, app: Application, ctx: RoundContext, now_ms: int
) -> Stepped:
    """Take in a message, or None when time passed or the application changed."""
    turn = Turn(copy(state), app, ctx, now_ms)
    follow_clock(turn)
    if event is not None and ctx.table.position_of(event.sender) is not None:
        _hear(turn, event)
    return _advance(turn)


def next_round(state: RoundState, app: Application, ctx: RoundContext, now_ms: int) -> Stepped:
    """Begin the round after a decided one, at once; what came early for it is heard now."""
    record = state.outcome
    if record is None:
        raise LocalProtocolError("the round is not decided")
    begun = fresh(record.value.next_epoch, state.round + 1, record.certificate.digest, now_ms)
    begun.phase = after(state.phase, Move.ROUND_BEGUN)
    begun.view = state.view
    begun.gateway = state.gateway
    begun.answered = state.answered
    begun.catch_up = {n: held for n, held in state.catch_up.items() if n > state.round}
    if state.round in state.catch_up and state.round + 1 not in state.catch_up:
        # Who handed the last record may have had no room for the next one.
        begun.ahead, begun.ahead_ms = state.ahead, now_ms
    turn = Turn(begun, app, ctx, now_ms)
    begun.gateway = turn.leader_of(begun.view)
    follow_clock(turn)
    for kept in state.early.values():
        for statement in kept:
            _hear(turn, unpack(statement))
    return _advance(turn)


def resume(state: RoundState, app: Application, ctx: RoundContext, now_ms: int) -> Stepped:
    """After a restart: publish again what was said in the open round, ask again what is awaited.

    A LOCK may have been forgotten with a part of the disk: the highest PrepareCert known passes for
    locked, so that agreement does not lean on this node's memory.
    """
    turn = Turn(copy(state), app, ctx, now_ms)
    turn.state.lock_view = max(state.lock_view, learned_view(state.valid))
    turn.say_again()
    turn.state.asked = {}
    turn.state.answered = {}
    if turn.state.phase is not Phase.DECIDED:
        rows = ctx.table.operators
        own = ctx.table.position_of(ctx.me) or 0
        # Rounds may have been decided meanwhile, and an idle network would not tell.
        turns = range(1, min(len(rows), MAX_AHEAD + 1))
        turn.state.ahead = tuple(rows[(own + place) % len(rows)].operator for place in turns)
        turn.state.ahead_ms = now_ms
    follow_clock(turn)
    return _advance(turn)


def next_deadline_ms(state: RoundState) -> int | None:
    """When to step at the latest; None: only a message or the application can change things."""
    return state.deadline_ms


def list_is_closed(state: RoundState, ctx: RoundContext) -> bool:
    """Tell whether this node's list of the open round takes no more bids, or will never be."""
    certified = state.valid is not None or state.lock is not None
    return certified or own_list_slot(state, ctx) in state.said


def lookup(state: RoundState, wanted: bytes) -> Envelope | None:
    """A list by its id, or a proposal that carries a Value by its digest: the answer to a Fetch."""
    if wanted in state.lists:
        return list_envelope(state.lists[wanted])
    if wanted in state.values:
        return proposal_envelope(state.values[wanted])
    return None


def _hear(turn: Turn, envelope: Envelope) -> None:
    body = envelope.body
    if isinstance(body, Batches):
        hear_batches(turn, body)
        return
    if not isinstance(body, _AGREEMENT):
        return
    if body.round != turn.state.round:
        hear_other_round(turn, envelope, body.round)
        return
    if body.epoch != turn.state.epoch or turn.state.phase is Phase.DECIDED:
        return
    match body:
        case BidList():
            hear_list(turn, envelope, body)
        case Proposal():
            hear_proposal(turn, envelope, body)
        case Vote():
            hear_vote(turn, envelope, Kind(envelope.kind), body)
        case BidShares():
            hear_shares(turn, envelope, body)
        case Commit():
            hear_commit(turn, envelope, body)
        case Timeout():
            hear_timeout(turn, envelope, body)
        case Status():
            hear_status(turn, envelope, body)
        case Certificate():
            hear_certificate(turn, envelope, body)


def _advance(turn: Turn) -> Stepped:
    """Do everything that what is known by now allows, in the order of the phases."""
    adopt(turn)
    count_commits(turn)
    decide(turn)
    reveal(turn)
    sign_commit(turn)
    announce(turn)
    open_attempt(turn)
    announce(turn)
    sign_list(turn)
    freeze(turn)
    propose(turn)
    consider(turn)
    sign_lock(turn)
    resend(turn)
    ask_ahead(turn)
    turn.state.deadline_ms = _deadline_ms(turn)
    return turn.state, turn.effects


def _deadline_ms(turn: Turn) -> int | None:
    state, ctx = turn.state, turn.ctx
    if state.phase is Phase.DECIDED:
        return None
    due = [state.resend_ms] if busy(turn) else []
    if state.ahead:
        due.append(state.ahead_ms)
    if state.phase in ATTEMPT or state.phase is Phase.WAITING:
        due.append(view_start_ms(state.view + 1, ctx.genesis_ms, ctx.params.view_ms))
    if state.phase in ATTEMPT:
        due += [list_due_ms(turn), freeze_due_ms(turn), propose_at_ms(turn), fresh_at_ms(turn)]
    later = [at for at in due if at > turn.now_ms]
    return min(later, default=None)
