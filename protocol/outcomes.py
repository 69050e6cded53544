"""Outcomes: what became of a request or a segment, vouched for by id in members' lists.

An outcome holds only what every node can find out for itself, never proof bytes (proofs are
malleable) nor times, so nodes that saw the same facts name the same id. The id is

    keccak256("provernet/outcome/1" | kind (1 byte) | request id (32) | fields)

    COMPLETED   keccak256(claim) (32) | number of provers (4) | provers (20 each, combining last)
    EXPIRED, CANCELLED   nothing
    FAILED      reason (1)
    REASSIGNED  segment (4) | attempt that ended (4) | reason (1)

with integers big-endian. A request id is an EIP-712 digest, so an outcome is of one chain and one
registry. On the wire an outcome travels as an OutcomeBody, unsigned: its id proves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.errors import Rejection, RejectionReason
from protocol.hashing import keccak
from protocol.messages import OutcomeBody
from protocol.types import Address, Hash

MAX_CLAIM: Final = 1_024
"""Bytes of a program's claim."""
MAX_PROVERS: Final = 257
"""Segments of one request, with the combining one."""
_ENCODING: Final = b"provernet/outcome/1"
_UINT32: Final = 1 << 32


class OutcomeKind(IntEnum):
    """Type tag of an outcome; never reused. The first four are a result's status."""

    COMPLETED = 1
    EXPIRED = 2
    CANCELLED = 3
    FAILED = 4
    REASSIGNED = 5


class FailReason(IntEnum):
    """Why a request can not be proven, as two distinct operators of one segment say."""

    WITHHELD = 1
    """The requester did not deliver the input."""
    UNSATISFIABLE = 2
    """The input does not satisfy the program."""


class ReassignReason(IntEnum):
    """Why a segment goes to the standby."""

    NOT_ACCEPTED = 1
    """No Accept in time: the input may never have arrived, so nobody is liable."""
    NO_RESULT = 2
    """Accepted, then no valid result in time: the prover is liable."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Every segment is proven and verified, and the proofs fit together to this claim."""

    request_id: Hash
    claim: bytes
    provers: tuple[Address, ...]
    """Who proved which segment; the combining one last."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline view is over."""

    request_id: Hash


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Its owner took the unserved request out of the market."""

    request_id: Hash


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody can prove it."""

    request_id: Hash
    reason: FailReason


@dataclass(frozen=True, slots=True)
class Reassigned:
    """The segment's attempt of this number is over; the standby takes it."""

    request_id: Hash
    segment: int
    attempt: int
    reason: ReassignReason


Outcome = Completed | Expired | Cancelled | Failed | Reassigned


def outcome_id(outcome: Outcome) -> Hash:
    """The 32-byte id that lists and Values carry."""
    fields = b""
    match outcome:
        case Completed(claim=claim, provers=provers):
            fields = keccak(claim) + _uint32(len(provers)) + b"".join(provers)
        case Failed(reason=reason):
            fields = bytes([reason])
        case Reassigned(segment=segment, attempt=attempt, reason=cause):
            fields = _uint32(segment) + _uint32(attempt) + bytes([cause])
        case Expired() | Cancelled():
            pass
    return Hash(keccak(_ENCODING + bytes([kind_of(outcome)]) + outcome.request_id + fields))


def kind_of(outcome: Outcome) -> OutcomeKind:
    """The type tag."""
    return _KINDS[type(outcome)]


def encode_outcome(outcome: Outcome) -> OutcomeBody:
    """The outcome as it crosses the wire."""
    claim, provers = b"", tuple[Address, ...]()
    segment = attempt = reason = 0
    match outcome:
        case Completed():
            claim, provers = outcome.claim, outcome.provers
        case Failed():
            reason = int(outcome.reason)
        case Reassigned():
            segment, attempt, reason = outcome.segment, outcome.attempt, int(outcome.reason)
        case Expired() | Cancelled():
            pass
    kind = int(kind_of(outcome))
    return OutcomeBody(kind, outcome.request_id, claim, provers, segment, attempt, reason)


def decode_outcome(body: OutcomeBody) -> Outcome:
    """The outcome of a hostile body; `outcome_id` of what comes out must be the id asked for.

    Raises:
        Rejection: MALFORMED, if a field has the wrong length or its kind has no use for it.
    """
    _require(len(body.request_id) == 32, "request id")
    _require(len(body.claim) <= MAX_CLAIM and len(body.provers) <= MAX_PROVERS, "size")
    _require(all(len(prover) == 20 for prover in body.provers), "prover")
    _require(0 <= body.segment < _UINT32 and 0 <= body.attempt < _UINT32, "segment")
    request_id = Hash(body.request_id)
    try:
        outcome = _build(body, request_id)
    except ValueError as exc:
        raise Rejection(RejectionReason.MALFORMED, str(exc)) from exc
    _require(encode_outcome(outcome) == body, "a field that the kind has no use for")
    return outcome


def _build(body: OutcomeBody, request_id: Hash) -> Outcome:
    match OutcomeKind(body.kind):
        case OutcomeKind.COMPLETED:
            provers = tuple(Address(prover) for prover in body.provers)
            return Completed(request_id, body.claim, provers)
        case OutcomeKind.EXPIRED:
            return Expired(request_id)
        case OutcomeKind.CANCELLED:
            return Cancelled(request_id)
        case OutcomeKind.FAILED:
            return Failed(request_id, FailReason(body.reason))
        case OutcomeKind.REASSIGNED:
            cause = ReassignReason(body.reason)
            return Reassigned(request_id, body.segment, body.attempt, cause)


def _uint32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Rejection(RejectionReason.MALFORMED, what)


_KINDS: Final[dict[type[Outcome], OutcomeKind]] = {
    Completed: OutcomeKind.COMPLETED,
    Expired: OutcomeKind.EXPIRED,
    Cancelled: OutcomeKind.CANCELLED,
    Failed: OutcomeKind.FAILED,
    Reassigned: OutcomeKind.REASSIGNED,
}
