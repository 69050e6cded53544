"""Typed-data digests for `eip712.json`: one example of every type."""

from __future__ import annotations

from eth_hash.auto import keccak

from protocol import messages as m
from protocol.codec import encode
from protocol.eip712 import (
    TYPE_HASHES,
    Domain,
    digest,
    key_registration_digest,
    vote_digest,
)
from tests.vectors.encoding import address, hex_of, word

DOMAIN = Domain(31_337, address("registry"))
EPOCH, ROUND, VIEW = 3, 41, 1_000_007


def amount(value: int) -> bytes:
    return value.to_bytes(32, "big")


VALUE = m.Value(
    EPOCH, ROUND, word("parent"), (word("a"),), (word("b"),), (word("c"),), (), EPOCH + 1
)


def locks() -> list[bytes]:
    """Frames of two LOCKs of one operator in one view."""
    votes = [m.Vote(EPOCH, ROUND, VIEW, word(name)) for name in ("one value", "another value")]
    return [
        encode(m.Envelope(int(m.Kind.LOCK), address("operator 1"), vote, bytes(96)))
        for vote in votes
    ]


def bodies() -> dict[str, object]:
    """One body of each type that has a digest of its own."""
    request = m.ProofRequest(
        word("program"),
        address("requester"),
        (word("input 0"), word("input 1"), word("combine")),
        1,
        amount(5 * 10**18),
        1_790_000_000,
        1_000_100,
        (address("operator 1"), address("operator 2")),
        word("salt"),
    )
    request_id = digest(DOMAIN, request)
    return {
        "ProofRequest": request,
        "BuyBid": m.BuyBid(request_id, amount(4 * 10**18), word("bid salt")),
        "AskBid": m.AskBid(
            EPOCH, ROUND, word("class"), address("operator 1"), 8, amount(10**15), word("ask salt")
        ),
        "SealedBid": m.SealedBid(
            EPOCH,
            ROUND,
            word("class"),
            address("requester"),
            request_id,
            word("commitment"),
            word("ephemeral"),
            word("ciphertext") * 2 + word("ciphertext")[:20],
            (word("box 0")[:24] * 2, word("box 1")[:24] * 2),
            (word("share 0"), word("share 1")),
        ),
        "BidReceipt": m.BidReceipt(EPOCH, ROUND, address("operator 1"), word("b")),
        "BidShares": m.BidShares(
            EPOCH, ROUND, address("operator 1"), digest(DOMAIN, VALUE), (word("share 1"),)
        ),
        "BidList": m.BidList(EPOCH, ROUND, address("operator 1"), (word("b"),), (word("c"),)),
        "Value": VALUE,
        "Proposal": m.Proposal(EPOCH, ROUND, VIEW, address("operator 2"), VALUE, None),
        "Timeout": m.Timeout(EPOCH, ROUND, VIEW, address("operator 1"), 0, bytes(32), None),
        "Status": m.Status(EPOCH, ROUND, VIEW, address("operator 1"), True, None, None),
        "Accept": m.Accept(request_id, 1, address("operator 1"), word("input 1")),
        "SegmentResult": m.SegmentResult(
            request_id, 1, address("operator 1"), (word("public 0"), word("public 1")), b"proof"
        ),
        "Evidence": m.Evidence(
            2,
            address("operator 1"),
            EPOCH,
            ROUND,
            VIEW,
            tuple(locks()),
            address("operator 2"),
        ),
        "Unavailable": m.Unavailable(request_id, 1, address("operator 1"), 2),
        "Cancel": m.Cancel(request_id),
    }


def build() -> dict[str, object]:
    value = digest(DOMAIN, VALUE)
    bls_key = b"".join(word(f"bls {part}") for part in range(4))
    digests = {name: digest(DOMAIN, body) for name, body in bodies().items()}
    digests["Prepare"] = vote_digest(DOMAIN, m.Kind.PREPARE, EPOCH, ROUND, VIEW, value)
    locked = [
        vote_digest(DOMAIN, m.Kind.LOCK, EPOCH, ROUND, VIEW, word(name))
        for name in ("one value", "another value")
    ]
    digests["Lock"] = vote_digest(DOMAIN, m.Kind.LOCK, EPOCH, ROUND, VIEW, value)
    digests["KeyRegistration"] = key_registration_digest(
        DOMAIN,
        address("operator 1"),
        address("session 1"),
        bls_key,
        word("sealing key"),
        b"peer id",
    )
    request = bodies()["ProofRequest"]
    assert isinstance(request, m.ProofRequest)
    return {
        "chainId": DOMAIN.chain_id,
        "registry": hex_of(DOMAIN.registry),
        "domainSeparator": hex_of(DOMAIN.separator),
        "names": list(digests),
        "typeHashes": [hex_of(TYPE_HASHES[name]) for name in digests],
        "digests": [hex_of(item) for item in digests.values()],
        "epoch": EPOCH,
        "round": ROUND,
        "view": VIEW,
        "operator": hex_of(address("operator 1")),
        "gateway": hex_of(address("operator 2")),
        "valueDigest": hex_of(value),
        "requestId": hex_of(digests["ProofRequest"]),
        "programId": hex_of(request.program_id),
        "requester": hex_of(request.requester),
        "inputHashes": [hex_of(item) for item in request.input_hashes],
        "copies": request.copies,
        "reserve": hex_of(request.reserve),
        "issuedAt": request.issued_at,
        "deadlineView": request.deadline_view,
        "allowlist": [hex_of(item) for item in request.allowlist],
        "salt": hex_of(request.salt),
        "maxFee": hex_of(amount(4 * 10**18)),
        "bidSalt": hex_of(word("bid salt")),
        "publicsHash": hex_of(keccak(word("public 0") + word("public 1"))),
        "proofHash": hex_of(keccak(b"proof")),
        "session": hex_of(address("session 1")),
        "blsKey": hex_of(bls_key),
        "fault": 2,
        "statementDigests": [hex_of(item) for item in locked],
        "reporter": hex_of(address("operator 2")),
        "sealingKey": hex_of(word("sealing key")),
        "peerId": hex_of(b"peer id"),
    }
