"""The phases of one round, and the rules that bind a voter and a gateway."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from protocol.effects import Broadcast, Decided, Publish, Record, SendTo, ServeBatches
from protocol.eip712 import batch_digest, batch_of, digest, value_digest
from protocol.errors import LocalProtocolError, RejectionReason
from protocol.messages import (
    Batches,
    Commit,
    DecidedRound,
    Envelope,
    Kind,
    Proposal,
    Timeout,
    Value,
)
from protocol.params import DEVNET
from protocol.round import Phase, fresh, lookup, next_deadline_ms, next_round, resume, step
from protocol.rounds.phases import TABLE, Move, after, mermaid
from protocol.rounds.state import decode_state, encode_state
from protocol.types import ZERO_HASH, Hash
from scripts.diagrams import ROUNDS, with_diagram
from tests.protocol.round_bench import FREEZE, LIST_DUE, SETTLE, VIEW, Bench, item

A, B = item(1), item(2)


# ---------------------------------------------------------------------- opening an attempt


def test_an_idle_network_is_silent() -> None:
    bench = Bench()
    assert bench.tick(10 * VIEW) == []
    assert next_deadline_ms(bench.state) is None


def test_something_pending_is_announced_and_f_plus_1_members_open_an_attempt() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    assert [e.body.pending for e in bench.spoken(Kind.STATUS)] == [True]  # type: ignore[union-attr]
    assert bench.state.phase is Phase.IDLE
    bench.hear(bench.status(bench.others()[0]))
    assert bench.state.phase is Phase.COLLECTING


def test_one_faulty_member_opens_nothing() -> None:
    bench = Bench()
    bench.tick(VIEW)
    for _ in range(3):
        bench.hear(bench.status(bench.others()[0]))
    assert bench.state.phase is Phase.IDLE
    assert bench.said == []


def test_after_the_list_cut_off_the_attempt_is_the_next_view_s() -> None:
    bench = Bench()
    bench.tick(VIEW + 1_000)
    for who in bench.others()[:2]:
        bench.hear(bench.status(who))
    assert bench.state.phase is Phase.WAITING
    assert next_deadline_ms(bench.state) is not None
    bench.tick(2 * VIEW)
    assert bench.state.phase is Phase.COLLECTING
    assert bench.spoken(Kind.TIMEOUT) == []


def test_own_words_are_repeated_ever_more_seldom_until_something_is_said_anew() -> None:
    bench = Bench()
    bench.hold(A)
    repeated = [
        now
        for now in range(0, 2 * VIEW, 10)
        if any(isinstance(effect, Broadcast) for effect in bench.tick(now))
    ]
    # Nobody answers; the announcement of the second view is a word of its own.
    assert repeated == [500, 1_500, VIEW + 500, VIEW + 1_500]


def test_a_step_of_its_own_gives_the_others_time_before_it_repeats() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    bench.tick(VIEW + 400)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(VIEW + 400 + FREEZE)
    assert bench.state.phase is Phase.FROZEN
    repeat_at = VIEW + 400 + FREEZE + DEVNET.resend_ms
    assert not any(isinstance(effect, Broadcast) for effect in bench.tick(repeat_at - 1))
    assert any(isinstance(effect, Broadcast) for effect in bench.tick(repeat_at))


# ---------------------------------------------------------------------- lists


def test_the_list_is_signed_once_after_the_wait_and_never_again() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(VIEW + LIST_DUE - 1)
    assert bench.spoken(Kind.BID_LIST) == []
    bench.tick(VIEW + LIST_DUE)
    bench.hold(B)
    bench.tick(4 * VIEW)
    bench.tick(4 * VIEW + LIST_DUE)
    assert [e.body.bids for e in bench.spoken(Kind.BID_LIST)] == [(A,)]  # type: ignore[union-attr]


def test_nobody_signs_a_list_after_knowing_a_prepare_certificate() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    lists = [bench.bid_list(who, A) for who in bench.others()]
    held = bench.certificate(Kind.PREPARE, 0, bench.value(lists, A))
    bench.hear(bench.timeout(bench.others()[0], 0, held))
    assert bench.state.phase is Phase.COLLECTING
    bench.tick(VIEW + LIST_DUE)
    bench.tick(2 * VIEW + LIST_DUE)
    assert bench.spoken(Kind.BID_LIST) == []


def test_lists_are_frozen_at_the_deadline_and_forwarded_to_the_gateway() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    bench.tick(view * VIEW)
    bench.hold(A)
    first, second = [who for who in bench.others() if who != bench.leader(view)]
    for who in (first, second):
        bench.hear(bench.status(who))
    bench.tick(view * VIEW + LIST_DUE)
    bench.hear(bench.bid_list(first, A))
    effects = bench.tick(view * VIEW + FREEZE)
    forwarded = {e.envelope.sender: e.operator for e in effects if isinstance(e, SendTo)}
    assert forwarded == {bench.me: bench.leader(view), first: bench.leader(view)}


# ---------------------------------------------------------------------- the gateway


def test_a_gateway_with_all_lists_proposes_at_once_but_not_before_the_bounds() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=True, start=1)
    lists = bench.open(view, A)
    assert bench.spoken(Kind.PROPOSAL) == []
    bench.tick(view * VIEW + SETTLE)
    (sent,) = bench.spoken(Kind.PROPOSAL)
    assert isinstance(sent.body, Proposal)
    assert sent.body.value == bench.value(lists, A)
    assert sent.body.prepare is None


def test_a_gateway_without_a_list_waits_strictly_longer_than_the_bounds_after_its_freeze() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=True, start=1)
    bench.tick(view * VIEW)
    bench.hold(A)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(view * VIEW + LIST_DUE)
    for who in bench.others()[:2]:
        bench.hear(bench.bid_list(who, A))
    bench.tick(view * VIEW + FREEZE + SETTLE)
    assert bench.spoken(Kind.PROPOSAL) == []
    assert next_deadline_ms(bench.state) == view * VIEW + FREEZE + SETTLE + 1
    bench.tick(view * VIEW + FREEZE + SETTLE + 1)
    assert len(bench.spoken(Kind.PROPOSAL)) == 1


def test_a_gateway_never_proposes_on_fewer_than_n_minus_f_lists() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=True, start=1)
    bench.tick(view * VIEW)
    bench.hold(A)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(view * VIEW + LIST_DUE)
    bench.hear(bench.bid_list(bench.others()[0], A))
    bench.tick(view * VIEW + VIEW - 1)
    assert bench.spoken(Kind.PROPOSAL) == []


def test_an_id_is_in_the_set_iff_n_minus_f_lists_carry_it() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=True, start=1)
    bench.tick(view * VIEW)
    bench.hold(A, B)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(view * VIEW + LIST_DUE)
    for who, bids in zip(bench.others(), [(A, B), (A,), ()], strict=True):
        bench.hear(bench.bid_list(who, *bids))
    bench.tick(view * VIEW + SETTLE)
    (sent,) = bench.spoken(Kind.PROPOSAL)
    assert sent.body.value.bids == (A,)  # type: ignore[union-attr]


def test_the_highest_certified_value_is_proposed_again_unchanged() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=True, start=2)
    lists = bench.open(view - 1, A)
    value = bench.value(lists[1:], A)
    bench.hear(bench.proposal(view - 1, value))
    held = bench.certificate(Kind.PREPARE, view - 1, value)
    bench.tick(view * VIEW)
    bench.hear(bench.timeout(bench.others()[0], view - 1, held))
    bench.tick(view * VIEW + SETTLE)
    (sent,) = bench.spoken(Kind.PROPOSAL)
    assert isinstance(sent.body, Proposal)
    assert (sent.body.value, sent.body.prepare) == (value, held)


def test_a_gateway_fetches_a_certified_value_that_it_does_not_hold() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=True, start=2)
    lists = bench.open(view, A)
    value = bench.value(lists[1:], A)
    held = bench.certificate(Kind.PREPARE, view - 1, value)
    bench.hear(bench.timeout(bench.others()[0], view - 1, held))
    effects = bench.tick(view * VIEW + SETTLE)
    fetches = [e for e in effects if isinstance(e, SendTo) and e.envelope.kind == Kind.FETCH]
    assert [e.envelope.body.ids for e in fetches] == [(held.value,)]  # type: ignore[union-attr]
    assert bench.spoken(Kind.PROPOSAL) == []
    bench.hear(bench.proposal(view - 1, value))
    assert len(bench.spoken(Kind.PROPOSAL)) == 1


# ---------------------------------------------------------------------- the voter


def voting(*bids: bytes) -> tuple[Bench, int, list[Envelope]]:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    return bench, view, bench.open(view, *bids)


def test_a_right_proposal_is_prepared_once() -> None:
    bench, view, lists = voting(A)
    envelope = bench.proposal(view, bench.value(lists, A))
    bench.hear(envelope)
    bench.hear(envelope)
    assert len(bench.spoken(Kind.PREPARE)) == 1
    assert bench.state.phase is Phase.PREPARED


def test_a_node_that_has_not_signed_its_list_does_not_prepare() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    bench.tick(view * VIEW)
    bench.hold(A)
    lists = [bench.bid_list(who, A) for who in bench.others()]
    for each in lists:
        bench.hear(each)
    bench.hear(bench.proposal(view, bench.value(lists, A)))
    bench.tick(view * VIEW + LIST_DUE - 1)
    assert bench.spoken(Kind.PREPARE) == []


def test_a_proposal_that_leaves_out_a_frozen_list_is_refused() -> None:
    bench, view, lists = voting(A)
    bench.hear(bench.proposal(view, bench.value(lists[:3], A)))
    assert bench.spoken(Kind.PREPARE) == []
    bench.tick(view * VIEW + FREEZE)
    assert bench.refusals() == [RejectionReason.LIST_LEFT_OUT.code]
    assert bench.spoken(Kind.PREPARE) == []


def test_a_list_that_was_not_held_at_the_deadline_may_be_missing() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    bench.tick(view * VIEW)
    bench.hold(A)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(view * VIEW + LIST_DUE)
    lists = [bench.bid_list(who, A) for who in bench.others()[:2]]
    for each in lists:
        bench.hear(each)
    bench.tick(view * VIEW + FREEZE)
    lists += bench.spoken(Kind.BID_LIST)
    bench.hear(bench.proposal(view, bench.value(lists, A)))
    assert len(bench.spoken(Kind.PREPARE)) == 1


def test_either_of_two_conflicting_lists_will_do_and_the_pair_is_kept() -> None:
    bench, view, lists = voting(A)
    cheat = bench.others()[0]
    second = bench.bid_list(cheat)
    bench.hear(second)
    chosen = [each for each in lists if each.sender != cheat] + [second]
    bench.hear(bench.proposal(view, bench.value(chosen, A)))
    assert len(bench.spoken(Kind.PREPARE)) == 1
    pair = bench.state.conflicts[cheat]
    assert {statement.sender for statement in pair.statements} == {cheat}
    assert len({statement.body for statement in pair.statements}) == 2


@pytest.mark.parametrize(
    ("bids", "embedded", "reason"),
    [
        ((), 4, RejectionReason.WRONG_BID_SET),
        ((A, B), 4, RejectionReason.WRONG_BID_SET),
        ((A,), 2, RejectionReason.TOO_FEW_LISTS),
    ],
)
def test_wrong_sets_and_too_few_lists_are_refused(
    bids: tuple[bytes, ...], embedded: int, reason: RejectionReason
) -> None:
    bench, view, lists = voting(A)
    bench.hold(B)
    bench.hear(bench.proposal(view, bench.value(lists[:embedded], *bids)))
    assert bench.refusals() == [reason.code]
    assert bench.spoken(Kind.PREPARE) == []


def test_a_proposal_of_somebody_else_than_the_gateway_is_ignored() -> None:
    bench, view, lists = voting(A)
    impostor = next(who for who in bench.others() if who != bench.leader(view))
    bench.hear(bench.proposal(view, bench.value(lists, A), by=impostor))
    assert bench.spoken(Kind.PREPARE) == []
    assert bench.state.proposed == {}


def test_missing_bodies_are_fetched_before_the_vote() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    bench.tick(view * VIEW)
    for who in bench.others():
        bench.hear(bench.status(who))
    bench.tick(view * VIEW + LIST_DUE)
    lists = [*(bench.bid_list(who, A) for who in bench.others()), *bench.spoken(Kind.BID_LIST)]
    for each in lists:
        bench.hear(each)
    effects = bench.hear(bench.proposal(view, bench.value(lists, A)))
    (fetch,) = [e for e in effects if isinstance(e, SendTo)]
    assert (fetch.operator, fetch.envelope.kind) == (bench.leader(view), Kind.FETCH)
    assert fetch.envelope.body.ids == (A,)  # type: ignore[union-attr]
    assert bench.spoken(Kind.PREPARE) == []
    bench.hold(A)
    assert len(bench.spoken(Kind.PREPARE)) == 1


def test_a_node_with_a_wrong_clock_does_not_vote_until_it_is_right() -> None:
    bench, view, lists = voting(A)
    bench.app.clock_fine = False
    bench.hear(bench.proposal(view, bench.value(lists, A)))
    assert bench.spoken(Kind.PREPARE) == []
    bench.app.clock_fine = True
    bench.tick(bench.now + 1)
    assert len(bench.spoken(Kind.PREPARE)) == 1


# ---------------------------------------------------------------------- locks


def test_a_lock_needs_a_quorum_of_prepares_of_one_view() -> None:
    bench, view, lists = voting(A)
    value = bench.value(lists, A)
    bench.hear(bench.proposal(view, value))
    one, two, _ = bench.others()
    bench.hear(bench.vote(one, Kind.PREPARE, view, value))
    bench.hear(bench.vote(two, Kind.PREPARE, view + 1, value))
    bench.hear(bench.vote(one, Kind.PREPARE, view + 1, value))
    assert bench.spoken(Kind.LOCK) == []
    bench.hear(bench.vote(two, Kind.PREPARE, view, value))
    assert len(bench.spoken(Kind.LOCK)) == 1


def test_no_lock_after_the_own_timeout_of_the_view() -> None:
    bench, view, lists = voting(A)
    value = bench.value(lists, A)
    bench.hear(bench.proposal(view, value))
    bench.tick((view + 1) * VIEW)
    assert [e.body.view for e in bench.spoken(Kind.TIMEOUT)] == [view]  # type: ignore[union-attr]
    for who in bench.others():
        bench.hear(bench.vote(who, Kind.PREPARE, view, value))
    assert bench.state.valid is not None
    assert bench.spoken(Kind.LOCK) == []


def test_a_certificate_of_another_view_is_no_ground_for_a_lock() -> None:
    bench, view, lists = voting(A)
    value = bench.value(lists, A)
    held = bench.certificate(Kind.PREPARE, view - 1, value)
    bench.hear(bench.timeout(bench.others()[0], view - 1, held))
    assert bench.spoken(Kind.LOCK) == []


def test_who_locked_refuses_a_lower_proposal_and_takes_the_certified_one() -> None:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    value = bench.lock(view, A)
    bench.tick((view + 1) * VIEW)
    (said,) = bench.spoken(Kind.TIMEOUT)
    assert isinstance(said.body, Timeout)
    assert said.body.prepare_view == view
    later = bench.view_led_by(leads=False, start=view + 1)
    bench.tick(later * VIEW)
    lists = [bench.bid_list(who, A) for who in bench.others()]
    bench.hear(bench.proposal(later, bench.value(lists, A)))
    assert bench.refusals() == [RejectionReason.LOCKED.code]
    again = bench.view_led_by(leads=False, start=later + 1)
    bench.tick(again * VIEW)
    held = bench.certificate(Kind.PREPARE, view, value)
    bench.hear(bench.proposal(again, value, held))
    assert [e.body.view for e in bench.spoken(Kind.PREPARE)] == [view, again]  # type: ignore[union-attr]


def test_a_certificate_learned_otherwise_does_not_lock() -> None:
    """A hidden certificate shown to one node must not make it refuse the others' proposal."""
    bench, view, lists = voting(A)
    hidden = bench.certificate(Kind.PREPARE, view - 1, bench.value(lists[:3], A))
    bench.hear(bench.timeout(bench.others()[0], view - 1, hidden))
    bench.hear(bench.proposal(view, bench.value(lists, A)))
    assert len(bench.spoken(Kind.PREPARE)) == 1


