"""Our typed-data encoder against eth_account's, and its table against the design note."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from protocol.batch import Batch
from protocol.eip712 import (
    TYPE_STRINGS,
    TYPE_TABLE,
    Domain,
    batch_digest,
    batch_of,
    body_digest,
    digest,
    key_registration_digest,
    signed_digest,
    typed_digest,
    value_digest,
    vote_digest,
)
from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.messages import Envelope, Kind
from tests.protocol import strategies as s

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
domains = st.builds(Domain, st.integers(1, 2**64 - 1), s.addresses)


def reference(domain, name, message):
    """The digest as eth_account computes it."""
    fields = [
        dict(zip(("type", "name"), field.split(" "), strict=True))
        for field in TYPE_TABLE[name].split(",")
    ]
    signable = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                name: fields,
            },
            "primaryType": name,
            "domain": {
                "name": "provernet",
                "version": "1",
                "chainId": domain.chain_id,
                "verifyingContract": "0x" + domain.registry.hex(),
            },
            "message": {key: readable(value) for key, value in message.items()},
        }
    )
    return keccak(b"\x19\x01" + signable.header + signable.body)


def readable(value):
    if isinstance(value, bytes) and len(value) == 20:
        return "0x" + value.hex()
    return [readable(item) for item in value] if isinstance(value, tuple) else value


def camel(name):
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def message_of(body, amounts=(), **derived):
    """Fields by their Solidity names; amounts as numbers; what is derived replaces what is held."""
    held = {camel(name): getattr(body, name) for name in body.__struct_fields__}
    held |= {name: int.from_bytes(held[name], "big") for name in amounts}
    return held | derived


def pick(name, message):
    return {
        field.split(" ")[1]: message[field.split(" ")[1]] for field in TYPE_TABLE[name].split(",")
    }


def test_table_is_the_design_notes():
    wanted = set(
        re.findall(r"^    ([A-Z]\w+\([a-z0-9]+(?:\[\])? .*?\))", DESIGN.read_text(), re.MULTILINE)
    )
    assert wanted == {text for name, text in TYPE_STRINGS.items() if name != "EIP712Domain"}


@given(domains, s.requests, s.buy_bids, s.ask_bids)
def test_request_and_bids(domain, request, bid, ask):
    message = message_of(request, ["reserve"])
    assert digest(domain, request) == reference(domain, "ProofRequest", message)
    assert digest(domain, bid) == reference(domain, "BuyBid", message_of(bid, ["maxFee"]))
    assert digest(domain, ask) == reference(domain, "AskBid", message_of(ask, ["price"]))


@given(domains, st.data())
def test_plain_bodies(domain, data):
    for kind, name in (
        (Kind.BID_SHARES, "BidShares"),
        (Kind.BID_RECEIPT, "BidReceipt"),
        (Kind.BID_LIST, "BidList"),
        (Kind.ACCEPT, "Accept"),
        (Kind.UNAVAILABLE, "Unavailable"),
        (Kind.CANCEL, "Cancel"),
    ):
        body = data.draw(s.BODIES[kind])
        assert digest(domain, body) == reference(domain, name, message_of(body))


@given(domains, s.BODIES[Kind.SEALED_BID])
def test_a_sealed_bid_signs_its_shares_and_all_that_is_sealed(domain, sealed):
    ciphers = sealed.ephemeral + sealed.ciphertext + b"".join(sealed.boxes)
    message = pick("SealedBid", message_of(sealed, sealedHash=keccak(ciphers)))
    assert digest(domain, sealed) == reference(domain, "SealedBid", message)


@given(domains, s.BODIES[Kind.TIMEOUT], s.BODIES[Kind.STATUS], s.BODIES[Kind.RESULT])
def test_bodies_with_derived_fields(domain, timeout, status, result):
    assert digest(domain, timeout) == reference(
        domain, "Timeout", pick("Timeout", message_of(timeout))
    )
    view = status.prepare.view if status.prepare else 0
    message = pick("Status", message_of(status, prepareView=view))
    assert digest(domain, status) == reference(domain, "Status", message)
    hashed = {"publicsHash": keccak(b"".join(result.publics)), "proofHash": keccak(result.proof)}
    message = pick("SegmentResult", message_of(result, **hashed))
    assert digest(domain, result) == reference(domain, "SegmentResult", message)


@given(domains, s.BODIES[Kind.PROPOSAL], s.BODIES[Kind.PREPARE])
def test_proposal_value_and_votes(domain, proposal, vote):
    value = reference(domain, "Value", message_of(proposal.value))
    assert value_digest(domain, proposal.value) == value
    message = pick("Proposal", message_of(proposal, value=value))
    assert digest(domain, proposal) == reference(domain, "Proposal", message)
    for kind, name in ((Kind.PREPARE, "Prepare"), (Kind.LOCK, "Lock")):
        wanted = reference(domain, name, message_of(vote))
        assert body_digest(domain, kind, vote) == wanted
        fields = (vote.epoch, vote.round, vote.view, vote.value)
        assert vote_digest(domain, kind, *fields) == wanted


@given(domains, s.u64, s.hashes, st.integers(0, 2**96 - 1), s.addresses, st.binary(max_size=40))
def test_batch_and_registration(domain, number, word, amount, address, peer_id):
    batch = Batch(number, number, word, number, word, word, amount, word)
    fields = {
        "epoch": number,
        "round": number,
        "value": word,
        "sequence": number,
        "parent": word,
        "root": word,
        "paid": amount,
        "debitsHash": word,
    }
    assert batch_digest(domain, batch) == reference(domain, "Batch", fields)
    key = word * 4
    fields = {
        "operator": address,
        "session": address[::-1],
        "blsKeyHash": keccak(key),
        "sealingKey": word,
        "peerIdHash": keccak(peer_id),
    }
    made = key_registration_digest(domain, address, address[::-1], key, word, peer_id)
    assert made == reference(domain, "KeyRegistration", fields)


@given(s.any_envelope)
def test_signed_digest_covers_exactly_the_signed_kinds(envelope):
    domain = Domain(1, bytes(20))
    if envelope.signature:
        assert len(signed_digest(domain, envelope)) == 32
    else:
        with pytest.raises(LocalProtocolError):
            signed_digest(domain, envelope)


@given(s.BODIES[Kind.COMMIT])
def test_commit_signs_its_batch(commit):
    domain = Domain(1, bytes(20))
    made = Envelope(Kind.COMMIT, bytes(20), commit, bytes(96))
    assert signed_digest(domain, made) == batch_digest(domain, batch_of(commit))


def test_digest_depends_on_the_domain():
    request = s.m.Cancel(bytes(32))
    made = {
        digest(domain, request)
        for domain in (Domain(1, bytes(20)), Domain(2, bytes(20)), Domain(1, b"\1" * 20))
    }
    assert len(made) == 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Cancel", (bytes(31),)),
        ("Cancel", (5,)),
        ("Cancel", ()),
        ("Accept", (bytes(32), 2**32, bytes(20), bytes(32))),
        ("Accept", (bytes(32), -1, bytes(20), bytes(32))),
        ("Accept", (bytes(32), True, bytes(20), bytes(32))),
        ("Accept", (bytes(32), 1, bytes(32), bytes(32))),
    ],
)
def test_values_that_do_not_fit_are_refused(name, values):
    with pytest.raises(LocalProtocolError):
        typed_digest(Domain(1, bytes(20)), name, values)
