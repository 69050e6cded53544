"""Bid lists: signed once per round, frozen once per attempt, and the sets that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from protocol.eip712 import digest
from protocol.messages import BidList, Envelope, Kind
from protocol.rounds.context import RoundContext
from protocol.rounds.phases import ATTEMPT, Move, Phase
from protocol.rounds.state import RoundState, SignedList, list_envelope, without
from protocol.rounds.turn import Turn, slot_of
from protocol.types import Hash


def hear_list(turn: Turn, envelope: Envelope, body: BidList) -> None:
    """Keep a member's list: the first counts, a second is evidence, more only when asked for."""
    state, ctx = turn.state, turn.ctx
    if body.member != envelope.sender or envelope.sender not in ctx.members:
        return
    if max(len(body.bids), len(body.outcomes)) > ctx.list_cap:
        return
    turn.heard_own(envelope)
    turn.meet(body.member)
    list_id = digest(ctx.domain, body)
    if list_id in state.lists:
        return
    first = state.first_lists.get(body.member)
    if first is None:
        state.first_lists = {**state.first_lists, body.member: list_id}
    elif first != list_id:
        known = state.conflicts.get(body.member)
        turn.conflict(list_envelope(state.lists[first]), envelope)
        if known is not None and list_id not in state.asked:
            return
    state.asked = without(state.asked, list_id)
    state.lists = {**state.lists, list_id: SignedList(body, envelope.signature)}


def list_due_ms(turn: Turn) -> int:
    """When the own list is signed: bids already under way may arrive until then."""
    return turn.state.attempt_ms + turn.ctx.params.list_wait_ms


def freeze_due_ms(turn: Turn) -> int:
    """The list deadline: others may open a gossip bound later, their lists take another one."""
    params = turn.ctx.params
    return list_due_ms(turn) + 2 * params.gossip_bound_ms + params.clock_bound_ms


def list_signed(turn: Turn) -> bool:
    """Tell whether this node owes no list: it signed its own, or is not on the committee."""
    if turn.ctx.me not in turn.ctx.members:
        return True
    return own_list_slot(turn.state, turn.ctx) in turn.state.said


def sign_list(turn: Turn) -> None:
    """Sign the own list, once per round and never after knowing a PrepareCert of it (rule 4)."""
    state, ctx = turn.state, turn.ctx
    if state.phase not in ATTEMPT or list_signed(turn) or state.valid is not None:
        return
    if turn.now_ms < list_due_ms(turn):
        return
    bids, outcomes = turn.app.listable()
    body = BidList(
        epoch=state.epoch,
        round=state.round,
        member=ctx.me,
        bids=tuple(sorted(bids[: ctx.list_cap])),
        outcomes=tuple(sorted(outcomes[: ctx.list_cap])),
    )
    turn.say(Kind.BID_LIST, body, own_list_slot(turn.state, turn.ctx))


def freeze(turn: Turn) -> None:
    """At the list deadline note whose lists are held, and forward them to the gateway (rule 5)."""
    state = turn.state
    if state.phase is not Phase.COLLECTING or turn.now_ms < freeze_due_ms(turn):
        return
    state.frozen = tuple(member for member in turn.ctx.members if member in state.first_lists)
    turn.move(Move.LISTS_FROZEN)
    if state.valid is not None:
        return  # the gateway proposes the certified Value again and needs no lists
    for member in state.frozen:
        if member != state.gateway:
            signed = state.lists[state.first_lists[member]]
            turn.send(state.gateway, list_envelope(signed))


def sets_of(lists: Sequence[BidList], enough: int) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
    """Bids and outcomes that at least `enough` of the lists carry, ascending (rule 4)."""
    bids = Counter(item for signed in lists for item in signed.bids)
    outcomes = Counter(item for signed in lists for item in signed.outcomes)
    return _carried(bids, enough), _carried(outcomes, enough)


def _carried(counts: Counter[bytes], enough: int) -> tuple[Hash, ...]:
    return tuple(sorted(Hash(item) for item, count in counts.items() if count >= enough))


def own_list_slot(state: RoundState, ctx: RoundContext) -> bytes:
    """Slot of this node's list of the round."""
    return slot_of(Kind.BID_LIST, BidList(state.epoch, state.round, ctx.me, (), ()))
