"""One request on one node: `step` folds what the node learns into a Job.

    job = new_job(request_id, request, me, deadline_ms, now_ms)
    job = step(job, input, now_ms, params)     raises Rejection; the job is then as it was
    protocol/duties.py: todo(job), vouches(job), next_deadline_ms(job)

The state follows the table of `protocol/lifecycle.py`. Each segment has a sub-state of its own, and
the job's progress is that of its slowest segment. Certified facts (Awarded, Closed) come from
`execute`; everything else is this node's own knowledge, so nodes may differ until a round decides.

Withheld input. A prover is liable only from its Accept on. If its input does not arrive in time,
it says Unavailable, and the segment passes to the standby as NOT_ACCEPTED, which is nobody's fault.
Two operators of the same segment that say Unavailable end the request.

Statements of an operator that does not have the segment yet are kept: it may have heard of the
decided award before this node. There are at most four per operator and segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from protocol.award import Award
from protocol.batch import ResultStatus
from protocol.claims import (
    Submission,
    check_segment,
    combine_claim,
    encode_claim,
    parse_combine,
    parse_segment,
)
from protocol.errors import Rejection, RejectionReason
from protocol.job_inputs import (
    AboutSegment,
    AcceptSeen,
    Admitted,
    Awarded,
    CancelSeen,
    CannotProve,
    Classified,
    Closed,
    InputHeld,
    JobInput,
    OnChain,
    ResultChecked,
    ResultSeen,
    Returned,
    Statement,
    Ticked,
    UnavailableSeen,
)
from protocol.lifecycle import CLOSED, WORKING, JobEvent, JobState, after, has_transition
from protocol.messages import ProofRequest
from protocol.outcomes import Completed, FailReason, ReassignReason, outcome_id
from protocol.params import ProtocolParams
from protocol.types import Address, Hash, TimestampMs

_REFUSED_KEPT: Final = 8
"""Digests of refused results remembered per attempt, so that they are not checked again."""
_DRAWN_KEPT: Final = 8
"""More than an honest network draws of one request; bounds what contradicting provers add."""


class Stage(IntEnum):
    """How far a segment is with its current prover."""

    ASSIGNED = 0
    ACCEPTED = 1
    PROVEN = 2
    VERIFIED = 3


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment with its current prover, as this node sees it."""

    operator: Address
    attempt: int
    stage: Stage
    assigned_ms: TimestampMs
    deadline_ms: TimestampMs
    """When its prover is late, or when it is time to relay again what is known of it."""
    input_held: bool
    """This node is the prover, and its private input arrived."""
    cannot: FailReason | None
    """This node is the prover, and can not prove it."""
    late: ReassignReason | None
    """Why this node would give it to the standby."""
    result: Hash | None
    """keccak256 of the frame of the result that is checked or verified."""
    publics: tuple[bytes, ...]
    refused: tuple[Hash, ...]
    barred: bool
    """Its prover signed results with different public values: none of them counts."""
    relays: int
    unavailable: Mapping[Address, FailReason]
    """What each of its provers said, over all attempts."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request's life-cycle on this node."""

    request_id: Hash
    me: Address
    program_id: Hash
    input_hashes: tuple[bytes, ...]
    deadline_ms: TimestampMs
    """End of its deadline view on this node's clock."""
    state: JobState
    since: Mapping[JobState, TimestampMs]
    """When this node first saw each state."""
    award: Award | None
    segments: tuple[Segment, ...]
    early: tuple[Statement, ...]
    inputs: tuple[int, ...]
    """Segments whose private input this node holds: it may get one of them again."""
    cancel_asked: bool
    expired: bool
    """The deadline view is over."""
    claim: bytes
    """What the verified proofs say; empty before."""
    drawn: tuple[Hash, ...]
    """Ids of the Completed outcomes of all claims ever drawn from verified proofs; the last few."""


_CLOSING: Final = {
    ResultStatus.SETTLED: JobEvent.COMPLETE,
    ResultStatus.EXPIRED: JobEvent.EXPIRE,
    ResultStatus.CANCELLED: JobEvent.CANCEL,
    ResultStatus.FAILED: JobEvent.FAIL,
}


