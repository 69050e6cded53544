from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from protocol.award import Assignment, Award
from protocol.batch import ResultStatus
from protocol.claims import (
    Claim,
    CombineValues,
    SegmentValues,
    encode_claim,
    encode_combine,
    encode_segment,
    segment_hash_list,
)
from protocol.duties import (
    Check,
    Drop,
    Prove,
    Relay,
    SayUnavailable,
    SendAccept,
    evident,
    next_deadline_ms,
    todo,
    vouches,
)
from protocol.errors import LocalProtocolError, Rejection
from protocol.errors import RejectionReason as Why
from protocol.hashing import keccak
from protocol.job import Job, Stage, new_job, step
from protocol.job_inputs import (
    AcceptSeen,
    Admitted,
    Awarded,
    CancelSeen,
    CannotProve,
    Classified,
    Closed,
    InputHeld,
    OnChain,
    ResultChecked,
    ResultSeen,
    Returned,
    Ticked,
    UnavailableSeen,
)
from protocol.lifecycle import TABLE, JobState, after
from protocol.outcomes import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    FailReason,
    Reassigned,
    ReassignReason,
)
from protocol.params import DEVNET
from tests.protocol.certified import OPERATORS, PRICE, id_of, request_body

ONE, TWO, THREE, FOUR = OPERATORS
BODY = request_body(slots=3)
REQUEST = id_of(BODY)
INPUTS = BODY.request.input_hashes
ROOTS = (111, 222)
CLAIM = encode_claim(Claim(999, 5_000, 32))
AWARD = Award(
    round=1,
    fee=3 * PRICE,
    assignments=tuple(Assignment(operator, PRICE, ()) for operator in (ONE, TWO, ONE)),
    standby=(THREE, FOUR, ONE, TWO),
)
START = 10_000
DEADLINE = 500_000
ACCEPT_BY = START + DEVNET.accept_timeout_ms
RESULT_BY = START + DEVNET.segment_timeout_ms


def publics(segment, prover, roots=ROOTS):
    if segment == 2:
        values = CombineValues(REQUEST, prover, 999, 5_000, segment_hash_list(roots))
        return encode_combine(values)
    return encode_segment(SegmentValues(REQUEST, prover, segment, 16, roots[segment]))


def result(segment, prover, *, roots=ROOTS, proof=b"proof"):
    words = publics(segment, prover, roots)
    return ResultSeen(segment, prover, keccak(proof + b"".join(words)), words)


def accept(segment, operator):
    return AcceptSeen(segment, operator, INPUTS[segment])


def feed(job, *inputs, at=START):
    for what in inputs:
        job = step(job, what, at, DEVNET)
    return job


def prove(job, segment, prover, *, at=START, **fields):
    """A result arrives and its proof verifies."""
    seen = result(segment, prover, **fields)
    return feed(job, seen, ResultChecked(segment, seen.digest, True), at=at)


def fresh(me=FOUR):
    return new_job(REQUEST, BODY.request, me, DEADLINE, START)


def assigned(me=FOUR):
    return feed(fresh(me), Classified(), Admitted(), Awarded(AWARD))


def accepted(me=FOUR):
    return feed(assigned(me), accept(0, ONE), accept(1, TWO), accept(2, ONE))


def reason_of(job, what, at=START):
    with pytest.raises(Rejection) as caught:
        step(job, what, at, DEVNET)
    return caught.value.reason


def test_the_straight_way():
    job = fresh()
    states = [job.state]
    inputs = [Classified(), Admitted(), Awarded(AWARD), accept(0, ONE), accept(1, TWO)]
    inputs += [accept(2, ONE), result(0, ONE), result(1, TWO), result(2, ONE)]
    inputs += [
        ResultChecked(place, result(place, AWARD.provers[place]).digest, True) for place in range(3)
    ]
    inputs += [Closed(ResultStatus.SETTLED), OnChain()]
    for what in inputs:
        job = feed(job, what)
        if job.state is not states[-1]:
            states.append(job.state)
        if job.state is JobState.VERIFIED:
            assert vouches(job) == (Completed(REQUEST, CLAIM, (ONE, TWO, ONE)),)
    assert [state.value for state in states] == [
        "requested",
        "classified",
        "auctioned",
        "assigned",
        "accepted",
        "proving",
        "submitted",
        "verified",
        "certified",
        "settled",
    ]
    assert set(job.since) == set(states)