def test_a_re_proposal_must_carry_the_certificate_of_its_own_value() -> None:
    bench, view, lists = voting(A)
    other = bench.certificate(Kind.PREPARE, view - 1, bench.value(lists[:3], A))
    bench.hear(bench.proposal(view, bench.value(lists, A), other))
    assert bench.state.proposed == {}


# ---------------------------------------------------------------------- commit


def locked() -> tuple[Bench, int, Value]:
    bench = Bench()
    view = bench.view_led_by(leads=False, start=1)
    return bench, view, bench.lock(view, A)


def test_a_lock_quorum_leads_to_commit_and_ends_timeouts() -> None:
    bench, view, value = locked()
    for who in bench.others()[:2]:
        bench.hear(bench.vote(who, Kind.LOCK, view, value))
    assert bench.state.phase is Phase.OPENING
    bench.hear(bench.shares(bench.others()[0], value))
    assert bench.state.phase is Phase.COMMITTED
    (said,) = bench.spoken(Kind.COMMIT)
    assert isinstance(said.body, Commit)
    assert batch_of(said.body) == bench.batch(value)
    bench.tick((view + 2) * VIEW)
    assert bench.spoken(Kind.TIMEOUT) == []
    assert len(bench.spoken(Kind.COMMIT)) == 1


