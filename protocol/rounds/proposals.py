"""Proposals: what a gateway puts forward, and what a voter accepts."""

from __future__ import annotations

from protocol.eip712 import value_digest
from protocol.errors import RejectionReason
from protocol.messages import Envelope, Kind, Proposal, Value, Vote
from protocol.rounds.context import Missing
from protocol.rounds.lists import freeze_due_ms, list_signed, sets_of
from protocol.rounds.phases import Move, Phase
from protocol.rounds.state import SignedProposal, list_envelope, proposal_envelope, without
from protocol.rounds.turn import Turn, slot_of
from protocol.rounds.votes import learn_prepare, learned_view, of_this_round

_AWAITING = frozenset({Phase.COLLECTING, Phase.FROZEN})


def hear_proposal(turn: Turn, envelope: Envelope, body: Proposal) -> None:
    """Keep the first proposal of each view near this one, and any Value that is asked for."""
    state, value = turn.state, body.value
    if body.gateway != envelope.sender or envelope.sender != turn.leader_of(body.view):
        return
    if (value.epoch, value.round, value.parent) != (state.epoch, state.round, state.parent):
        return
    digest = value_digest(turn.ctx.domain, value)
    if not _sound_certificate(turn, body, digest):
        return
    turn.heard_own(envelope)
    if body.prepare is not None:
        learn_prepare(turn, body.prepare)
    heard = SignedProposal(body, envelope.signature, digest)
    if digest in state.asked:
        state.asked = without(state.asked, digest)
        _serve(turn, heard)
    if not turn.near(body.view):
        return
    known = state.proposed.get(body.view)
    if known is not None and known.value != digest:
        turn.conflict(proposal_envelope(known), envelope)
        return
    if known is not None and learned_view(body.prepare) <= learned_view(known.body.prepare):
        return
    # The certificate is not under the signature: the same proposal may come with a higher one.
    state.proposed = {**state.proposed, body.view: heard}
    _serve(turn, heard)
    if known is not None and state.refused_view == body.view:
        state.refused_view = -1


def _serve(turn: Turn, heard: SignedProposal) -> None:
    if heard.value not in turn.state.values:
        turn.state.values = {**turn.state.values, heard.value: heard}


def propose_at_ms(turn: Turn) -> int:
    """Earliest time at which a gateway proposes in a view (rule 2)."""
    return turn.view_start_ms + turn.settle_ms


def fresh_at_ms(turn: Turn) -> int:
    """When it proposes without some member's list: strictly later than freeze and bounds."""
    return freeze_due_ms(turn) + turn.settle_ms + 1


def propose(turn: Turn) -> None:
    """As this view's gateway put forward the highest certified Value known, else a fresh one."""
    state = turn.state
    if state.gateway != turn.ctx.me or state.phase not in _AWAITING:
        return
    slot = slot_of(Kind.PROPOSAL, Vote(state.epoch, state.round, state.view, b""))
    if turn.now_ms < propose_at_ms(turn) or slot in state.said:
        return
    if learned_view(state.valid) >= state.view:
        return  # a quorum is ahead of this clock, and past the need of a proposal
    if state.valid is None:
        value = _fresh_value(turn)
    elif state.valid.value in state.values:
        value = state.values[state.valid.value].body.value
    else:
        turn.fetch((state.valid.value,), turn.leader_of(state.valid.view))
        return
    if value is not None:
        place = (state.epoch, state.round, state.view, turn.ctx.me)
        body = Proposal(*place, value=value, prepare=state.valid)
        turn.say(Kind.PROPOSAL, body, slot)


