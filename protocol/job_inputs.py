"""What a job learns: certified facts, statements of operators, and this node's own progress."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.award import Award
from protocol.batch import ResultStatus
from protocol.outcomes import FailReason
from protocol.types import Address, Hash


@dataclass(frozen=True, slots=True)
class Classified:
    """The program's class is known."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A decided round let it into the market."""


@dataclass(frozen=True, slots=True)
class Awarded:
    """Certified: it has this award now, its first one or one changed by reassignments."""

    award: Award


@dataclass(frozen=True, slots=True)
class InputHeld:
    """This node holds the private input of a segment, and it matches its hash."""

    segment: int


@dataclass(frozen=True, slots=True)
class CannotProve:
    """This node can not prove a segment of its own."""

    segment: int
    reason: FailReason


@dataclass(frozen=True, slots=True)
class AcceptSeen:
    """A signed Accept."""

    segment: int
    operator: Address
    input_hash: Hash


@dataclass(frozen=True, slots=True)
class UnavailableSeen:
    """A signed Unavailable."""

    segment: int
    operator: Address
    reason: FailReason


@dataclass(frozen=True, slots=True)
class ResultSeen:
    """A signed SegmentResult; digest is keccak256 of its frame."""

    segment: int
    operator: Address
    digest: Hash
    publics: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ResultChecked:
    """The check of a result's proof ended."""

    segment: int
    digest: Hash
    valid: bool


@dataclass(frozen=True, slots=True)
class CancelSeen:
    """A Cancel signed by the requester."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Certified: a decided batch holds its result."""

    status: ResultStatus


@dataclass(frozen=True, slots=True)
class OnChain:
    """The batch that holds its result is final on chain."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Nothing but time passed."""


Statement = InputHeld | AcceptSeen | UnavailableSeen | ResultSeen
"""What may come before the award that it is about: other nodes may hear of it first."""

AboutSegment = Statement | CannotProve | ResultChecked

JobInput = (
    Classified
    | Admitted
    | Awarded
    | InputHeld
    | CannotProve
    | AcceptSeen
    | UnavailableSeen
    | ResultSeen
    | ResultChecked
    | CancelSeen
    | Closed
    | OnChain
    | Ticked
)
