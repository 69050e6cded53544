"""The proof bundle of `GET /v1/requests/{id}/proof`: from a node's JSON to typed, bounded values.

Whoever made it is not trusted: shapes, sizes and encodings are checked here, truth in
`node/client/verification.py`. Fields that nothing can check offline are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from node.proving.artifacts import decode_manifest_json
from protocol.batch import Batch, Result, ResultStatus
from protocol.bounds import MAX_CLAIM, MAX_OPERATORS, MAX_PROOF, MAX_PUBLICS, MAX_SEGMENTS
from protocol.codec import decode
from protocol.eip712 import Domain
from protocol.errors import LocalProtocolError, Rejection
from protocol.inputs import Operator
from protocol.messages import (
    BuyBid,
    Certificate,
    Envelope,
    Kind,
    ProofRequest,
    SealedBid,
    SegmentResult,
)
from protocol.programs import COMBINE, SEGMENT, ProgramManifest
from protocol.rotation import OperatorTable
from protocol.types import ZERO_HASH, Address, Hash, Wei

Json = dict[str, Any]

_MAX_KEY: Final = 64 * 1_024
_MAX_FRAME: Final = 16 * 1_024
_UINT64_MAX: Final = 2**64 - 1

Hex: Final = r"^0x([0-9a-f]{2})*\Z"
Hash32 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
Address20 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{40}\Z")]
Key48 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{96}\Z")]
Signature65 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{130}\Z")]
Signature96 = Annotated[str, Meta(pattern=r"^0x[0-9a-f]{192}\Z")]
Amount = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,38})\Z")]
"""Wei as a decimal string, below 2**130: a contract's own bound is checked with the leaf."""


class BundleError(Exception):
    """The text is no proof bundle; says where and why."""


class ProofDocument(msgspec.Struct, frozen=True):
    """One segment's proof with its public values; the last segment is the combining one."""

    segment: int
    prover: Address20
    publics: Annotated[list[Hash32], Meta(max_length=MAX_PUBLICS)]
    proof: Annotated[str, Meta(pattern=Hex, max_length=2 + 2 * MAX_PROOF)]


class ResultDocument(msgspec.Struct, frozen=True):
    """How the request ended; request id, program and requester are the request's."""

    status: int
    issued_at: int
    claim: Annotated[str, Meta(pattern=Hex, max_length=2 + 2 * MAX_CLAIM)]
    fee: Amount


class BatchDocument(msgspec.Struct, frozen=True):
    """The header of the settled batch, the EIP-712 `Batch`."""

    epoch: int
    round: int
    value: Hash32
    sequence: int
    parent: Hash32
    root: Hash32
    paid: Amount
    debits_hash: Hash32


class InclusionDocument(msgspec.Struct, frozen=True):
    """Where the result's leaf stands in the batch tree; siblings from the leaf upwards."""

    index: int
    siblings: Annotated[list[Hash32], Meta(max_length=32)]


class CertificateDocument(msgspec.Struct, frozen=True):
    """The operators' aggregate signature over the batch."""

    epoch: int
    round: int
    value: Hash32
    digest: Hash32
    non_signers: Annotated[list[int], Meta(max_length=MAX_OPERATORS)]
    signature: Signature96