def committed() -> tuple[Bench, Value]:
    bench, view, value = locked()
    for who in bench.others()[:2]:
        bench.hear(bench.vote(who, Kind.LOCK, view, value))
    bench.hear(bench.shares(bench.others()[0], value))
    return bench, value


def test_a_commit_quorum_decides_the_round() -> None:
    bench, value = committed()
    batch = bench.batch(value)
    for who in bench.others()[:2]:
        bench.hear(bench.commit(who, batch))
    assert bench.state.phase is Phase.DECIDED
    (decided,) = [e for e in bench.effects if isinstance(e, Decided)]
    assert decided.record.value == value
    signed = batch_digest(bench.ctx.domain, batch)
    assert decided.record.certificate.digest == signed
    assert len(decided.record.shares) == 2
    state, _ = next_round(bench.state, bench.app, bench.ctx, bench.now)
    assert (state.round, state.parent, state.epoch) == (2, signed, 1)


def test_a_prepare_quorum_never_passes_as_a_batch_certificate() -> None:
    bench, value = committed()
    held = bench.certificate(Kind.PREPARE, 1, value)
    forged = msgspec.structs.replace(held, kind=int(Kind.COMMIT), view=0)
    bench.hear(Envelope(Kind.CERTIFICATE, bench.others()[0], forged, b""))
    assert bench.state.phase is Phase.COMMITTED
    for who in bench.others()[:2]:
        bench.hear(bench.commit(who, bench.batch(value)))
    assert bench.state.phase is Phase.DECIDED