def new_job(
    request_id: Hash,
    request: ProofRequest,
    me: Address,
    deadline_ms: TimestampMs,
    now_ms: TimestampMs,
) -> Job:
    """A request that this node just heard of."""
    return Job(
        request_id=request_id,
        me=me,
        program_id=Hash(request.program_id),
        input_hashes=request.input_hashes,
        deadline_ms=deadline_ms,
        state=JobState.REQUESTED,
        since={JobState.REQUESTED: now_ms},
        award=None,
        segments=(),
        early=(),
        inputs=(),
        cancel_asked=False,
        expired=False,
        claim=b"",
        drawn=(),
    )


def step(job: Job, what: JobInput, now_ms: TimestampMs, params: ProtocolParams) -> Job:
    """Fold one input.

    Raises:
        Rejection: NOT_ASSIGNED, BAD_SHAPE (no such segment), INPUT_MISMATCH, REPLAYED, STALE (the
            request is over), or what `protocol/claims.py` says of public values.
    """
    match what:
        case Classified():
            return _move(job, JobEvent.CLASSIFY, now_ms)
        case Admitted():
            return _move(job, JobEvent.ADMIT, now_ms)
        case Awarded(award):
            return _award(job, award, now_ms, params)
        case Returned():
            return _move(replace(job, award=None, segments=(), claim=b""), JobEvent.RETURN, now_ms)
        case Closed(status):
            return _move(job, _CLOSING[status], now_ms)
        case OnChain():
            return _move(job, JobEvent.ON_CHAIN, now_ms)
        case CancelSeen():
            return replace(job, cancel_asked=True)
        case Ticked():
            return _tick(job, now_ms, params)
        case _:
            return _progress(_statement(job, what, now_ms, params), now_ms)


def _award(job: Job, award: Award, now_ms: TimestampMs, params: ProtocolParams) -> Job:
    """Take over the assignments; a segment whose attempt is the same keeps what is known of it."""
    segments = []
    for place, assignment in enumerate(award.assignments):
        old = job.segments[place] if job.segments else None
        if old is not None and old.attempt == assignment.attempt:
            # What contradicted it may be gone: a verified result is judged anew with the others.
            doubtless = old.stage is Stage.VERIFIED
            segments.append(replace(old, late=None) if doubtless else old)
            continue
        segments.append(
            Segment(
                operator=assignment.operator,
                attempt=assignment.attempt,
                stage=Stage.ASSIGNED,
                assigned_ms=now_ms,
                deadline_ms=TimestampMs(now_ms + params.accept_timeout_ms),
                input_held=assignment.operator == job.me and place in job.inputs,
                cannot=None,
                late=None,
                result=None,
                publics=(),
                refused=(),
                barred=False,
                relays=0,
                unavailable={} if old is None else old.unavailable,
            )
        )
    event = JobEvent.AWARD if job.award is None else JobEvent.REASSIGN
    moved = replace(job, award=award, segments=tuple(segments), early=(), claim=b"")
    moved = _move(moved, event, now_ms)
    for said in job.early:
        try:
            moved = _statement(moved, said, now_ms, params)
        except Rejection:
            # Nobody waits for the answer any more; what does not hold now has no effect.
            continue
    return _progress(moved, now_ms)


def _statement(job: Job, what: AboutSegment, now_ms: TimestampMs, params: ProtocolParams) -> Job:
    """Apply what was said of one segment, or keep it until its operator has the segment."""
    if job.state in CLOSED:
        raise Rejection(RejectionReason.STALE)
    if not 0 <= what.segment < len(job.input_hashes):
        raise Rejection(RejectionReason.BAD_SHAPE, "no such segment")
    operator = _speaker(job, what)
    if job.award is not None:
        assignment = job.award.assignments[what.segment]
        if operator in assignment.tried and isinstance(what, UnavailableSeen):
            segment = job.segments[what.segment]
            said = {**segment.unavailable, operator: what.reason}
            return _put(job, what.segment, replace(segment, unavailable=said))
        if operator in assignment.tried:
            raise Rejection(RejectionReason.NOT_ASSIGNED)
        if operator == assignment.operator:
            if isinstance(what, InputHeld):
                job = replace(job, inputs=tuple(sorted({*job.inputs, what.segment})))
            segment = _said(job, job.segments[what.segment], what, now_ms, params)
            return _put(job, what.segment, segment)
    if isinstance(what, CannotProve | ResultChecked):
        raise Rejection(RejectionReason.NOT_ASSIGNED)
    slot = (type(what), what.segment, operator)
    others = [kept for kept in job.early if (type(kept), kept.segment, _speaker(job, kept)) != slot]
    return replace(job, early=(*others, what))


