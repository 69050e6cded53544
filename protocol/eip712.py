"""Digests of everything signed: EIP-712 typed data under one domain.

The type table is the only place that names fields and their order; Solidity keeps in step through
`tests/vectors/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from protocol.batch import Batch
from protocol.codec import decode
from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.messages import (
    Accept,
    AskBid,
    Batches,
    BidList,
    BidReceipt,
    BidShares,
    Bodies,
    Body,
    BuyBid,
    Cancel,
    Certificate,
    Commit,
    Envelope,
    Evidence,
    Fetch,
    FetchBatches,
    Kind,
    OutcomeBody,
    ProofRequest,
    Proposal,
    Recall,
    Recalled,
    SealedBid,
    SegmentResult,
    Status,
    Timeout,
    Unavailable,
    Value,
    Vote,
)
from protocol.types import Address, Hash, Wei

TYPE_TABLE: Final[dict[str, str]] = {
    "EIP712Domain": "string name,string version,uint256 chainId,address verifyingContract",
    "ProofRequest": (
        "bytes32 programId,address requester,bytes32[] inputHashes,uint32 copies,uint256 reserve,"
        "uint64 issuedAt,uint64 deadlineView,address[] allowlist,bytes32 salt"
    ),
    "BuyBid": "bytes32 requestId,uint256 maxFee,bytes32 salt",
    "AskBid": (
        "uint64 epoch,uint64 round,bytes32 classId,address operator,uint32 slots,uint256 price,"
        "bytes32 salt"
    ),
    "SealedBid": (
        "uint64 epoch,uint64 round,bytes32 classId,address bidder,bytes32 requestId,"
        "bytes32 commitment,bytes32 sealedHash,bytes32[] shareHashes"
    ),
    "BidReceipt": "uint64 epoch,uint64 round,address member,bytes32 bidId",
    "BidShares": ("uint64 epoch,uint64 round,address member,bytes32 value,bytes32[] shares"),
    "Evidence": (
        "uint8 fault,address accused,uint64 epoch,uint64 round,uint64 view,bytes32[] statements,"
        "address reporter"
    ),
    "BidList": "uint64 epoch,uint64 round,address member,bytes32[] bids,bytes32[] outcomes",
    "Value": (
        "uint64 epoch,uint64 round,bytes32 parent,bytes32[] lists,bytes32[] bids,"
        "bytes32[] outcomes,bytes32[] evidence,uint64 nextEpoch"
    ),
    "Proposal": "uint64 epoch,uint64 round,uint64 view,address gateway,bytes32 value",
    "Prepare": "uint64 epoch,uint64 round,uint64 view,bytes32 value",
    "Lock": "uint64 epoch,uint64 round,uint64 view,bytes32 value",
    "Batch": (
        "uint64 epoch,uint64 round,bytes32 value,uint64 sequence,bytes32 parent,bytes32 root,"
        "uint128 paid,bytes32 debitsHash"
    ),
    "Timeout": (
        "uint64 epoch,uint64 round,uint64 view,address operator,uint64 prepareView,"
        "bytes32 prepareValue"
    ),
    "Status": (
        "uint64 epoch,uint64 round,uint64 view,address operator,bool pending,uint64 prepareView"
    ),
    "Accept": "bytes32 requestId,uint32 segment,address operator,bytes32 inputHash",
    "SegmentResult": (
        "bytes32 requestId,uint32 segment,address prover,bytes32 publicsHash,bytes32 proofHash"
    ),
    "Unavailable": "bytes32 requestId,uint32 segment,address operator,uint8 reason",
    "Cancel": "bytes32 requestId",
    "KeyRegistration": (
        "address operator,address session,bytes32 blsKeyHash,bytes32 sealingKey,bytes32 peerIdHash"
    ),
}
"""Fields of every type in encoding order, written as EIP-712 writes them."""

TYPE_STRINGS: Final = {name: f"{name}({fields})" for name, fields in TYPE_TABLE.items()}
TYPE_HASHES: Final = {name: Hash(keccak(text.encode())) for name, text in TYPE_STRINGS.items()}
_FIELD_TYPES: Final = {
    name: tuple(member.split(" ")[0] for member in fields.split(","))
    for name, fields in TYPE_TABLE.items()
}

_DOMAIN_NAME: Final = "provernet"
_DOMAIN_VERSION: Final = "1"

FieldValue = int | bool | str | bytes | tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature counts: one chain, one ProverRegistry (20 bytes)."""

    chain_id: int
    registry: Address
    separator: Hash = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = (_DOMAIN_NAME, _DOMAIN_VERSION, self.chain_id, self.registry)
        object.__setattr__(self, "separator", hash_struct("EIP712Domain", values))