def test_two_batches_committed_to_by_one_operator_are_evidence_and_the_first_counts() -> None:
    bench, value = committed()
    batch = bench.batch(value)
    first, second = bench.others()[:2]
    wrong = replace(batch, root=Hash(bytes(31) + b"\x01"))
    bench.hear(bench.commit(first, wrong))
    bench.hear(bench.commit(first, batch))
    assert set(bench.state.conflicts) == {first}
    bench.hear(bench.commit(second, batch))
    assert bench.state.phase is Phase.COMMITTED


# ---------------------------------------------------------------------- opening


def test_no_share_is_revealed_before_the_lock_certificate() -> None:
    bench, view, value = locked()
    assert bench.spoken(Kind.BID_SHARES) == []
    bench.hear(bench.vote(bench.others()[0], Kind.LOCK, view, value))
    assert bench.spoken(Kind.BID_SHARES) == []
    bench.hear(bench.vote(bench.others()[1], Kind.LOCK, view, value))
    (said,) = bench.spoken(Kind.BID_SHARES)
    assert said.body == bench.revealed(bench.me, value)


def test_bids_open_with_one_share_more_than_there_may_be_faulty_members() -> None:
    bench, view, value = locked()
    for who in bench.others()[:2]:
        bench.hear(bench.vote(who, Kind.LOCK, view, value))
    assert bench.spoken(Kind.COMMIT) == []
    lying, honest = bench.others()[:2]
    shares = bench.revealed(lying, value)
    shares = msgspec.structs.replace(shares, shares=(bytes(32),) * len(shares.shares))
    bench.hear(bench.sign(lying, Kind.BID_SHARES, shares))
    assert bench.spoken(Kind.COMMIT) == []
    bench.hear(bench.shares(honest, value))
    assert len(bench.spoken(Kind.COMMIT)) == 1