def test_a_result_stands_for_its_accept():
    job = assigned()
    for place, prover in enumerate(AWARD.provers):
        job = prove(job, place, prover)
    assert job.state is JobState.VERIFIED


def test_the_prover_accepts_then_proves():
    job = assigned(ONE)
    assert todo(job) == ()
    job = feed(job, InputHeld(0))
    assert todo(job) == (SendAccept(0, INPUTS[0]),)
    job = feed(job, accept(0, ONE))
    assert todo(job) == (Prove(0),)
    seen = result(0, ONE)
    job = feed(job, seen)
    assert todo(job) == (Check(0, seen.digest),)
    job = feed(job, ResultChecked(0, seen.digest, True))
    assert todo(job) == ()


def test_a_request_that_came_back_is_in_its_market_and_its_prover_keeps_the_input():
    job = feed(assigned(ONE), InputHeld(0), accept(0, ONE), Returned())
    assert (job.state, job.award, job.segments) == (JobState.AUCTIONED, None, ())
    assert todo(job) == vouches(job) == ()
    again = feed(job, Awarded(AWARD))
    assert again.state is JobState.ASSIGNED
    assert todo(again) == (SendAccept(0, INPUTS[0]),)
    assert todo(feed(again, accept(0, ONE))) == (Prove(0),)


def test_a_cancellation_that_came_too_late_counts_when_the_request_comes_back():
    job = feed(assigned(), CancelSeen())
    assert vouches(job) == ()
    assert vouches(feed(job, Returned())) == (Cancelled(REQUEST),)


def test_only_provers_have_something_to_prove():
    assert todo(feed(assigned(FOUR), InputHeld(0))) == ()
    assert todo(accepted(FOUR)) == ()
    job = feed(assigned(TWO), InputHeld(1), InputHeld(0))
    assert todo(job) == (SendAccept(1, INPUTS[1]),)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (AcceptSeen(3, ONE, INPUTS[0]), Why.BAD_SHAPE),
        (AcceptSeen(-1, ONE, INPUTS[0]), Why.BAD_SHAPE),
        (AcceptSeen(0, ONE, INPUTS[1]), Why.INPUT_MISMATCH),
        (CannotProve(0, FailReason.WITHHELD), Why.NOT_ASSIGNED),
        (ResultChecked(0, bytes(32), True), Why.STALE),
        (ResultSeen(0, ONE, bytes(32), ()), Why.BAD_PUBLIC_VALUES),
        (ResultSeen(0, ONE, bytes(32), publics(0, TWO)), Why.BAD_PUBLIC_VALUES),
        (ResultSeen(1, TWO, bytes(32), publics(0, TWO)), Why.BAD_PUBLIC_VALUES),
        (ResultSeen(2, ONE, bytes(32), publics(2, TWO)), Why.BAD_PUBLIC_VALUES),
        (ResultSeen(0, ONE, bytes(32), (b"\xff" * 32,) * 6), Why.NON_CANONICAL),
    ],
)
def test_statements_that_are_refused(what, reason):
    job = assigned()
    assert reason_of(job, what) is reason


def test_a_statement_before_its_award_counts_from_the_award_on():
    job = feed(fresh(ONE), Classified(), Admitted())
    early = [InputHeld(0), accept(1, TWO), result(2, ONE), accept(1, THREE)]
    job = feed(job, *early)
    assert todo(job) == ()
    job = feed(job, Awarded(AWARD))
    assert [segment.stage for segment in job.segments] == [
        Stage.ASSIGNED,
        Stage.ACCEPTED,
        Stage.PROVEN,
    ]
    assert todo(job) == (SendAccept(0, INPUTS[0]), Check(2, result(2, ONE).digest))


def test_repeated_early_statements_take_one_place():
    job = feed(
        fresh(), *[accept(0, ONE)] * 50, *[result(0, ONE, proof=b"%d" % n) for n in range(50)]
    )
    assert len(job.early) == 2


def test_no_accept_in_time_gives_the_segment_to_the_standby():
    job = feed(assigned(), accept(0, ONE))
    assert vouches(feed(job, Ticked(), at=ACCEPT_BY - 1)) == ()
    job = feed(job, Ticked(), at=ACCEPT_BY)
    assert vouches(job) == (
        Reassigned(REQUEST, 1, 0, ReassignReason.NOT_ACCEPTED),
        Reassigned(REQUEST, 2, 0, ReassignReason.NOT_ACCEPTED),
    )
    late = feed(job, accept(1, TWO), at=ACCEPT_BY + 1)
    assert [outcome.segment for outcome in vouches(late)] == [2]


