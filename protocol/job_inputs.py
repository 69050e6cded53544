"""What a job learns: certified facts, statements of operators, and this node's own progress.

Tagged structs, since a job keeps some of them and its snapshot has to tell them apart.
"""

from __future__ import annotations

import msgspec

from protocol.award import Award
from protocol.batch import ResultStatus
from protocol.outcomes import FailReason
from protocol.types import Address, Hash


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Base of all that a job learns."""


class Classified(Learned, frozen=True):
    """The program's class is known."""


class Admitted(Learned, frozen=True):
    """A decided round let it into the market."""


class Awarded(Learned, frozen=True):
    """Certified: it has this award now, its first one or one changed by reassignments."""

    award: Award


class InputHeld(Learned, frozen=True):
    """This node holds the private input of a segment, and it matches its hash."""

    segment: int


class CannotProve(Learned, frozen=True):
    """This node can not prove a segment of its own."""

    segment: int
    reason: FailReason


class AcceptSeen(Learned, frozen=True):
    """A signed Accept."""

    segment: int
    operator: Address
    input_hash: Hash


class UnavailableSeen(Learned, frozen=True):
    """A signed Unavailable."""

    segment: int
    operator: Address
    reason: FailReason


class ResultSeen(Learned, frozen=True):
    """A signed SegmentResult; digest is keccak256 of its frame."""

    segment: int
    operator: Address
    digest: Hash
    publics: tuple[bytes, ...]


class ResultChecked(Learned, frozen=True):
    """The check of a result's proof ended."""

    segment: int
    digest: Hash
    valid: bool


class CancelSeen(Learned, frozen=True):
    """A Cancel signed by the requester."""


class Returned(Learned, frozen=True):
    """Certified: no operator is left for a segment, so the request is in its market again."""


class Closed(Learned, frozen=True):
    """Certified: a decided batch holds its result."""

    status: ResultStatus


class OnChain(Learned, frozen=True):
    """The batch that holds its result is final on chain."""


class Ticked(Learned, frozen=True):
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
    | Returned
    | Closed
    | OnChain
    | Ticked
)