def test_shares_of_another_value_do_not_keep_the_true_ones_out() -> None:
    bench, view, value = locked()
    other = bench.value(bench.spoken(Kind.BID_LIST), B)
    member = bench.others()[0]
    bench.hear(bench.shares(member, other))
    bench.hear(bench.shares(member, value))
    for who in bench.others()[:2]:
        bench.hear(bench.vote(who, Kind.LOCK, view, value))
    assert len(bench.spoken(Kind.COMMIT)) == 1


def test_the_commit_is_repeated_until_the_batch_certificate() -> None:
    bench, _ = committed()
    due = next_deadline_ms(bench.state)
    assert due is not None
    effects = bench.tick(due)
    assert any(getattr(getattr(e, "envelope", None), "kind", 0) == Kind.COMMIT for e in effects)


# ---------------------------------------------------------------------- late, early, restarted


def test_a_late_node_recomputes_a_handed_round_and_moves_on() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    lists = [bench.bid_list(who, A) for who in bench.others()]
    value = bench.value(lists, A)
    shares = tuple(bench.revealed(who, value) for who in bench.others())
    record = DecidedRound(value, bench.certificate(Kind.COMMIT, 0, value), (), shares)
    bench.hear(Envelope(Kind.BATCHES, bench.others()[0], Batches((record,)), b""))
    assert bench.state.phase is Phase.DECIDED


