"""Four operators with real keys, their table, and what they sign."""

from __future__ import annotations

from node.box import SealingKey
from node.crypto import BlsKey, Crypto, SessionKey
from protocol.bounds import SIGNATURE_SIZES
from protocol.codec import encode
from protocol.eip712 import Domain, body_digest, digest, vote_digest
from protocol.hashing import keccak
from protocol.inputs import Operator
from protocol.messages import (
    Certificate,
    Envelope,
    Kind,
    ProofRequest,
    SealedBid,
)
from protocol.rotation import OperatorTable

DOMAIN = Domain(31_337, b"\x05" * 20)
CRYPTO = Crypto()
EPOCH, ROUND, VIEW = 1, 7, 3
WORD = b"\x0a" * 32

SESSIONS = [SessionKey(bytes([index]) * 32) for index in range(1, 6)]
BLS_KEYS = [BlsKey(bytes([index + 16]) * 32) for index in range(1, 6)]
SEALING_KEYS = [SealingKey(bytes([index + 32]) * 32) for index in range(1, 6)]
OPERATORS = [bytes([index]) * 20 for index in range(1, 6)]
"""The fifth is a stranger."""
REQUESTER = SessionKey(b"\x3f" * 32)


def row(index, weight=100):
    return Operator(
        OPERATORS[index],
        SESSIONS[index].address,
        BLS_KEYS[index].public_key,
        SEALING_KEYS[index].public_key,
        f"peer {index}",
        (),
        weight,
    )


def table_of(epoch=EPOCH, size=4):
    return OperatorTable(epoch, WORD, tuple(row(index) for index in range(size)))


def signed(index, kind, body, signer=None):
    """Envelope of operator `index`, signed by its own key or by another operator's."""
    signer = index if signer is None else signer
    size = SIGNATURE_SIZES[kind]
    signature = b""
    if size:
        key = BLS_KEYS[signer] if size == 96 else SESSIONS[signer]
        signature = key.sign(body_digest(DOMAIN, kind, body))
    return Envelope(int(kind), OPERATORS[index], body, signature)


def frame_of(*arguments, **options):
    return encode(signed(*arguments, **options))


def certificate(kind, signers=(0, 1, 2), value=WORD, epoch=EPOCH, view=VIEW, round_number=ROUND):
    if kind is Kind.COMMIT:
        made = keccak(b"batch" + value)
    else:
        made = vote_digest(DOMAIN, kind, epoch, round_number, view, value)
    return Certificate(
        int(kind),
        epoch,
        round_number,
        0 if kind is Kind.COMMIT else view,
        value,
        made,
        tuple(index for index in range(4) if index not in signers),
        CRYPTO.aggregate([BLS_KEYS[index].sign(made) for index in signers]),
    )


def request_envelope(signer=REQUESTER):
    amount = (5).to_bytes(32, "big")
    body = ProofRequest(WORD, REQUESTER.address, (WORD, WORD), 1, amount, 5, 900, (), WORD)
    signature = signer.sign(digest(DOMAIN, body))
    return Envelope(int(Kind.REQUEST), REQUESTER.address, body, signature)


def sealed_bid(bidder, request_id=bytes(32), **fields):
    """A sealed bid in form alone: nothing that reads it opens it."""
    given = {"epoch": EPOCH, "round": ROUND, "class_id": WORD, "commitment": WORD} | fields
    sealed = {"ephemeral": WORD, "ciphertext": bytes(84)}
    boxes, hashes = (bytes(48),) * 4, (WORD,) * 4
    return SealedBid(
        bidder=bidder, request_id=request_id, boxes=boxes, share_hashes=hashes, **given, **sealed
    )


def buy_envelope(signer=REQUESTER, **fields):
    body = sealed_bid(REQUESTER.address, WORD, **fields)
    signature = signer.sign(digest(DOMAIN, body))
    return Envelope(int(Kind.SEALED_BID), REQUESTER.address, body, signature)
