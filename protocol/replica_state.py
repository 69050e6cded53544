"""All that a replica knows. A snapshot is its JSON: amounts of wei outgrow 64 bits.

Certified state is the ledger and the round; the rest is what this node has heard or done itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocol.batch import Batch
from protocol.errors import LocalProtocolError
from protocol.inputs import AskPolicy, BatchSettled, ProgramRegistered, TableOpened
from protocol.job import Job
from protocol.ledger import Ledger
from protocol.messages import BidReceipt, BuyBid, Certificate, ProofRequest, SealedBid
from protocol.rounds.state import RoundState
from protocol.types import Address, Hash

MAX_REQUESTS = 4_096
"""Requests held that no round has decided yet."""
MAX_REQUESTS_PER_OWNER = 64
MAX_BIDS_PER_REQUEST = 2
"""A second one counts if the first was lost, or void for this member alone."""
MAX_BIDS = 2 * MAX_REQUESTS
MAX_STATEMENTS = 4_096
"""Frames of provers' statements held for one request."""
MAX_EARLY_SETTLEMENTS = 64
"""Batches seen on chain that this node has not decided yet."""


class SignedRequest(msgspec.Struct, frozen=True):
    """A request with its owner's signature."""

    body: ProofRequest
    signature: bytes


class SignedBid(msgspec.Struct, frozen=True):
    """A sealed bid with its bidder's signature."""

    body: SealedBid
    signature: bytes


class SignedReceipt(msgspec.Struct, frozen=True):
    """A member's receipt for a bid, with its signature."""

    body: BidReceipt
    signature: bytes


class OpenedBid(msgspec.Struct, frozen=True):
    """The bid that admitted a request, sealed and opened."""

    sealed: SignedBid
    bid: BuyBid


class Unsettled(msgspec.Struct, frozen=True):
    """A certified batch that is not final on chain yet."""

    round: int
    header: Batch
    debits: bytes
    certificate: Certificate
    charged: Mapping[Address, int]
    """Debits by requester: gone from their escrow as soon as the chain has the batch."""
    requests: tuple[Hash, ...]
    due_ms: int
    """When this node sends the transaction itself, if nobody did."""


class Ending(msgspec.Struct, frozen=True):
    """How a request ended, for its document."""

    status: int
    fee: int
    claim: bytes
    round: int
    sequence: int
    gateway: bytes
    """Gateway of the deciding view; empty if this node only heard of the decision."""
    voters: int
    operators: int
    reason: str
    """Code of why it was refunded; empty if it was settled."""
    transaction: bytes = b""
    gas_used: int = 0


class Placed(msgspec.Struct, frozen=True):
    """Round and gateway that awarded a request."""

    round: int
    gateway: bytes


class ReplicaState(msgspec.Struct):
    """State of one replica; its owner alone changes it."""

    ledger: Ledger | None
    """None until the first operator table is known."""
    round: RoundState | None
    tables: dict[int, TableOpened]
    programs: dict[Hash, ProgramRegistered]
    policies: dict[Hash, AskPolicy]
    clock_ok: bool
    decided_ms: int
    """When this node decided its last round."""

    requests: dict[Hash, SignedRequest]
    """By request id: heard of, not decided."""
    bids: dict[Hash, SignedBid]
    """By bid id: asks of the open round and of the one to come, and what buyers bid for requests
    that no round has decided."""
    promised: dict[Hash, int]
    """Bid -> the round whose list carries it, as this node's receipt says."""
    left_out: dict[Hash, int]
    """Buyer's bid in the pool -> rounds that were decided without it though the own list had it."""
    receipts: dict[Hash, dict[Address, SignedReceipt]]
    """Bid in the pool -> member -> its receipt."""
    evidence: dict[Hash, int]
    """Faults that are proven, the latest, with the round of each."""
    archive: dict[Hash, bytes]
    """Frames by id that the open round rests on, or that came with decided rounds not adopted yet:
    kept whatever becomes of the pools and jobs meanwhile."""

    jobs: dict[Hash, Job]
    owners: dict[Hash, SignedRequest]
    """The request of each job."""
    opened: dict[Hash, OpenedBid]
    """By request: what admitted it."""
    statements: dict[Hash, dict[bytes, bytes]]
    """Request -> slot -> frame of what provers and the owner said."""
    placed: dict[Hash, Placed]
    endings: dict[Hash, Ending]
    verdicts: dict[Hash, str]
    """Code of what the last clearing said of each request."""

    escrow: dict[Address, int]
    unrefreshed: dict[Address, int]
    """Debits that the chain has taken since this requester's escrow was last read."""
    unsettled: dict[int, Unsettled]
    """By settlement sequence."""
    settled_early: dict[int, BatchSettled]


def empty_state() -> ReplicaState:
    """A replica that knows nothing yet."""
    return ReplicaState(
        ledger=None,
        round=None,
        tables={},
        programs={},
        policies={},
        clock_ok=False,
        decided_ms=0,
        requests={},
        bids={},
        promised={},
        left_out={},
        receipts={},
        evidence={},
        archive={},
        jobs={},
        owners={},
        opened={},
        statements={},
        placed={},
        endings={},
        verdicts={},
        escrow={},
        unrefreshed={},
        unsettled={},
        settled_early={},
    )


def encode_replica(state: ReplicaState) -> bytes:
    """A snapshot."""
    return msgspec.json.encode(state)


def decode_replica(raw: bytes) -> ReplicaState:
    """The state of this node's own snapshot; raises LocalProtocolError if it is none."""
    try:
        return msgspec.json.decode(raw, type=ReplicaState)
    except ValueError as exc:
        raise LocalProtocolError(f"not a snapshot of a replica: {exc}") from exc
