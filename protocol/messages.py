"""Every body that crosses the wire, and the envelope that carries it.

A body is what is signed (its EIP-712 digest, see `protocol/eip712.py`); the envelope adds the
sender and the signature.
Bytes are exact lengths: addresses 20, hashes 32, session signatures 65, BLS signatures 96
(compressed G2). Amounts are 32
big-endian bytes. `protocol/codec.py` enforces the lengths; nothing else decodes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

WIRE_VERSION: Final = 1


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Base of all wire structs: immutable, exact fields, no defaults."""


class Kind(IntEnum):
    """Type tag of an envelope's body; never reused."""

    REQUEST = 1
    SEALED_BID = 2
    BID_LIST = 3
    PROPOSAL = 4
    PREPARE = 5
    LOCK = 6
    COMMIT = 7
    TIMEOUT = 8
    STATUS = 9
    ACCEPT = 10
    RESULT = 11
    UNAVAILABLE = 12
    CANCEL = 13
    BID_SHARES = 14
    BID_RECEIPT = 15
    EVIDENCE = 16
    # unsigned replies of an authenticated peer: what they carry is checked by itself
    CERTIFICATE = 20
    FETCH = 21
    BODIES = 22
    FETCH_BATCHES = 23
    BATCHES = 24
    OUTCOME = 25
    # what a starting node asks before it signs
    RECALL = 30
    RECALLED = 31


class ProofRequest(Wire, frozen=True):
    """A request for a proof, without its bid; its digest is the request id. EIP-712."""

    program_id: bytes
    requester: bytes
    input_hashes: tuple[bytes, ...]
    """keccak256 of the private input of each segment, then of the combining segment."""
    copies: int
    reserve: bytes
    """Escrow set aside, 32 bytes; public, at least the maximum fee."""
    issued_at: int
    """Unix seconds on the requester's clock; what freshness is judged by."""
    deadline_view: int
    allowlist: tuple[bytes, ...]
    """Operators that may see the input; empty means every operator."""
    salt: bytes


class SealedBid(Wire, frozen=True):
    """A bid that only f + 1 members of the epoch's committee can open. EIP-712 `SealedBid`.

    A buyer's counts from its round on until its epoch ends, an ask in its round alone. How it is
    sealed and opened: `protocol/sealing.py`.
    """

    epoch: int
    round: int
    class_id: bytes
    bidder: bytes
    """The requester of a buyer's bid, who signs it; the operator of an ask."""
    request_id: bytes
    """What a buyer bids for; zero for an ask."""
    commitment: bytes
    """keccak256 of the bid's EIP-712 digest and its salt."""
    ephemeral: bytes
    """32-byte X25519 public key that all boxes share."""
    ciphertext: bytes
    """84 bytes: salt, amount and slots under the bid's key."""
    boxes: tuple[bytes, ...]
    """The share of each committee member, sealed to it; 48 bytes each, in committee order."""
    share_hashes: tuple[bytes, ...]


class BuyBid(msgspec.Struct, frozen=True):
    """The requester's one immutable maximum fee: what its sealed bid opens to. EIP-712 `BuyBid`."""

    request_id: bytes
    max_fee: bytes
    salt: bytes


class AskBid(msgspec.Struct, frozen=True):
    """A prover's price for slots of one class in one round, as opened. EIP-712 `AskBid`."""

    epoch: int
    round: int
    class_id: bytes
    operator: bytes
    slots: int
    price: bytes
    """Wei per slot, 32 bytes."""
    salt: bytes


class BidReceipt(Wire, frozen=True):
    """A member's word that its list of this round will carry the bid. EIP-712 `BidReceipt`."""

    epoch: int
    round: int
    member: bytes
    bid_id: bytes


class BidList(Wire, frozen=True):
    """The bids and outcomes that one member vouches for in one round, ids ascending. EIP-712."""

    epoch: int
    round: int
    member: bytes
    bids: tuple[bytes, ...]
    outcomes: tuple[bytes, ...]


