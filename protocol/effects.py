"""What a replica wants done. Effects are data; doing one twice does no harm (each says why)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.batch import Batch
from protocol.messages import Body, Certificate, DecidedRound, Envelope, Kind, SegmentResult
from protocol.types import Address, Hash, TimestampMs


@dataclass(frozen=True, slots=True)
class Publish:
    """Sign a body, keep it, feed it back as Received, broadcast it (or send it to one operator).

    `slot` names what may be signed only once, for instance (LOCK, round, view). The signing guard
    returns the stored
    envelope when the slot is taken, whatever the body now says, so a repeated Publish never makes
    a second statement.
    """

    kind: Kind
    body: Body
    slot: bytes
    reliable: bool = False
    to: Address | None = None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send an envelope again, byte for byte; receivers drop what they know."""

    envelope: Envelope
    reliable: bool = False


@dataclass(frozen=True, slots=True)
class SendTo:
    """Send an unsigned or already signed envelope to one operator over its stream."""

    operator: Address
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class StartProving:
    """Prove an assigned segment whose input is held; the engine's journal makes it idempotent."""

    request_id: Hash
    segment: int
    program_id: Hash
    combining: bool


@dataclass(frozen=True, slots=True)
class StopProving:
    """The segment is no longer this node's; stopping what does not run does nothing."""

    request_id: Hash
    segment: int


@dataclass(frozen=True, slots=True)
class CheckProof:
    """Verify a SegmentResult in a worker; answered by ProofChecked(digest)."""

    digest: Hash
    program_id: Hash
    combining: bool
    result: SegmentResult


@dataclass(frozen=True, slots=True)
class SubmitBatch:
    """Settle a certified batch; the contract takes each sequence once."""

    header: Batch
    debits: bytes
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Decided:
    """A round is decided: keep its record and a snapshot, cut the journal."""

    record: DecidedRound


@dataclass(frozen=True, slots=True)
class ServeBatches:
    """Answer a late node with decided rounds from the store, as many as fit one frame."""

    operator: Address
    from_round: int


@dataclass(frozen=True, slots=True)
class WatchEscrow:
    """Ask the chain for a requester's escrow; answered by EscrowBalance."""

    requester: Address


@dataclass(frozen=True, slots=True)
class Forget:
    """The request is over: delete its private inputs and checkpoints."""

    request_id: Hash


@dataclass(frozen=True, slots=True)
class Report:
    """A request's document changed: keep it and show it. It is JSON, see `docs/api.md`."""

    request_id: Hash
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KeepProof:
    """The proof bundle of a certified request, as JSON; it stays the same."""

    request_id: Hash
    bundle: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KeepRound:
    """The public record of a decided round, as JSON, and the table that its certificate is of."""

    round: int
    document: Mapping[str, object]
    table: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KeepEvidence:
    """A fault of an operator is proven: keep what proves it, as JSON; it stays the same."""

    key: Hash
    round: int
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KeepReceipt:
    """A member promised to list the bid for a request: keep its word for the request's owner."""

    request_id: Hash
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Record:
    """Something an operator wants to see: journal line, metric, event stream."""

    event: str
    at_ms: TimestampMs
    fields: tuple[tuple[str, str | int], ...]


Effect = (
    Publish
    | Broadcast
    | SendTo
    | StartProving
    | StopProving
    | CheckProof
    | SubmitBatch
    | Decided
    | ServeBatches
    | WatchEscrow
    | Forget
    | Report
    | KeepProof
    | KeepRound
    | KeepEvidence
    | KeepReceipt
    | Record
)