def test_no_result_in_time_is_the_provers_fault():
    job = feed(prove(accepted(), 0, ONE), Ticked(), at=RESULT_BY - 1)
    assert vouches(job) == ()
    job = feed(job, Ticked(), at=RESULT_BY)
    assert vouches(job) == (
        Reassigned(REQUEST, 1, 0, ReassignReason.NO_RESULT),
        Reassigned(REQUEST, 2, 0, ReassignReason.NO_RESULT),
    )


def test_a_late_accept_buys_no_time():
    job = feed(assigned(), Ticked(), at=ACCEPT_BY)
    job = feed(job, accept(0, ONE), at=ACCEPT_BY + 20_000)
    assert job.segments[0].deadline_ms == ACCEPT_BY + DEVNET.segment_timeout_ms


def test_what_is_known_is_told_again_at_each_deadline():
    job = prove(accepted(), 0, ONE)
    for count in (1, 2, 3):
        at = job.segments[0].deadline_ms
        job = feed(job, Ticked(), at=at)
        assert Relay(0, count) in todo(job)
        assert job.segments[0].deadline_ms > at


def test_a_verified_result_is_told_again_before_others_time_out():
    job = prove(accepted(), 0, ONE)
    assert job.segments[0].deadline_ms == START + DEVNET.accept_timeout_ms < RESULT_BY


def test_a_withheld_input_burns_nobody():
    job = feed(assigned(TWO), accept(0, ONE), accept(2, ONE), Ticked(), at=ACCEPT_BY)
    assert SayUnavailable(1, FailReason.WITHHELD) in todo(job)
    (outcome,) = vouches(job)
    assert outcome.reason is ReassignReason.NOT_ACCEPTED


def reassigned(job, segment, *, at):
    award = job.award.reassign(segment, OPERATORS)
    return feed(job, Awarded(award), at=at), award.provers[segment]


def test_two_operators_of_a_segment_that_can_not_end_the_request():
    job = feed(assigned(), UnavailableSeen(1, TWO, FailReason.WITHHELD))
    assert vouches(job) == (Reassigned(REQUEST, 1, 0, ReassignReason.NOT_ACCEPTED),)
    job, heir = reassigned(job, 1, at=START + 1)
    assert vouches(job) == ()
    assert vouches(feed(job, UnavailableSeen(1, TWO, FailReason.WITHHELD))) == ()
    job = feed(job, UnavailableSeen(1, heir, FailReason.UNSATISFIABLE))
    assert vouches(job) == (Failed(REQUEST, FailReason.UNSATISFIABLE),)


def test_one_operator_can_not_end_a_request_with_two_segments():
    job = feed(
        assigned(),
        UnavailableSeen(0, ONE, FailReason.UNSATISFIABLE),
        UnavailableSeen(2, ONE, FailReason.UNSATISFIABLE),
    )
    assert {type(outcome) for outcome in vouches(job)} == {Reassigned}


def test_a_provers_first_word_may_arrive_after_its_successors():
    job, heir = reassigned(assigned(), 1, at=START + 1)
    job = feed(job, UnavailableSeen(1, heir, FailReason.WITHHELD))
    job = feed(job, UnavailableSeen(1, TWO, FailReason.WITHHELD))
    assert vouches(job) == (Failed(REQUEST, FailReason.WITHHELD),)


def test_a_stranger_is_not_heard():
    job = assigned()
    for said in (UnavailableSeen(1, THREE, FailReason.WITHHELD), accept(1, THREE)):
        job = feed(job, said)
    assert job.segments == assigned().segments
    assert vouches(job) == ()


def test_who_can_not_prove_says_so_instead_of_accepting():
    job = feed(assigned(TWO), InputHeld(1), CannotProve(1, FailReason.UNSATISFIABLE))
    assert todo(job) == (SayUnavailable(1, FailReason.UNSATISFIABLE),)


def test_a_refused_proof_costs_the_segment_unless_a_valid_one_follows():
    bad = result(0, ONE, proof=b"bad")
    job = feed(accepted(), bad, ResultChecked(0, bad.digest, False))
    assert vouches(job) == (Reassigned(REQUEST, 0, 0, ReassignReason.NO_RESULT),)
    assert reason_of(job, bad) is Why.REPLAYED
    job = prove(job, 0, ONE)
    assert vouches(job) == ()
    assert job.segments[0].stage is Stage.VERIFIED