def hash_struct(name: str, values: tuple[FieldValue, ...]) -> Hash:
    """EIP-712 hashStruct of one table entry, its values in field order.

    Raises:
        LocalProtocolError: a value does not fit its Solidity type; the codec lets none such in.
    """
    types = _FIELD_TYPES[name]
    if len(types) != len(values):
        raise LocalProtocolError(f"{name} has {len(types)} fields")
    words = [_word(kind, value) for kind, value in zip(types, values, strict=True)]
    return Hash(keccak(TYPE_HASHES[name] + b"".join(words)))


def typed_digest(domain: Domain, name: str, values: tuple[FieldValue, ...]) -> Hash:
    """keccak256(0x1901 | domain separator | hashStruct): what a signature is over."""
    return Hash(keccak(b"\x19\x01" + domain.separator + hash_struct(name, values)))


def digest(domain: Domain, body: Body | BuyBid | AskBid | Value) -> Hash:
    """Digest of a body that has one whatever its envelope says; it is the body's id too.

    A Commit's is that of the Batch that its fields are; Evidence's holds those of its statements.

    Raises:
        LocalProtocolError: a Vote (its kind decides, see `body_digest`) or an unsigned body.
        Rejection: a statement in Evidence is no envelope.
    """
    match body:
        case Commit():
            return batch_digest(domain, batch_of(body))
        case Evidence():
            signed = tuple(signed_digest(domain, decode(frame)) for frame in body.statements)
            place = (body.epoch, body.round, body.view)
            told = (body.fault, body.accused, *place, signed, body.reporter)
            return typed_digest(domain, "Evidence", told)
        case Proposal():
            value = value_digest(domain, body.value)
            fields: tuple[FieldValue, ...] = (
                body.epoch,
                body.round,
                body.view,
                body.gateway,
                value,
            )
            return typed_digest(domain, "Proposal", fields)
        case (
            Vote()
            | Certificate()
            | Fetch()
            | Bodies()
            | FetchBatches()
            | Batches()
            | OutcomeBody()
            | Recall()
            | Recalled()
        ):
            raise LocalProtocolError(f"{type(body).__name__} alone has no digest")
        case _:
            return typed_digest(domain, type(body).__name__, _fields(body))


def body_digest(domain: Domain, kind: Kind, body: Body) -> Hash:
    """Digest that an envelope of this kind signs; raises LocalProtocolError for unsigned kinds."""
    if isinstance(body, Vote):
        return vote_digest(domain, kind, body.epoch, body.round, body.view, body.value)
    return digest(domain, body)


def signed_digest(domain: Domain, envelope: Envelope) -> Hash:
    """Digest an envelope's signature is over; raises LocalProtocolError for unsigned kinds."""
    return body_digest(domain, Kind(envelope.kind), envelope.body)


def value_digest(domain: Domain, value: Value) -> Hash:
    """Digest of a Value: the `value` of proposals, votes, certificates and batches."""
    return digest(domain, value)


def vote_digest(
    domain: Domain, kind: Kind, epoch: int, round_number: int, view: int, value: bytes
) -> Hash:
    """Digest that PREPARE or LOCK signs, and that their certificates hold."""
    names = {Kind.PREPARE: "Prepare", Kind.LOCK: "Lock"}
    if kind not in names:
        raise LocalProtocolError(f"{kind.name} is no vote of a view")
    return typed_digest(domain, names[kind], (epoch, round_number, view, value))