class Value(Wire, frozen=True):
    """What a round decides: sets of ids, each ascending. EIP-712 `Value`; no view, no gateway."""

    epoch: int
    round: int
    parent: bytes
    lists: tuple[bytes, ...]
    bids: tuple[bytes, ...]
    outcomes: tuple[bytes, ...]
    evidence: tuple[bytes, ...]
    next_epoch: int


class Certificate(Wire, frozen=True):
    """More than two thirds of the stake signed one digest.

    kind is Kind.PREPARE, LOCK or COMMIT. value is the Value's digest. view is 0 for COMMIT.
    non_signers are
    ascending positions in the epoch's operator table; signature is the 96-byte aggregate.
    """

    kind: int
    epoch: int
    round: int
    view: int
    value: bytes
    digest: bytes
    """What was signed: the EIP-712 digest of Prepare, Lock or Batch."""
    non_signers: tuple[int, ...]
    signature: bytes


class Proposal(Wire, frozen=True):
    """The gateway's attempt of one view. Signed: (epoch, round, view, gateway, value digest)."""

    epoch: int
    round: int
    view: int
    gateway: bytes
    value: Value
    prepare: Certificate | None
    """The PrepareCert that a re-proposal carries."""


class Vote(Wire, frozen=True):
    """A PREPARE or LOCK: BLS over EIP-712 `Prepare` or `Lock`."""

    epoch: int
    round: int
    view: int
    value: bytes


class BidShares(Wire, frozen=True):
    """A member's shares of the bids of a decided Value, in the Value's order. EIP-712 `BidShares`.

    Revealed against a LockCert alone. A share is 32 bytes, zero where the member's box held none.
    """

    epoch: int
    round: int
    member: bytes
    value: bytes
    shares: tuple[bytes, ...]


class Commit(Wire, frozen=True):
    """COMMIT of one round: BLS over the EIP-712 digest of the Batch that these fields are."""

    epoch: int
    round: int
    value: bytes
    sequence: int
    parent: bytes
    root: bytes
    paid: bytes
    """Wei, 32 bytes."""
    debits_hash: bytes


class Timeout(Wire, frozen=True):
    """End of an undecided view, with the highest PrepareCert known.

    prepare_view is 0 and prepare_value zero if there is none.
    """

    epoch: int
    round: int
    view: int
    operator: bytes
    prepare_view: int
    prepare_value: bytes
    prepare: Certificate | None


class Status(Wire, frozen=True):
    """What a node announces in each active view: its head and what it knows.

    round is the round it works on (its BatchCert head is round - 1); pending says that it has bids
    or outcomes to decide.
    """

    epoch: int
    round: int
    view: int
    operator: bytes
    pending: bool
    prepare: Certificate | None
    lock: Certificate | None


class Accept(Wire, frozen=True):
    """The prover holds the segment's input and its witness exists. EIP-712 `Accept`."""

    request_id: bytes
    segment: int
    operator: bytes
    input_hash: bytes


class SegmentResult(Wire, frozen=True):
    """A segment's proof. Signed: EIP-712 `SegmentResult` over the hashes of publics and proof."""

    request_id: bytes
    segment: int
    prover: bytes
    publics: tuple[bytes, ...]
    """Public values in circuit order, 32 bytes each, below the field's order."""
    proof: bytes


class Unavailable(Wire, frozen=True):
    """The prover can not prove: input withheld (1) or unsatisfiable (2). EIP-712."""

    request_id: bytes
    segment: int
    operator: bytes
    reason: int


class Cancel(Wire, frozen=True):
    """The owner takes an unserved request out of the market. EIP-712 `Cancel`."""

    request_id: bytes


