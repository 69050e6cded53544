"""What can happen to a replica: everything it knows came in as one of these, journalled first.

Inputs are tagged structs so that the journal can hold them as bytes and replay them. The most
frequent one holds bytes alone: the garbage collector need not look for cycles there.
"""

from __future__ import annotations

import msgspec


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Base of all inputs."""


class Received(Input, frozen=True, gc=False):
    """An envelope that passed ingress (or that this node signed itself), as its canonical frame."""

    frame: bytes
    peer: bytes = b""
    """Operator that brought it; empty if it came by the API, or is this node's own."""


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of an operator table."""

    operator: bytes
    session: bytes
    bls_key: bytes
    """48-byte compressed G1 point."""
    sealing_key: bytes
    """32-byte X25519 public key."""
    peer_id: str
    multiaddrs: tuple[str, ...]
    weight: int
    """Slashable stake in the registry's weight unit."""


class TableOpened(Input, frozen=True):
    """The chain opened an epoch with a frozen operator table; final."""

    epoch: int
    seed: bytes
    operators: tuple[Operator, ...]
    """Ordered by table position, the position that certificates name."""


class ProgramRegistered(Input, frozen=True):
    """A program known on chain and in the local store: what a job of it looks like."""

    program_id: bytes
    class_id: bytes
    max_segments: int


class ClockJudged(Input, frozen=True):
    """Whether this node's clock is within bounds of the chain head; comes when that changes."""

    within_bounds: bool


class EscrowBalance(Input, frozen=True):
    """Final escrow of a requester that is not being withdrawn."""

    requester: bytes
    amount: int


class BatchSettled(Input, frozen=True):
    """The chain holds the batch with this settlement sequence; final."""

    sequence: int
    root: bytes
    transaction: bytes
    gas_used: int


class SettleFailed(Input, frozen=True):
    """A settlement transaction of this node did not go through; another attempt is due."""

    sequence: int
    reason: str


class InputHeld(Input, frozen=True):
    """The private input of an assigned segment arrived and matches its hash."""

    request_id: bytes
    segment: int


class Proved(Input, frozen=True):
    """This node's own proof of a segment, self-verified."""

    request_id: bytes
    segment: int
    publics: tuple[bytes, ...]
    proof: bytes


class ProvingFailed(Input, frozen=True):
    """This node can not prove the segment: reason is a RejectionReason code."""

    request_id: bytes
    segment: int
    reason: str


class ProofChecked(Input, frozen=True):
    """The check of a SegmentResult ended. digest is keccak256 of its frame."""

    digest: bytes
    valid: bool
    reason: str


class AskPolicy(Input, frozen=True):
    """What this operator offers from now on: slots and price per class; empty stops bidding."""

    class_id: bytes
    slots: int
    price: int


class Tick(Input, frozen=True):
    """Nothing but time passed."""


AnyInput = (
    Received
    | TableOpened
    | ProgramRegistered
    | ClockJudged
    | EscrowBalance
    | BatchSettled
    | SettleFailed
    | InputHeld
    | Proved
    | ProvingFailed
    | ProofChecked
    | AskPolicy
    | Tick
)