def _speaker(job: Job, what: AboutSegment) -> Address:
    """Whose statement it is; a check is about whoever has the segment."""
    match what:
        case InputHeld() | CannotProve():
            return job.me
        case ResultChecked():
            return job.segments[what.segment].operator if job.segments else job.me
        case _:
            return what.operator


def _said(
    job: Job, segment: Segment, what: AboutSegment, now_ms: TimestampMs, params: ProtocolParams
) -> Segment:
    """The segment after its current prover said this."""
    match what:
        case InputHeld():
            return replace(segment, input_held=True)
        case CannotProve():
            return replace(segment, cannot=what.reason)
        case AcceptSeen():
            if what.input_hash != job.input_hashes[what.segment]:
                raise Rejection(RejectionReason.INPUT_MISMATCH)
            return _accepted(segment, now_ms, params)
        case UnavailableSeen():
            return _unavailable(segment, what)
        case ResultSeen():
            return _result(job, _accepted(segment, now_ms, params), what)
        case ResultChecked():
            return _checked(segment, what, TimestampMs(now_ms + params.accept_timeout_ms))


def _accepted(segment: Segment, now_ms: TimestampMs, params: ProtocolParams) -> Segment:
    """A late Accept buys no time: the result is due as if it had come in time."""
    if segment.stage >= Stage.ACCEPTED:
        return segment
    begun = min(now_ms, segment.assigned_ms + params.accept_timeout_ms)
    due = TimestampMs(begun + params.segment_timeout_ms)
    return replace(segment, stage=Stage.ACCEPTED, deadline_ms=due, late=None)


def _unavailable(segment: Segment, what: UnavailableSeen) -> Segment:
    said = {**segment.unavailable, what.operator: what.reason}
    if segment.stage is Stage.VERIFIED:
        return replace(segment, unavailable=said)
    accepted = segment.stage >= Stage.ACCEPTED
    late = ReassignReason.NO_RESULT if accepted else ReassignReason.NOT_ACCEPTED
    return replace(segment, late=late, unavailable=said)


def _result(job: Job, segment: Segment, seen: ResultSeen) -> Segment:
    """Take a result to be checked.

    Proofs are malleable, public values are not: a prover that signs two different sets of them
    for one segment has told nodes different things, and none of it counts. Every node comes to
    see both, as they are relayed; otherwise one prover could keep the others apart for ever.
    """
    if segment.barred or seen.digest == segment.result or seen.digest in segment.refused:
        raise Rejection(RejectionReason.REPLAYED)
    submission = Submission(seen.operator, seen.publics)
    if seen.segment < len(job.segments) - 1:
        check_segment(job.request_id, seen.segment, submission)
    else:
        combined = parse_combine(seen.publics)
        if (combined.request_id, combined.prover) != (job.request_id, seen.operator):
            raise Rejection(RejectionReason.BAD_PUBLIC_VALUES, "request id or prover")
    if segment.stage < Stage.PROVEN:
        return replace(segment, stage=Stage.PROVEN, result=seen.digest, publics=seen.publics)
    if seen.publics == segment.publics:
        raise Rejection(RejectionReason.REPLAYED)
    return replace(_refuse(segment), barred=True)


def _checked(segment: Segment, what: ResultChecked, relay_ms: TimestampMs) -> Segment:
    """A valid result is told again long before others, who may have missed it, time out."""
    if segment.stage is not Stage.PROVEN or segment.result != what.digest:
        raise Rejection(RejectionReason.STALE)
    if not what.valid:
        return _refuse(segment)
    return replace(segment, stage=Stage.VERIFIED, late=None, deadline_ms=relay_ms)