class Evidence(Wire, frozen=True):
    """Statements that prove an operator's fault (`protocol/evidence.py`). EIP-712 `Evidence`."""

    fault: int
    accused: bytes
    epoch: int
    round: int
    view: int
    """0 where the fault has none."""
    statements: tuple[bytes, ...]
    """Frames of signed envelopes, the accused's first; signed as the digests that they sign."""
    reporter: bytes


class OutcomeBody(Wire, frozen=True):
    """An outcome (`protocol/outcomes.py`); what its kind has no use for is empty or 0. Unsigned."""

    kind: int
    request_id: bytes
    claim: bytes
    provers: tuple[bytes, ...]
    segment: int
    attempt: int
    reason: int


class Fetch(Wire, frozen=True):
    """Asks a peer for bodies by id: values, lists, bids, requests or results."""

    ids: tuple[bytes, ...]


class Bodies(Wire, frozen=True):
    """Encoded envelopes that answer a Fetch; each is checked as if it had arrived by itself."""

    envelopes: tuple[bytes, ...]


class FetchBatches(Wire, frozen=True):
    """Asks for decided rounds from this one on."""

    from_round: int


class DecidedRound(Wire, frozen=True):
    """All that a late node needs to recompute one decided round."""

    value: Value
    certificate: Certificate
    envelopes: tuple[bytes, ...]
    """Sealed bids with their requests, and outcome bodies, that the Value names."""
    shares: tuple[BidShares, ...]
    """What opens the bids: each share is checked against its hash, whoever hands it on."""


class Batches(Wire, frozen=True):
    """Answers FetchBatches, ascending rounds without gaps, as many as fit one frame."""

    rounds: tuple[DecidedRound, ...]


class Recall(Wire, frozen=True):
    """A starting node asks what it was heard to say: statements of its own that still matter."""

    nonce: bytes
    """16 bytes; the answer names them."""


class Recalled(Wire, frozen=True):
    """Answers a Recall: the asker's statements as held, and the certificates of the open round."""

    nonce: bytes
    round: int
    """The round that the answering node works on; 0 before its first operator table."""
    envelopes: tuple[bytes, ...]
    """Encoded envelopes; each is checked as if it had arrived by itself."""


Body = (
    ProofRequest
    | SealedBid
    | BidReceipt
    | BidList
    | Proposal
    | Vote
    | BidShares
    | Commit
    | Timeout
    | Status
    | Accept
    | SegmentResult
    | Unavailable
    | Cancel
    | Evidence
    | OutcomeBody
    | Certificate
    | Fetch
    | Bodies
    | FetchBatches
    | Batches
    | Recall
    | Recalled
)

BODY_TYPES: Final[dict[Kind, type[Wire]]] = {
    Kind.REQUEST: ProofRequest,
    Kind.SEALED_BID: SealedBid,
    Kind.BID_LIST: BidList,
    Kind.PROPOSAL: Proposal,
    Kind.PREPARE: Vote,
    Kind.LOCK: Vote,
    Kind.COMMIT: Commit,
    Kind.TIMEOUT: Timeout,
    Kind.STATUS: Status,
    Kind.ACCEPT: Accept,
    Kind.RESULT: SegmentResult,
    Kind.UNAVAILABLE: Unavailable,
    Kind.CANCEL: Cancel,
    Kind.BID_SHARES: BidShares,
    Kind.BID_RECEIPT: BidReceipt,
    Kind.EVIDENCE: Evidence,
    Kind.CERTIFICATE: Certificate,
    Kind.FETCH: Fetch,
    Kind.BODIES: Bodies,
    Kind.FETCH_BATCHES: FetchBatches,
    Kind.BATCHES: Batches,
    Kind.OUTCOME: OutcomeBody,
    Kind.RECALL: Recall,
    Kind.RECALLED: Recalled,
}


class Envelope(Wire, frozen=True):
    """A body, who says it, and the signature over the body's digest (empty for unsigned kinds)."""

    kind: int
    sender: bytes
    body: Body
    signature: bytes