def test_a_refusal_takes_a_submitted_job_back():
    job = accepted()
    seen = [result(place, prover) for place, prover in enumerate(AWARD.provers)]
    job = feed(job, *seen)
    assert job.state is JobState.SUBMITTED
    job = feed(job, ResultChecked(1, seen[1].digest, False))
    assert job.state is JobState.PROVING


def test_only_one_result_is_checked_at_a_time():
    job = feed(accepted(), result(0, ONE))
    assert reason_of(job, result(0, ONE, proof=b"another")) is Why.REPLAYED


def test_a_prover_that_signs_two_statements_loses_the_segment_even_when_both_are_proven():
    job = accepted()
    for place, prover in enumerate(AWARD.provers):
        job = prove(job, place, prover)
    assert job.state is JobState.VERIFIED
    job = feed(job, result(1, TWO, roots=(111, 777)))
    assert job.state is JobState.PROVING
    assert vouches(job) == (Reassigned(REQUEST, 1, 0, ReassignReason.NO_RESULT),)
    assert reason_of(job, result(1, TWO, proof=b"once more")) is Why.REPLAYED
    job, heir = reassigned(job, 1, at=START + 1)
    assert vouches(prove(job, 1, heir)) == (Completed(REQUEST, CLAIM, (ONE, heir, ONE)),)


def test_what_bore_an_outcome_out_does_so_for_good():
    """Else a Value that a quorum prepared could become one that nobody accepts."""
    completed = Completed(REQUEST, CLAIM, AWARD.provers)
    job = accepted()
    assert not evident(job, completed)
    for place, prover in enumerate(AWARD.provers):
        job = prove(job, place, prover)
    assert evident(job, completed)
    contradicted = feed(job, result(1, TWO, roots=(111, 777)))
    overdue = feed(job, Ticked(), at=DEADLINE)
    assert completed not in (*vouches(contradicted), *vouches(overdue))
    assert evident(contradicted, completed)
    assert evident(overdue, completed)
    assert not evident(overdue, replace(completed, claim=encode_claim(Claim(999, 5_001, 32))))


def test_who_holds_two_statements_of_a_prover_goes_with_the_members_that_verified_one():
    job = feed(accepted(), result(1, TWO, roots=(111, 777)), result(1, TWO))
    assert vouches(job) == (Reassigned(REQUEST, 1, 0, ReassignReason.NO_RESULT),)
    assert evident(job, Completed(REQUEST, CLAIM, AWARD.provers))


def test_a_failure_stays_evident_after_the_deadline_a_proof_and_another_reason():
    failed = Failed(REQUEST, FailReason.WITHHELD)
    job = feed(assigned(), UnavailableSeen(1, TWO, FailReason.WITHHELD))
    assert not evident(job, failed)
    job, heir = reassigned(job, 1, at=START + 1)
    job = feed(job, UnavailableSeen(1, heir, FailReason.UNSATISFIABLE))
    assert vouches(job) == (Failed(REQUEST, FailReason.UNSATISFIABLE),)
    assert evident(job, failed)
    assert evident(prove(job, 1, heir), failed)
    assert evident(feed(job, Ticked(), at=DEADLINE), failed)


def test_another_proof_of_the_same_statement_is_no_contradiction():
    job = prove(accepted(), 0, ONE)
    assert reason_of(job, result(0, ONE, proof=b"malleated")) is Why.REPLAYED
    assert vouches(job) == ()


def test_the_standby_keeps_what_is_verified():
    job = prove(accepted(), 0, ONE)
    job, heir = reassigned(feed(job, Ticked(), at=RESULT_BY), 1, at=RESULT_BY + 100)
    assert job.state is JobState.REASSIGNED
    assert [segment.stage for segment in job.segments][:2] == [Stage.VERIFIED, Stage.ASSIGNED]
    assert job.segments[1].deadline_ms == RESULT_BY + 100 + DEVNET.accept_timeout_ms
    assert reason_of(job, accept(1, TWO)) is Why.NOT_ASSIGNED
    assert reason_of(job, result(1, TWO)) is Why.NOT_ASSIGNED
    job = feed(job, accept(1, heir), at=RESULT_BY + 200)
    assert job.state is JobState.PROVING
    job = prove(job, 1, heir, at=RESULT_BY + 300)
    job = prove(job, 2, ONE, at=RESULT_BY + 300)
    assert vouches(job) == (Completed(REQUEST, CLAIM, (ONE, heir, ONE)),)


