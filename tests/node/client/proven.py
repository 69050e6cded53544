"""One request as a network would end it: real proofs, a real batch, a certificate of real keys."""

from __future__ import annotations

import json
from typing import Any

from chain.tables import base58
from node.box import BidCiphers, SealingKey
from node.crypto import BlsKey, Crypto, SessionKey
from node.programs.accounts import Account
from node.programs.solvency import plan
from node.programs.witness import ProofContext, assign
from node.proving.artifacts import BuiltProgram, encode_manifest_json
from node.proving.backends.groth16 import Prover
from protocol.batch import AccountAmount, Result, ResultStatus, build_batch
from protocol.claims import encode_claim
from protocol.dispatch import JobClass, Tier
from protocol.documents import bundle_of
from protocol.eip712 import Domain, batch_digest, digest
from protocol.inputs import Operator, TableOpened
from protocol.job import new_job
from protocol.messages import (
    BuyBid,
    Certificate,
    Kind,
    ProofRequest,
    SegmentResult,
)
from protocol.programs import COMBINE, SEGMENT
from protocol.replica_state import OpenedBid, SignedBid, SignedRequest
from protocol.sealing import Offer, Terms, open_bid, own_share, seal
from protocol.types import ZERO_HASH, Address, Hash, TimestampMs, Wei

DOMAIN = Domain(31_337, Address(b"\x05" * 20))
REQUESTER = SessionKey(b"\x3f" * 32)
BLS_KEYS = [BlsKey(bytes([index + 16]) * 32) for index in range(4)]
OPERATORS = [Address(bytes([index + 1]) * 20) for index in range(4)]
WEIGHTS = (400, 300, 200, 350)
ABSENT = 2
CLASS = JobClass("groth16", Tier.S).class_id
FEE, MAX_FEE = 3 * 10**15, 5 * 10**15
ISSUED_AT = 1_790_000_000
OTHER_REQUEST = Result(
    Hash(b"\xff" * 32), Hash(b"\x01" * 32), OPERATORS[0], ResultStatus.EXPIRED, 5, b"", Wei(0)
)


def table() -> TableOpened:
    rows = tuple(
        Operator(
            operator=operator,
            session=SessionKey(bytes([place + 1]) * 32).address,
            bls_key=BLS_KEYS[place].public_key,
            sealing_key=bytes([place + 64]) * 32,
            # An ed25519 libp2p id: identity multihash of a protobuf key.
            peer_id=base58(b"\x00\x24\x08\x01\x12\x20" + bytes([place + 96]) * 32),
            multiaddrs=(),
            weight=WEIGHTS[place],
        )
        for place, operator in enumerate(OPERATORS)
    )
    return TableOpened(3, b"\x77" * 32, rows)


_MADE: dict[bytes, str] = {}


def _bundle_text(built: BuiltProgram) -> str:
    accounts = [Account(f"account-{number}", number * 10**15 + 1) for number in range(20)]
    work = plan(accounts, bytes(range(32)))
    request = ProofRequest(
        program_id=bytes(built.program_id),
        requester=REQUESTER.address,
        input_hashes=work.input_hashes,
        copies=1,
        reserve=MAX_FEE.to_bytes(32, "big"),
        issued_at=ISSUED_AT,
        deadline_view=900,
        allowlist=tuple(OPERATORS),
        salt=b"\x0a" * 32,
    )
    request_id = digest(DOMAIN, request)
    terms = Terms(3, 40, CLASS, REQUESTER.address, request_id)
    keys = [SealingKey(bytes([place + 64]) * 32) for place in range(4)]
    members = [key.public_key for key in keys]
    sealed = seal(DOMAIN, terms, Offer(MAX_FEE), members, b"\x0b" * 32, BidCiphers())
    shares = {
        place: own_share(DOMAIN, sealed, place, key.public_key, BidCiphers(key)) or b""
        for place, key in enumerate(keys)
    }
    bid = open_bid(DOMAIN, sealed, shares, BidCiphers())
    assert isinstance(bid, BuyBid)
    results = []
    provers: dict[str, Prover] = {}
    for place, private in enumerate((*work.segment_inputs, work.combine_input)):
        name = SEGMENT if place < len(work.segment_inputs) else COMBINE
        assignment = assign(name, private, ProofContext(request_id, OPERATORS[place], place))
        prover = provers.setdefault(name, Prover(built.proving_key_path(name)))
        proof = prover.prove(assignment.inputs)
        results.append(SegmentResult(request_id, place, OPERATORS[place], assignment.values, proof))
    settled = Result(
        request_id,
        Hash(built.program_id),
        REQUESTER.address,
        ResultStatus.SETTLED,
        ISSUED_AT,
        encode_claim(work.claim),
        Wei(FEE),
    )
    batch = build_batch(
        epoch=3,
        round_number=41,
        value=Hash(b"\x21" * 32),
        sequence=7,
        parent=Hash(b"\x22" * 32),
        results=sorted([settled, OTHER_REQUEST], key=lambda result: result.request_id),
        credit_rows=[AccountAmount(operator, Wei(10**15)) for operator in OPERATORS],
        debit_rows=[AccountAmount(REQUESTER.address, Wei(FEE))],
        stake_rows=[],
        reputation_root=ZERO_HASH,
        parameters_hash=Hash(b"\x23" * 32),
        markets_hash=ZERO_HASH,
        paid=Wei(FEE),
    )
    bundle = bundle_of(
        new_job(request_id, request, OPERATORS[0], TimestampMs(9), TimestampMs(1)),
        SignedRequest(request, REQUESTER.sign(request_id)),
        OpenedBid(SignedBid(sealed, REQUESTER.sign(digest(DOMAIN, sealed))), bid),
        results,
        settled,
        batch,
        certify(batch_digest(DOMAIN, batch.header), b"\x21" * 32),
        table(),
        DOMAIN,
    )
    bundle["manifest"] = json.loads(encode_manifest_json(built.manifest))
    bundle["verifying_keys"] = {
        name: "0x" + built.verifying_key(name).hex() for name in (SEGMENT, COMBINE)
    }
    return json.dumps(bundle)


def certify(signed: bytes, value: bytes, absent: tuple[int, ...] = (ABSENT,)) -> Certificate:
    signatures = [key.sign(signed) for place, key in enumerate(BLS_KEYS) if place not in absent]
    aggregate = Crypto().aggregate(signatures)
    return Certificate(int(Kind.COMMIT), 3, 41, 0, value, signed, absent, aggregate)


def make_bundle(built: BuiltProgram) -> dict[str, Any]:
    """A fresh copy of the bundle; its proofs are made once."""
    if built.program_id not in _MADE:
        _MADE[built.program_id] = _bundle_text(built)
    bundle: dict[str, Any] = json.loads(_MADE[built.program_id])
    return bundle