class OperatorDocument(msgspec.Struct, frozen=True):
    """One row of the operator table; `bls_key` is a compressed G1 point."""

    operator: Address20
    session: Address20
    bls_key: Key48
    sealing_key: Hash32
    peer_id: Annotated[str, Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{0,128}\Z")]
    """Base58; empty if the operator has changed it since the table was frozen."""
    weight: int


class TableDocument(msgspec.Struct, frozen=True):
    """The frozen operator table of an epoch, in the order that certificates name positions."""

    epoch: int
    operators: Annotated[list[OperatorDocument], Meta(min_length=1, max_length=MAX_OPERATORS)]


class KeysDocument(msgspec.Struct, frozen=True):
    """Verifying keys in their canonical bytes."""

    segment: Annotated[str, Meta(pattern=Hex, max_length=2 + 2 * _MAX_KEY)]
    combine: Annotated[str, Meta(pattern=Hex, max_length=2 + 2 * _MAX_KEY)]


class BidDocument(msgspec.Struct, frozen=True):
    """The sealed bid's frame, and what it opens to."""

    sealed: Annotated[str, Meta(pattern=Hex, max_length=2 + 2 * _MAX_FRAME)]
    max_fee: Amount
    salt: Hash32


class BundleDocument(msgspec.Struct, frozen=True):
    """The bundle as the API gives it."""

    request_id: Hash32
    chain_id: Annotated[int, Meta(ge=0, le=2**53)]
    registry: Address20
    request: Annotated[str, Meta(pattern=Hex, max_length=2 + 2 * _MAX_FRAME)]
    bid: BidDocument
    manifest: dict[str, Any]
    verifying_keys: KeysDocument
    proofs: Annotated[list[ProofDocument], Meta(min_length=2, max_length=MAX_SEGMENTS)]
    result: ResultDocument
    batch: BatchDocument
    inclusion: InclusionDocument
    certificate: CertificateDocument
    operator_table: TableDocument


@dataclass(frozen=True, slots=True)
class Bundle:
    """A well-formed bundle; nothing in it is checked against anything else."""

    request_id: Hash
    domain: Domain
    request: ProofRequest
    request_signature: bytes
    sealed: SealedBid
    bid_signature: bytes
    bid: BuyBid
    manifest: ProgramManifest
    stated_program_id: str
    """What the manifest calls itself, hexadecimal."""
    verifying_keys: dict[str, bytes]
    proofs: tuple[SegmentResult, ...]
    result: Result
    batch: Batch
    index: int
    siblings: tuple[bytes, ...]
    certificate: Certificate
    table: OperatorTable


def read_document(bundle: object) -> BundleDocument:
    """The bundle's shape, unknown fields left out; raises BundleError naming the field."""
    try:
        return msgspec.convert(bundle, BundleDocument)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise BundleError(str(exc)) from exc


def decode_bundle(document: BundleDocument) -> Bundle:
    """The typed values; raises BundleError naming the part that no honest node could have made."""
    request_id = Hash(raw(document.request_id))
    domain = Domain(document.chain_id, Address(raw(document.registry)))
    envelope, request = _request(document.request)
    sealed_envelope, sealed = _sealed(document.bid.sealed)
    max_fee = _amount("bid", document.bid.max_fee, 96)
    manifest, stated_program_id = _manifest(document.manifest)
    result = document.result
    _uint64("result", result.issued_at)
    _uint64("inclusion", document.inclusion.index)
    _uint64("proofs", *(proof.segment for proof in document.proofs))
    try:
        status = ResultStatus(result.status)
    except ValueError as exc:
        raise BundleError(f"result: status {result.status} is unknown") from exc
    return Bundle(
        request_id=request_id,
        domain=domain,
        request=request,
        request_signature=envelope.signature,
        sealed=sealed,
        bid_signature=sealed_envelope.signature,
        bid=BuyBid(sealed.request_id, max_fee.to_bytes(32, "big"), raw(document.bid.salt)),
        manifest=manifest,
        stated_program_id=stated_program_id,
        verifying_keys={
            SEGMENT: raw(document.verifying_keys.segment),
            COMBINE: raw(document.verifying_keys.combine),
        },
        proofs=tuple(
            SegmentResult(
                request_id=request_id,
                segment=proof.segment,
                prover=raw(proof.prover),
                publics=tuple(raw(word) for word in proof.publics),
                proof=raw(proof.proof),
            )
            for proof in document.proofs
        ),
        result=Result(
            request_id=request_id,
            program_id=Hash(request.program_id),
            requester=Address(request.requester),
            status=status,
            issued_at=result.issued_at,
            claim=raw(result.claim),
            fee=_amount("result", result.fee, 96),
        ),
        batch=batch_of(document.batch),
        index=document.inclusion.index,
        siblings=tuple(raw(sibling) for sibling in document.inclusion.siblings),
        certificate=certificate_of(document.certificate),
        table=table_of(document.operator_table),
    )


def raw(text: str) -> bytes:
    """Bytes of a hexadecimal text that a document's pattern has checked."""
    return bytes.fromhex(text[2:])


def batch_of(document: BatchDocument) -> Batch:
    """The header; raises BundleError if a number is out of range."""
    _uint64("batch", document.epoch, document.round, document.sequence)
    return Batch(
        epoch=document.epoch,
        round=document.round,
        value=Hash(raw(document.value)),
        sequence=document.sequence,
        parent=Hash(raw(document.parent)),
        root=Hash(raw(document.root)),
        paid=_amount("batch", document.paid, 128),
        debits_hash=Hash(raw(document.debits_hash)),
    )


def certificate_of(document: CertificateDocument) -> Certificate:
    """The certificate; raises BundleError if a number is out of range."""
    _uint64("certificate", document.epoch, document.round, *document.non_signers)
    return Certificate(
        kind=int(Kind.COMMIT),
        epoch=document.epoch,
        round=document.round,
        view=0,
        value=raw(document.value),
        digest=raw(document.digest),
        non_signers=tuple(document.non_signers),
        signature=raw(document.signature),
    )


def _request(text: str) -> tuple[Envelope, ProofRequest]:
    envelope = _envelope("request", text)
    body = envelope.body
    if not isinstance(body, ProofRequest) or envelope.sender != body.requester:
        raise BundleError("request: not a requester's own request")
    return envelope, body


def _sealed(text: str) -> tuple[Envelope, SealedBid]:
    envelope = _envelope("bid", text)
    body = envelope.body
    if not isinstance(body, SealedBid) or envelope.sender != body.bidder:
        raise BundleError("bid: not a bidder's own bid")
    return envelope, body


def _envelope(part: str, text: str) -> Envelope:
    try:
        return decode(raw(text))
    except Rejection as exc:
        raise BundleError(f"{part}: {exc}") from exc


def _manifest(document: Json) -> tuple[ProgramManifest, str]:
    try:
        return decode_manifest_json(msgspec.json.encode(document))
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"manifest: {exc}") from exc


def table_of(document: TableDocument) -> OperatorTable:
    """The operator table; raises BundleError if a number is out of range."""
    _uint64("operator_table", document.epoch)
    for row in document.operators:
        if not 0 < row.weight < 2**96:
            raise BundleError(f"operator_table: the weight of {row.operator} is out of range")
    rows = tuple(
        Operator(
            operator=raw(row.operator),
            session=raw(row.session),
            bls_key=raw(row.bls_key),
            sealing_key=raw(row.sealing_key),
            peer_id=row.peer_id,
            multiaddrs=(),
            weight=row.weight,
        )
        for row in document.operators
    )
    try:
        # The seed draws gateways and committees; no certificate depends on it.
        return OperatorTable(document.epoch, ZERO_HASH, rows)
    except LocalProtocolError as exc:
        raise BundleError(f"operator_table: {exc}") from exc


def _amount(where: str, text: str, bits: int) -> Wei:
    if int(text) >> bits:
        raise BundleError(f"{where}: {text} does not fit {bits} bits")
    return Wei(int(text))


def _uint64(where: str, *values: int) -> None:
    if not all(0 <= value <= _UINT64_MAX for value in values):
        raise BundleError(f"{where}: a number does not fit 64 bits")