def test_valid_proofs_of_different_inputs_are_proven_again_by_others():
    job = accepted()
    job = prove(job, 0, ONE)
    job = prove(job, 1, TWO, roots=(111, 777))
    job = prove(job, 2, ONE)
    assert job.claim == b""
    assert vouches(job) == (
        Reassigned(REQUEST, 1, 0, ReassignReason.NO_RESULT),
        Reassigned(REQUEST, 2, 0, ReassignReason.NO_RESULT),
    )
    job, first = reassigned(job, 1, at=START + 1)
    job, second = reassigned(job, 2, at=START + 1)
    job = prove(prove(job, 1, first), 2, second)
    assert vouches(job) == (Completed(REQUEST, CLAIM, (ONE, first, second)),)


def test_doubt_ends_when_what_contradicted_is_replaced():
    job = prove(prove(prove(accepted(), 0, ONE), 1, TWO, roots=(111, 777)), 2, ONE)
    job, heir = reassigned(job, 1, at=START + 1)
    assert vouches(job) == ()
    assert vouches(prove(job, 1, heir)) == (Completed(REQUEST, CLAIM, (ONE, heir, ONE)),)


def test_after_the_deadline_view_only_the_expiry_is_vouched_for():
    job = accepted()
    for place, prover in enumerate(AWARD.provers):
        job = prove(job, place, prover)
    assert vouches(feed(job, Ticked(), at=DEADLINE - 1)) != (Expired(REQUEST),)
    job = feed(job, Ticked(), at=DEADLINE)
    assert vouches(job) == (Expired(REQUEST),)
    assert todo(job) == ()
    assert next_deadline_ms(job) is None
    waiting = feed(fresh(), Classified(), Admitted(), Ticked(), at=DEADLINE)
    assert vouches(waiting) == (Expired(REQUEST),)
    assert vouches(feed(fresh(), Classified(), Ticked(), at=DEADLINE)) == ()


def test_a_cancellation_is_vouched_for_only_in_the_market():
    assert vouches(feed(fresh(), CancelSeen())) == ()
    waiting = feed(fresh(), Classified(), Admitted(), CancelSeen())
    assert vouches(waiting) == (Cancelled(REQUEST),)
    assert vouches(feed(waiting, Awarded(AWARD))) == ()


@pytest.mark.parametrize("status", ResultStatus)
def test_a_decided_end_is_the_end(status):
    job = feed(
        assigned() if status != 3 else feed(fresh(), Classified(), Admitted()), Closed(status)
    )
    assert todo(job) == (Drop(),)
    assert vouches(job) == ()
    assert next_deadline_ms(job) is None
    assert reason_of(job, accept(0, ONE)) is Why.STALE
    job = feed(job, Ticked(), OnChain(), at=DEADLINE + 1)
    assert job.state is (JobState.SETTLED if status == 1 else JobState.REFUNDED)


def test_the_others_may_have_verified_it_first():
    for job in (assigned(), accepted(), prove(accepted(), 0, ONE)):
        assert feed(job, Closed(ResultStatus.SETTLED)).state is JobState.CERTIFIED


def test_deadlines_are_the_earliest_of_all():
    assert next_deadline_ms(fresh()) == DEADLINE
    assert next_deadline_ms(assigned()) == ACCEPT_BY
    assert next_deadline_ms(accepted()) == RESULT_BY


def test_a_snapshot_holds_all_of_a_job():
    job = feed(fresh(), accept(0, ONE), result(1, TWO), InputHeld(2))
    later = feed(prove(accepted(), 0, ONE), UnavailableSeen(1, TWO, FailReason.WITHHELD))
    for held in (job, later):
        assert msgspec.json.decode(msgspec.json.encode(held), type=Job) == held


def test_no_row_contradicts_another_and_every_state_is_reached_and_left():
    keys = [(row.source, row.event) for row in TABLE]
    assert len(keys) == len(set(keys))
    assert {row.target for row in TABLE} | {JobState.REQUESTED} == set(JobState)
    assert set(JobState) - {row.source for row in TABLE} == {JobState.SETTLED, JobState.REFUNDED}
    with pytest.raises(LocalProtocolError):
        after(JobState.SETTLED, TABLE[0].event)


def test_a_step_leaves_the_job_before_it_alone():
    job = accepted()
    held = replace(job)
    feed(job, result(0, ONE), UnavailableSeen(1, TWO, FailReason.WITHHELD), Ticked(), at=RESULT_BY)
    assert job == held