def batch_digest(domain: Domain, batch: Batch) -> Hash:
    """Digest that COMMIT signs, and that `ProofMarket.settle` checks."""
    fields: tuple[FieldValue, ...] = (
        batch.epoch,
        batch.round,
        batch.value,
        batch.sequence,
        batch.parent,
        batch.root,
        batch.paid,
        batch.debits_hash,
    )
    return typed_digest(domain, "Batch", fields)


def batch_of(commit: Commit) -> Batch:
    """The Batch header that a COMMIT signs."""
    return Batch(
        epoch=commit.epoch,
        round=commit.round,
        value=Hash(commit.value),
        sequence=commit.sequence,
        parent=Hash(commit.parent),
        root=Hash(commit.root),
        paid=Wei(_amount(commit.paid)),
        debits_hash=Hash(commit.debits_hash),
    )


def commit_of(batch: Batch) -> Commit:
    """The COMMIT to a batch."""
    return Commit(
        epoch=batch.epoch,
        round=batch.round,
        value=batch.value,
        sequence=batch.sequence,
        parent=batch.parent,
        root=batch.root,
        paid=batch.paid.to_bytes(32, "big"),
        debits_hash=batch.debits_hash,
    )


def key_registration_digest(
    domain: Domain,
    operator: Address,
    session: Address,
    bls_key: bytes,
    sealing_key: bytes,
    peer_id: bytes,
) -> Hash:
    """Digest of an operator's proof of possession.

    bls_key is the 128-byte EIP-2537 G1 point and peer_id the bytes as registered: the registry
    hashes those.
    """
    fields = (operator, session, keccak(bls_key), sealing_key, keccak(peer_id))
    return typed_digest(domain, "KeyRegistration", fields)


def _fields(
    body: ProofRequest
    | BuyBid
    | AskBid
    | SealedBid
    | BidReceipt
    | BidShares
    | BidList
    | Value
    | Timeout
    | Status
    | Accept
    | SegmentResult
    | Unavailable
    | Cancel,
) -> tuple[FieldValue, ...]:
    """Values of a body in the order of the table."""
    match body:
        case ProofRequest():
            return (
                body.program_id,
                body.requester,
                body.input_hashes,
                body.copies,
                _amount(body.reserve),
                body.issued_at,
                body.deadline_view,
                body.allowlist,
                body.salt,
            )
        case BuyBid():
            return (body.request_id, _amount(body.max_fee), body.salt)
        case AskBid():
            return (
                body.epoch,
                body.round,
                body.class_id,
                body.operator,
                body.slots,
                _amount(body.price),
                body.salt,
            )
        case SealedBid():
            return (
                body.epoch,
                body.round,
                body.class_id,
                body.bidder,
                body.request_id,
                body.commitment,
                keccak(body.ephemeral + body.ciphertext + b"".join(body.boxes)),
                body.share_hashes,
            )
        case Timeout():
            return (
                body.epoch,
                body.round,
                body.view,
                body.operator,
                body.prepare_view,
                body.prepare_value,
            )
        case Status():
            prepare_view = 0 if body.prepare is None else body.prepare.view
            return (
                body.epoch,
                body.round,
                body.view,
                body.operator,
                body.pending,
                prepare_view,
            )
        case SegmentResult():
            publics_hash, proof_hash = keccak(b"".join(body.publics)), keccak(body.proof)
            return (body.request_id, body.segment, body.prover, publics_hash, proof_hash)
        case _:
            # Their fields are those of the table.
            return msgspec.structs.astuple(body)


def _amount(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _word(kind: str, value: FieldValue) -> bytes:
    """One 32-byte word: the encoding of an atomic value, the hash of a dynamic one."""
    match kind, value:
        case ("bytes32", bytes()) if len(value) == 32:
            return value
        case ("address", bytes()) if len(value) == 20:
            return bytes(12) + value
        case ("bool", bool()):
            return value.to_bytes(32, "big")
        case ("string", str()):
            return keccak(value.encode())
        case (("bytes32[]" | "address[]"), tuple()):
            return keccak(b"".join([_word(kind[:-2], item) for item in value]))
        case _ if kind.startswith("uint") and type(value) is int:
            if 0 <= value < 1 << int(kind[4:]):
                return value.to_bytes(32, "big")
    raise LocalProtocolError(f"a value does not fit {kind}")
