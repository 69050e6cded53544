from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.claims import (
    MAX_SEGMENTS,
    SCALAR_FIELD,
    Claim,
    CombineValues,
    SegmentValues,
    Submission,
    combine_claim,
    decode_claim,
    encode_claim,
    encode_combine,
    encode_segment,
    parse_combine,
    parse_segment,
    segment_hash_list,
)
from protocol.errors import Rejection, RejectionReason
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = Hash(bytes(range(200, 232)))
PROVERS = tuple(Address(bytes([number]) * 20) for number in (1, 2, 3))
HASHES = (111, 222, 333)
COUNTS = (16, 16, 5)

SegmentSet = list[Submission]


def segment(index: int) -> SegmentValues:
    return SegmentValues(REQUEST, PROVERS[index], index, COUNTS[index], HASHES[index])


def combined() -> CombineValues:
    return CombineValues(REQUEST, PROVERS[0], 999, 2**71, segment_hash_list(HASHES))


def submissions() -> SegmentSet:
    return [Submission(PROVERS[i], encode_segment(segment(i))) for i in range(3)]


def combine_submission(values: CombineValues | None = None) -> Submission:
    return Submission(PROVERS[0], encode_combine(values or combined()))


def detail_of(call: Callable[[], object]) -> str:
    with pytest.raises(Rejection) as caught:
        call()
    assert caught.value.reason is RejectionReason.BAD_PUBLIC_VALUES
    return caught.value.detail


def test_consistent_proofs_make_the_claim() -> None:
    claim = combine_claim(REQUEST, submissions(), combine_submission())
    assert claim == Claim(root=999, total=2**71, account_count=37)


def test_order_of_public_values_is_that_of_the_circuits() -> None:
    words = [int.from_bytes(word, "big") for word in encode_segment(segment(2))]
    hi, lo = int.from_bytes(REQUEST[:16], "big"), int.from_bytes(REQUEST[16:], "big")
    prover = int.from_bytes(PROVERS[2], "big")
    assert words == [hi, lo, prover, 2, 5, 333]
    words = [int.from_bytes(word, "big") for word in encode_combine(combined())]
    assert words[:5] == [hi, lo, int.from_bytes(PROVERS[0], "big"), 999, 2**71]
    assert words[5:] == [*HASHES, *[0] * 13]


@given(
    request=st.binary(min_size=32, max_size=32),
    prover=st.binary(min_size=20, max_size=20),
    index=st.integers(0, 15),
    count=st.integers(1, 16),
    root=st.integers(1, SCALAR_FIELD - 1),
)
def test_segment_values_round_trip(
    request: bytes, prover: bytes, index: int, count: int, root: int
) -> None:
    values = SegmentValues(Hash(request), Address(prover), index, count, root)
    assert parse_segment(encode_segment(values)) == values


def test_combine_values_round_trip() -> None:
    assert parse_combine(encode_combine(combined())) == combined()


@given(place=st.integers(0, 5), value=st.integers(SCALAR_FIELD, 2**256 - 1))
def test_no_value_reaches_the_modulus(place: int, value: int) -> None:
    words = list(encode_segment(segment(0)))
    words[place] = value.to_bytes(32, "big")
    with pytest.raises(Rejection) as caught:
        parse_segment(words)
    assert caught.value.reason is RejectionReason.NON_CANONICAL


@pytest.mark.parametrize("word", [b"", bytes(31), bytes(33), b"\x01" * 64])
def test_a_word_has_32_bytes(word: bytes) -> None:
    with pytest.raises(Rejection) as caught:
        parse_segment([word, *encode_segment(segment(0))[1:]])
    assert caught.value.reason is RejectionReason.NON_CANONICAL


@pytest.mark.parametrize(
    ("place", "value", "detail"),
    [
        (0, 2**128, "request id"),
        (1, 2**128, "request id"),
        (2, 2**160, "prover"),
        (3, 16, "segment index"),
        (4, 0, "account count"),
        (4, 17, "account count"),
        (5, 0, "segment hash"),
    ],
)
def test_segment_values_out_of_range(place: int, value: int, detail: str) -> None:
    words = list(encode_segment(segment(0)))
    words[place] = value.to_bytes(32, "big")
    assert detail_of(lambda: parse_segment(words)) == detail


def test_a_total_has_72_bits() -> None:
    words = list(encode_combine(combined()))
    words[4] = (2**72).to_bytes(32, "big")
    assert detail_of(lambda: parse_combine(words)) == "total"


@pytest.mark.parametrize("count", [0, 5, 7])
def test_wrong_number_of_values(count: int) -> None:
    words = (*encode_segment(segment(0)), bytes(32))[:count]
    assert detail_of(lambda: parse_segment(words)) == "count"


def swapped(parts: SegmentSet) -> SegmentSet:
    return [parts[1], parts[0], parts[2]]


def stolen(parts: SegmentSet) -> SegmentSet:
    return [replace(parts[0], prover=PROVERS[1]), *parts[1:]]


def foreign(parts: SegmentSet) -> SegmentSet:
    values = replace(segment(0), request_id=Hash(bytes(32)))
    return [Submission(PROVERS[0], encode_segment(values)), *parts[1:]]


def doubled(parts: SegmentSet) -> SegmentSet:
    return [parts[0], parts[0], parts[2]]


def too_many(parts: SegmentSet) -> SegmentSet:
    return parts * (MAX_SEGMENTS // 3 + 1)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (swapped, "segment index"),
        (stolen, "prover"),
        (foreign, "request id"),
        (doubled, "segment index"),
        (too_many, "segment count"),
        (lambda _parts: [], "segment count"),
        (lambda parts: parts[:2], "segment hashes"),
    ],
)
def test_segments_that_do_not_fit(change: Callable[[SegmentSet], SegmentSet], detail: str) -> None:
    changed = change(submissions())
    assert detail_of(lambda: combine_claim(REQUEST, changed, combine_submission())) == detail


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"request_id": Hash(bytes(32))}, "request id"),
        ({"prover": PROVERS[1]}, "prover"),
        ({"segment_hashes": segment_hash_list((111, 222, 334))}, "segment hashes"),
        ({"segment_hashes": segment_hash_list((111, 222))}, "segment hashes"),
        ({"segment_hashes": segment_hash_list((*HASHES, 444))}, "segment hashes"),
        ({"segment_hashes": (0, *HASHES, *[0] * 12)}, "segment hashes"),
    ],
)
def test_a_combining_proof_that_does_not_fit(change: dict[str, object], detail: str) -> None:
    values = replace(combined(), **change)
    call = lambda: combine_claim(REQUEST, submissions(), combine_submission(values))  # noqa: E731
    assert detail_of(call) == detail


def test_settled_claim_is_three_abi_words() -> None:
    raw = encode_claim(Claim(7, 8, 9))
    assert raw == bytes(31) + b"\x07" + bytes(31) + b"\x08" + bytes(31) + b"\x09"
    assert decode_claim(raw) == Claim(7, 8, 9)


@pytest.mark.parametrize("raw", [b"", bytes(95), bytes(96), bytes(97), bytes(128), b"\xff" * 96])
def test_malformed_claims_are_refused(raw: bytes) -> None:
    with pytest.raises(Rejection):
        decode_claim(raw)