def test_a_handed_round_whose_batch_comes_out_otherwise_is_dropped() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    lists = [bench.bid_list(who, A) for who in bench.others()]
    value = bench.value(lists, A)
    prepared = bench.certificate(Kind.PREPARE, 3, value)
    other = bench.certificate(Kind.COMMIT, 0, value)
    shares = tuple(bench.revealed(who, value) for who in bench.others())
    forged = DecidedRound(value, msgspec.structs.replace(other, digest=prepared.digest), (), shares)
    effects = bench.hear(Envelope(Kind.BATCHES, bench.others()[0], Batches((forged,)), b""))
    assert bench.state.phase is Phase.IDLE
    assert "certificate_mismatch" in [e.event for e in effects if isinstance(e, Record)]
    assert bench.state.catch_up == {}


def test_a_message_of_an_older_round_is_answered_once_in_a_while() -> None:
    bench = Bench()
    bench.state = fresh(1, 5, ZERO_HASH, 0)
    bench.tick(VIEW)
    late = bench.others()[0]
    first = bench.hear(bench.status(late, number=2))
    second = bench.hear(bench.status(late, number=2))
    assert [e for e in first if isinstance(e, ServeBatches)] == [ServeBatches(late, 2)]
    assert second == []


def test_votes_that_come_just_after_the_decision_are_not_answered() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.state = fresh(1, 5, ZERO_HASH, VIEW)
    assert bench.hear(bench.status(bench.others()[0], number=4)) == []


def test_a_node_that_is_behind_asks_for_what_was_decided() -> None:
    bench = Bench()
    bench.tick(VIEW)
    bench.hear(bench.status(bench.others()[1], number=9))
    due = next_deadline_ms(bench.state)
    assert due is not None
    effects = bench.tick(due)
    (asked,) = [e for e in effects if isinstance(e, SendTo)]
    assert asked.operator == bench.others()[1]
    assert asked.envelope.kind == Kind.FETCH_BATCHES


def test_early_messages_are_bounded_per_sender_and_heard_in_their_round() -> None:
    bench, value = committed()
    for number in range(40):
        bench.hear(bench.status(bench.others()[0], number=2 + number % 2))
    assert len(bench.state.early[bench.others()[0]]) <= 16
    bench.hear(bench.status(bench.others()[1], number=2))
    batch = bench.batch(value)
    for who in bench.others()[:2]:
        bench.hear(bench.commit(who, batch))
    bench.app.done[A] = 1
    state, _ = next_round(bench.state, bench.app, bench.ctx, bench.now)
    assert state.phase is Phase.COLLECTING


def test_who_lacks_the_lock_certificate_is_told() -> None:
    bench, view, value = locked()
    for who in bench.others()[:2]:
        bench.hear(bench.vote(who, Kind.LOCK, view, value))
    late = bench.others()[2]
    effects = bench.hear(bench.timeout(late, view, None))
    (told,) = [e for e in effects if isinstance(e, SendTo)]
    assert (told.operator, told.envelope.body) == (late, bench.state.lock)


@pytest.mark.parametrize("kind", [Kind.PREPARE, Kind.LOCK])
def test_a_second_vote_for_one_slot_is_evidence_and_does_not_count(kind: Kind) -> None:
    bench, view, lists = voting(A)
    cheat = bench.others()[0]
    first, second = bench.value(lists, A), bench.value(lists[:3], A)
    bench.hear(bench.vote(cheat, kind, view, first))
    effects = bench.hear(bench.vote(cheat, kind, view, second))
    assert "conflict" in [e.event for e in effects if isinstance(e, Record)]
    assert cheat in bench.state.conflicts
    tally = bench.state.prepares if kind is Kind.PREPARE else bench.state.locks
    assert tally[view][cheat].value == value_digest(bench.ctx.domain, first)