def consider(turn: Turn) -> None:
    """Sign PREPARE for this view's proposal once everything it needs is known to be right."""
    state = turn.state
    heard = state.proposed.get(state.view)
    if heard is None or state.phase not in _AWAITING or state.refused_view == state.view:
        return
    reason = _objection(turn, heard)
    if reason is None:
        vote = Vote(state.epoch, state.round, state.view, heard.value)
        turn.say(Kind.PREPARE, vote, slot_of(Kind.PREPARE, vote))
        turn.move(Move.PREPARE_SIGNED)
    elif not reason.value.retryable:
        state.refused_view = state.view
        turn.record("proposal_refused", reason=reason.code, gateway=state.gateway.hex())


def respects_lock(turn: Turn, proposal: Proposal) -> bool:
    """Rule 1: its PrepareCert (none = lowest) is no lower than the highest LOCK signed here."""
    return learned_view(proposal.prepare) >= turn.state.lock_view


def _objection(turn: Turn, heard: SignedProposal) -> RejectionReason | None:
    """Why not to PREPARE now; a retryable reason may go away within the view."""
    body = heard.body
    if not respects_lock(turn, body):
        return RejectionReason.LOCKED
    if body.prepare is None:
        reason = _against_lists(turn, body.value)
        if reason is not None:
            return reason
    verdict = turn.app.judge(body.value)
    if isinstance(verdict, Missing):
        turn.fetch(verdict.ids, body.gateway)
        return RejectionReason.BODY_MISSING
    return verdict or turn.app.may_vote()


def _against_lists(turn: Turn, value: Value) -> RejectionReason | None:
    """Rules 4 and 5, for fresh proposals only."""
    state, ctx = turn.state, turn.ctx
    if not list_signed(turn):
        return RejectionReason.LIST_NOT_SIGNED
    absent = [list_id for list_id in value.lists if list_id not in state.lists]
    if absent:
        turn.fetch(absent, state.gateway)
        return RejectionReason.BODY_MISSING
    lists = [state.lists[list_id].body for list_id in value.lists]
    members = {body.member for body in lists}
    if len(members) != len(lists) or len(members) < ctx.enough_lists:
        return RejectionReason.TOO_FEW_LISTS
    if sets_of(lists, ctx.enough_lists) != (value.bids, value.outcomes):
        _accuse_gateway(turn, value)
        return RejectionReason.WRONG_BID_SET
    if value.evidence:
        return RejectionReason.WRONG_BID_SET
    if len(members) < len(ctx.members):
        # Who is left out may still be heard of in time: judged at the list deadline.
        if state.frozen is None:
            return RejectionReason.TOO_SOON
        if not members.issuperset(state.frozen):
            return RejectionReason.LIST_LEFT_OUT
    return None


def _accuse_gateway(turn: Turn, value: Value) -> None:
    """The proposal of this view with the lists that it embeds proves that its sets are wrong."""
    heard = turn.state.proposed[turn.state.view]
    lists = [list_envelope(turn.state.lists[list_id]) for list_id in value.lists]
    turn.conflict(proposal_envelope(heard), *lists)


def _fresh_value(turn: Turn) -> Value | None:
    """The Value that follows from the lists held, or None while more of them may come."""
    state, ctx = turn.state, turn.ctx
    held = state.first_lists
    everybody = len(held) == len(ctx.members)
    if not list_signed(turn) or len(held) < ctx.enough_lists:
        return None
    if not everybody and turn.now_ms < fresh_at_ms(turn):
        return None
    bids, outcomes = sets_of([state.lists[item].body for item in held.values()], ctx.enough_lists)
    return Value(
        epoch=state.epoch,
        round=state.round,
        parent=state.parent,
        lists=tuple(sorted(held.values())),
        bids=bids,
        outcomes=outcomes,
        evidence=(),
        next_epoch=turn.app.next_epoch(),
    )


def _sound_certificate(turn: Turn, body: Proposal, digest: bytes) -> bool:
    """A re-proposal carries a PrepareCert of this very Value from an earlier view."""
    held = body.prepare
    return held is None or (
        of_this_round(turn, held, Kind.PREPARE) and held.value == digest and held.view < body.view
    )
