from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Rejection, RejectionReason
from protocol.hashing import keccak
from protocol.outcomes import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    FailReason,
    Reassigned,
    ReassignReason,
    decode_outcome,
    encode_outcome,
    kind_of,
    outcome_id,
)
from tests.protocol.strategies import addresses, hashes, u32

outcomes = st.one_of(
    st.builds(
        Completed,
        hashes,
        st.binary(max_size=96),
        st.lists(addresses, max_size=4).map(tuple),
    ),
    st.builds(Expired, hashes),
    st.builds(Cancelled, hashes),
    st.builds(Failed, hashes, st.sampled_from(FailReason)),
    st.builds(Reassigned, hashes, u32, u32, st.sampled_from(ReassignReason)),
)
ID = bytes(range(32))


@given(outcomes)
def test_an_outcome_crosses_the_wire(outcome):
    assert decode_outcome(encode_outcome(outcome)) == outcome


@given(outcomes, outcomes)
def test_ids_differ_where_outcomes_do(one, other):
    assert (outcome_id(one) == outcome_id(other)) == (one == other)


def test_the_encoding_is_the_documented_one():
    tag, provers = b"provernet/outcome/1", (b"\x01" * 20, b"\x02" * 20)
    completed = keccak(b"claim") + b"\0\0\0\x02" + b"".join(provers)
    assert outcome_id(Completed(ID, b"claim", provers)) == keccak(tag + b"\x01" + ID + completed)
    assert outcome_id(Expired(ID)) == keccak(tag + b"\x02" + ID)
    assert outcome_id(Cancelled(ID)) == keccak(tag + b"\x03" + ID)
    assert outcome_id(Failed(ID, FailReason.UNSATISFIABLE)) == keccak(tag + b"\x04" + ID + b"\x02")
    reassigned = Reassigned(ID, 7, 1, ReassignReason.NO_RESULT)
    fields = b"\0\0\0\x07" + b"\0\0\0\x01" + b"\x02"
    assert outcome_id(reassigned) == keccak(tag + b"\x05" + ID + fields)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 0},
        {"kind": 6},
        {"request_id": ID[1:]},
        {"claim": b"x"},
        {"provers": (bytes(20),)},
        {"segment": -1},
        {"segment": 1 << 32},
        {"attempt": 1 << 32},
        {"reason": 0},
        {"reason": 3},
    ],
)
def test_a_hostile_body_is_malformed(change):
    body = encode_outcome(Reassigned(ID, 7, 1, ReassignReason.NO_RESULT))
    with pytest.raises(Rejection) as caught:
        decode_outcome(msgspec.structs.replace(body, **change))
    assert caught.value.reason is RejectionReason.MALFORMED


@pytest.mark.parametrize(
    "change",
    [{"claim": bytes(1_025)}, {"provers": (bytes(20),) * 258}, {"provers": (bytes(19),)}],
)
def test_a_completion_is_bounded(change):
    body = encode_outcome(Completed(ID, b"claim", ()))
    with pytest.raises(Rejection) as caught:
        decode_outcome(msgspec.structs.replace(body, **change))
    assert caught.value.reason is RejectionReason.MALFORMED


def test_completions_are_applied_first_and_reassignments_last():
    kinds = [
        kind_of(outcome)
        for outcome in (
            Completed(ID, b"", ()),
            Expired(ID),
            Cancelled(ID),
            Failed(ID, FailReason.WITHHELD),
            Reassigned(ID, 0, 0, ReassignReason.NO_RESULT),
        )
    ]
    assert kinds == sorted(kinds)
