"""What a node owes a job now: pure functions of the job's state.

`todo` is level-triggered: a replica does what is new since the step before, and all of it again
after a restart; each item is safe to do twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.job import Job, Stage
from protocol.lifecycle import CLOSED, WORKING, JobState
from protocol.outcomes import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    FailReason,
    Outcome,
    Reassigned,
    outcome_id,
)
from protocol.types import Hash, TimestampMs


@dataclass(frozen=True, slots=True)
class SendAccept:
    """Sign Accept: the input is held."""

    segment: int
    input_hash: Hash


@dataclass(frozen=True, slots=True)
class Prove:
    """Prove this segment; stop when it is no longer asked for."""

    segment: int


@dataclass(frozen=True, slots=True)
class SayUnavailable:
    """Sign Unavailable."""

    segment: int
    reason: FailReason


@dataclass(frozen=True, slots=True)
class Check:
    """Verify the proof in the result with this digest."""

    segment: int
    digest: Hash


@dataclass(frozen=True, slots=True)
class Relay:
    """Send again the envelopes held of this segment (Accept, Unavailable, result), once a count."""

    segment: int
    count: int


@dataclass(frozen=True, slots=True)
class Drop:
    """The request is over: delete private inputs and checkpoints."""


Duty = SendAccept | Prove | SayUnavailable | Check | Relay | Drop


def todo(job: Job) -> tuple[Duty, ...]:
    """What this node should do for the job now."""
    if job.state in CLOSED:
        return (Drop(),)
    if job.expired:
        return ()
    duties: list[Duty] = []
    for place, segment in enumerate(job.segments):
        mine = segment.operator == job.me
        if mine and segment.cannot is not None and segment.stage < Stage.PROVEN:
            duties.append(SayUnavailable(place, segment.cannot))
        elif mine and segment.stage is Stage.ASSIGNED and segment.input_held:
            duties.append(SendAccept(place, Hash(job.input_hashes[place])))
        elif mine and segment.stage is Stage.ACCEPTED and segment.input_held:
            duties.append(Prove(place))
        if segment.stage is Stage.PROVEN and segment.result is not None:
            duties.append(Check(place, segment.result))
        if segment.relays:
            duties.append(Relay(place, segment.relays))
    return tuple(duties)


def vouches(job: Job) -> tuple[Outcome, ...]:
    """Outcomes that this node puts into its next list.

    After the deadline view nothing but the expiry, so that nodes with and without the last proof
    say the same again.
    """
    if job.expired:
        certified = job.state is JobState.AUCTIONED or job.state in WORKING
        return (Expired(job.request_id),) if certified else ()
    if job.state is JobState.AUCTIONED:
        return (Cancelled(job.request_id),) if job.cancel_asked else ()
    if job.state not in WORKING:
        return ()
    if job.claim:
        provers = tuple(segment.operator for segment in job.segments)
        return (Completed(job.request_id, job.claim, provers),)
    reason = _hopeless(job)
    if reason is not None:
        return (Failed(job.request_id, reason),)
    return tuple(
        Reassigned(job.request_id, place, segment.attempt, segment.late)
        for place, segment in enumerate(job.segments)
        if segment.late is not None
    )


def evident(job: Job, outcome: Completed | Cancelled | Failed) -> bool:
    """Tell whether what is known here bears an outcome out that others vouch for.

    What bore it out once does so for good, whatever else comes: a Value that a quorum prepared must
    stay acceptable to all. So the deadline does not matter here, nor which reason for a failure the
    provers gave, nor what this node would say itself by now. Who holds two statements of one prover
    can draw no claim from them, and goes with the N - f members whose lists say what they verified.
    """
    match outcome:
        case Completed():
            barred = any(segment.barred for segment in job.segments)
            return barred or outcome_id(outcome) in job.drawn
        case Cancelled():
            return job.state is JobState.AUCTIONED and job.cancel_asked
        case Failed():
            return any(len(segment.unavailable) > 1 for segment in job.segments)


def next_deadline_ms(job: Job) -> TimestampMs | None:
    """When `Ticked` will change something; None if never."""
    if job.state in CLOSED or job.expired:
        return None
    return min((job.deadline_ms, *(segment.deadline_ms for segment in job.segments)))


def _hopeless(job: Job) -> FailReason | None:
    """Why two operators of one segment could not prove it, None if no segment has two such."""
    for segment in job.segments:
        if segment.stage is not Stage.VERIFIED and len(segment.unavailable) > 1:
            return max(segment.unavailable.values())
    return None
