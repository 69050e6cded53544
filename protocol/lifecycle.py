"""The life-cycle of a request in one table; docs/jobs.md holds the diagram drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocol.errors import LocalProtocolError


class JobState(Enum):
    """Where a request stands, as one node sees it."""

    REQUESTED = "requested"
    CLASSIFIED = "classified"
    AUCTIONED = "auctioned"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    PROVING = "proving"
    REASSIGNED = "reassigned"
    SUBMITTED = "submitted"
    VERIFIED = "verified"
    CERTIFIED = "certified"
    SETTLED = "settled"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class JobEvent(Enum):
    """What moves a request on."""

    CLASSIFY = "program known"
    ADMIT = "bid decided"
    AWARD = "award decided"
    FIRST_ACCEPTED = "first Accept"
    ALL_ACCEPTED = "every segment accepted"
    ALL_PROVEN = "every segment has a result"
    ALL_VERIFIED = "every proof verified, and they fit together"
    PROOF_REFUSED = "a proof is refused"
    REASSIGN = "reassignment decided"
    RETURN = "no standby left"
    COMPLETE = "completion decided"
    FAIL = "failure decided"
    EXPIRE = "expiry decided"
    CANCEL = "cancellation decided"
    ON_CHAIN = "batch final on chain"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: in `source`, `event` leads to `target`, and why there is such a row."""

    source: JobState
    event: JobEvent
    target: JobState
    why: str


_S, _E = JobState, JobEvent

BEFORE_AWARD: Final = (_S.REQUESTED, _S.CLASSIFIED, _S.AUCTIONED)
WORKING: Final = (
    _S.ASSIGNED,
    _S.ACCEPTED,
    _S.PROVING,
    _S.SUBMITTED,
    _S.VERIFIED,
    _S.REASSIGNED,
)
"""States between the award and its end: provers owe something."""
CLOSED: Final = frozenset(
    {_S.CERTIFIED, _S.SETTLED, _S.FAILED, _S.EXPIRED, _S.CANCELLED, _S.REFUNDED}
)
"""States in which a decided batch holds the request's result."""

TABLE: Final[tuple[Transition, ...]] = (
    # The straight way.
    Transition(
        _S.REQUESTED, _E.CLASSIFY, _S.CLASSIFIED, "its class says which market it trades in"
    ),
    Transition(_S.CLASSIFIED, _E.ADMIT, _S.AUCTIONED, "N - f members listed it: reserve certified"),
    Transition(_S.AUCTIONED, _E.AWARD, _S.ASSIGNED, "it won in a decided clearing"),
    Transition(_S.ASSIGNED, _E.FIRST_ACCEPTED, _S.ACCEPTED, "a prover holds its input: liability"),
    Transition(_S.ACCEPTED, _E.ALL_ACCEPTED, _S.PROVING, "no input is missing any more"),
    Transition(_S.PROVING, _E.ALL_PROVEN, _S.SUBMITTED, "checks may still refuse one"),
    Transition(_S.SUBMITTED, _E.ALL_VERIFIED, _S.VERIFIED, "this node vouches for the completion"),
    Transition(_S.VERIFIED, _E.COMPLETE, _S.CERTIFIED, "two thirds of the stake say the same"),
    Transition(_S.CERTIFIED, _E.ON_CHAIN, _S.SETTLED, "fee debited, provers credited"),
    # Back, when a result does not hold.
    Transition(_S.SUBMITTED, _E.PROOF_REFUSED, _S.PROVING, "the prover may still send a valid one"),
    Transition(_S.VERIFIED, _E.PROOF_REFUSED, _S.PROVING, "a prover signed contradicting results"),
    # A standby takes over: of everything else, what is verified stays.
    *(
        Transition(source, _E.REASSIGN, _S.REASSIGNED, "a segment went to the standby")
        for source in WORKING
    ),
    Transition(_S.REASSIGNED, _E.ALL_ACCEPTED, _S.PROVING, "the standby holds its input"),
    *(
        Transition(source, _E.RETURN, _S.AUCTIONED, "every standby was tried: back in its market")
        for source in WORKING
    ),
    # The others may be further than this node.
    *(
        Transition(source, _E.COMPLETE, _S.CERTIFIED, "the others verified it first")
        for source in WORKING
        if source is not _S.VERIFIED
    ),
    # Ends without a proof; nothing is paid.
    *(
        Transition(source, _E.FAIL, _S.FAILED, "two provers of a segment can not")
        for source in WORKING
    ),
    *(
        Transition(source, _E.EXPIRE, _S.EXPIRED, "the deadline view is over")
        for source in (*BEFORE_AWARD, *WORKING)
    ),
    *(
        Transition(source, _E.CANCEL, _S.CANCELLED, "its owner took it back before an award")
        for source in BEFORE_AWARD
    ),
    *(
        Transition(source, _E.ON_CHAIN, _S.REFUNDED, "the reserve is free again")
        for source in (_S.FAILED, _S.EXPIRED, _S.CANCELLED)
    ),
)

_TARGETS: Final = {(row.source, row.event): row.target for row in TABLE}


def has_transition(state: JobState, event: JobEvent) -> bool:
    """Tell whether the table has such a row."""
    return (state, event) in _TARGETS


def after(state: JobState, event: JobEvent) -> JobState:
    """State that an event leads to; raises LocalProtocolError if the table has no such row."""
    try:
        return _TARGETS[state, event]
    except KeyError as exc:
        raise LocalProtocolError(f"no {event.name} in {state.name}") from exc