def test_two_proposals_of_one_gateway_are_evidence_and_the_first_counts() -> None:
    bench, view, lists = voting(A)
    bench.app.clock_fine = False
    first = bench.proposal(view, bench.value(lists, A))
    bench.hear(first)
    bench.hear(bench.proposal(view, bench.value(lists[:3], A)))
    assert bench.leader(view) in bench.state.conflicts
    assert bench.state.proposed[view].body == first.body


def test_a_restarted_node_says_again_what_it_said_and_nothing_else() -> None:
    bench, view, _ = locked()
    raw = encode_state(bench.state)
    state, effects = resume(decode_state(raw), bench.app, bench.ctx, bench.now)
    again = {(e.kind, e.body) for e in effects if isinstance(e, Publish)}
    kinds = (Kind.STATUS, Kind.BID_LIST, Kind.PREPARE, Kind.LOCK)
    assert again == {(k, e.body) for k in kinds for e in bench.spoken(k)}
    assert state.lock_view == view


def test_after_a_restart_the_highest_certificate_known_passes_for_locked() -> None:
    """Its LOCK may have been on the part of the disk that an old copy lacks."""
    bench, view, lists = voting(A)
    known = bench.certificate(Kind.PREPARE, view - 1, bench.value(lists[:3], A))
    bench.hear(bench.timeout(bench.others()[0], view - 1, known))
    bench.state, _ = resume(bench.state, bench.app, bench.ctx, bench.now)
    bench.hear(bench.proposal(view, bench.value(lists, A)))
    assert bench.spoken(Kind.PREPARE) == []
    assert bench.refusals() == [RejectionReason.LOCKED.code]


def test_a_statement_that_the_guard_kept_from_before_is_accepted() -> None:
    """The journal's tail was lost, the guard's store was not: the older list stands."""
    bench = Bench()
    bench.tick(VIEW)
    bench.hold(A)
    older = bench.bid_list(bench.me, B)
    bench.hear(older)
    bench.hear(bench.status(bench.others()[0]))
    bench.tick(VIEW + LIST_DUE)
    assert bench.spoken(Kind.BID_LIST) == []
    assert bench.state.first_lists[bench.me] == digest(bench.ctx.domain, older.body)  # type: ignore[arg-type]


def test_a_snapshot_keeps_everything() -> None:
    bench, _ = committed()
    bench.hear(bench.status(bench.others()[0], number=2))
    bench.hear(bench.bid_list(bench.others()[0]))
    assert bench.state.conflicts
    assert bench.state.early
    assert decode_state(encode_state(bench.state)) == bench.state


def test_a_step_leaves_the_state_it_was_given_untouched() -> None:
    bench, view, lists = voting(A)
    before = encode_state(bench.state)
    step(bench.state, bench.proposal(view, bench.value(lists, A)), bench.app, bench.ctx, bench.now)
    assert encode_state(bench.state) == before


def test_lists_and_values_are_served_by_id() -> None:
    bench, view, lists = voting(A)
    envelope = bench.proposal(view, bench.value(lists, A))
    bench.hear(envelope)
    assert lookup(bench.state, digest(bench.ctx.domain, lists[1].body)) == lists[1]  # type: ignore[arg-type]
    assert lookup(bench.state, value_digest(bench.ctx.domain, bench.value(lists, A))) == envelope
    assert lookup(bench.state, b"\x00" * 32) is None


# ---------------------------------------------------------------------- the table


def test_a_move_that_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(LocalProtocolError):
        after(Phase.COMMITTED, Move.VIEW_ENDED)


def test_every_phase_can_be_reached_and_every_round_can_end() -> None:
    assert set(TABLE.values()) == set(Phase)
    assert all((phase, Move.BATCH_CERT) in TABLE for phase in Phase if phase is not Phase.DECIDED)
    # After a LockCert there is no way back to an attempt.
    assert {m for (phase, m) in TABLE if phase in {Phase.OPENING, Phase.COMMITTED}} == {
        Move.COMMIT_SIGNED,
        Move.BATCH_CERT,
    }


def test_the_diagram_in_the_documentation_is_not_stale() -> None:
    page = ROUNDS.read_text()
    assert with_diagram(page) == page, "run python -m scripts.diagrams"
    assert mermaid() in page