def _refuse(segment: Segment) -> Segment:
    """Its result does not hold: the prover is liable, though a valid result may still come."""
    refused = segment.refused if segment.result is None else (*segment.refused, segment.result)
    return replace(
        segment,
        stage=Stage.ACCEPTED,
        late=ReassignReason.NO_RESULT,
        result=None,
        publics=(),
        refused=refused[-_REFUSED_KEPT:],
    )


def _tick(job: Job, now_ms: TimestampMs, params: ProtocolParams) -> Job:
    if job.state in CLOSED or job.expired:
        return job
    if now_ms >= job.deadline_ms:
        return replace(job, expired=True)
    segments = [
        _overdue(job, segment, now_ms, params) if now_ms >= segment.deadline_ms else segment
        for segment in job.segments
    ]
    return replace(job, segments=tuple(segments))


def _overdue(job: Job, segment: Segment, now_ms: TimestampMs, params: ProtocolParams) -> Segment:
    """Note who is late; tell again what is known, so that all nodes come to say the same."""
    late, cannot = segment.late, segment.cannot
    if segment.stage is Stage.ASSIGNED:
        late = ReassignReason.NOT_ACCEPTED
        if segment.operator == job.me and not segment.input_held:
            cannot = cannot or FailReason.WITHHELD
    elif segment.stage is Stage.ACCEPTED:
        late = ReassignReason.NO_RESULT
    again = TimestampMs(now_ms + params.accept_timeout_ms)
    return replace(segment, late=late, cannot=cannot, deadline_ms=again, relays=segment.relays + 1)


def _progress(job: Job, now_ms: TimestampMs) -> Job:
    """Follow the table as far as the segments carry it."""
    if job.state not in WORKING:
        return job
    slowest = min(segment.stage for segment in job.segments)
    if slowest is not Stage.VERIFIED:
        job = replace(job, claim=b"")
    elif not job.claim:
        job = _combine(job)
    facts = (
        (JobEvent.FIRST_ACCEPTED, any(segment.stage for segment in job.segments)),
        (JobEvent.ALL_ACCEPTED, slowest >= Stage.ACCEPTED),
        (JobEvent.PROOF_REFUSED, slowest < Stage.PROVEN),
        (JobEvent.ALL_PROVEN, slowest >= Stage.PROVEN),
        (JobEvent.ALL_VERIFIED, bool(job.claim)),
    )
    for event, holds in facts:
        if holds and has_transition(job.state, event):
            job = _move(job, event, now_ms)
    return job


def _combine(job: Job) -> Job:
    """Draw the claim; if proofs contradict each other, those that do are to be proven by others.

    A prover that used an input of its own makes valid proofs that fit no others. Who it was can
    not be told from two that differ, so both give their segment up.
    """
    submissions = [Submission(segment.operator, segment.publics) for segment in job.segments]
    *parts, combined = submissions
    try:
        claim = encode_claim(combine_claim(job.request_id, parts, combined))
        provers = tuple(segment.operator for segment in job.segments)
        drawn = outcome_id(Completed(job.request_id, claim, provers))
        others = tuple(known for known in job.drawn if known != drawn)
        return replace(job, claim=claim, drawn=(*others, drawn)[-_DRAWN_KEPT:])
    except Rejection:
        hashes = parse_combine(combined.values).segment_hashes
        doubted = {len(parts)} | {
            place
            for place, part in enumerate(parts)
            if parse_segment(part.values).root_hash != hashes[place]
        }
    segments = [
        replace(segment, late=ReassignReason.NO_RESULT if place in doubted else None)
        for place, segment in enumerate(job.segments)
    ]
    return replace(job, segments=tuple(segments))


def _put(job: Job, place: int, segment: Segment) -> Job:
    segments = (*job.segments[:place], segment, *job.segments[place + 1 :])
    return replace(job, segments=segments)


def _move(job: Job, event: JobEvent, now_ms: TimestampMs) -> Job:
    state = after(job.state, event)
    return replace(job, state=state, since={state: now_ms, **job.since})
