"""What a set of proofs claims: public values of segments and of the combining proof.

Public values travel as 32-byte big-endian words, each below the BN254 scalar field's modulus; any
other form is refused, so that one claim has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocol.errors import Rejection, RejectionReason
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from collections.abc import Sequence

SCALAR_FIELD: Final = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
ACCOUNTS_PER_SEGMENT: Final = 16
MAX_SEGMENTS: Final = 16
# 256 balances of 64 bits each need at most 72 bits; the combining circuit checks the same bound.
TOTAL_BITS: Final = 72
SEGMENT_VALUES: Final = 6
COMBINE_VALUES: Final = 5 + MAX_SEGMENTS
EMPTY_SEGMENT: Final = 0

_LIMB_BITS: Final = 128
_ADDRESS_BITS: Final = 160


@dataclass(frozen=True, slots=True)
class Claim:
    """The proven statement: the `account_count` balances under `root` add up to `total`."""

    root: int
    total: int
    account_count: int


@dataclass(frozen=True, slots=True)
class SegmentValues:
    """Public values of one segment's proof; request id 32 bytes, prover 20 bytes."""

    request_id: Hash
    prover: Address
    index: int
    account_count: int
    root_hash: int


@dataclass(frozen=True, slots=True)
class CombineValues:
    """Public values of the combining proof; `segment_hashes` has one entry per possible segment."""

    request_id: Hash
    prover: Address
    root: int
    total: int
    segment_hashes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """Public values as words, with the 20-byte address of the operator that submitted the proof."""

    prover: Address
    values: tuple[bytes, ...]


def encode_claim(claim: Claim) -> bytes:
    """The 96 settled bytes: abi.encode(uint256 root, uint256 total, uint256 accountCount)."""
    return b"".join(_words(claim.root, claim.total, claim.account_count))


def decode_claim(raw: bytes) -> Claim:
    """The claim of 96 settled bytes; raises Rejection as `parse_words`."""
    words = [raw[start : start + 32] for start in range(0, len(raw), 32)]
    root, total, account_count = parse_words(words, 3)
    _check(total >> TOTAL_BITS == 0, "total")
    _check(0 < account_count <= ACCOUNTS_PER_SEGMENT * MAX_SEGMENTS, "account count")
    return Claim(root, total, account_count)


def encode_segment(values: SegmentValues) -> tuple[bytes, ...]:
    """The six words of a segment's proof, in the order of the circuit's public inputs."""
    head = _binding(values.request_id, values.prover)
    return _words(*head, values.index, values.account_count, values.root_hash)


def encode_combine(values: CombineValues) -> tuple[bytes, ...]:
    """The words of a combining proof, in the order of the circuit's public inputs."""
    head = _binding(values.request_id, values.prover)
    return _words(*head, values.root, values.total, *values.segment_hashes)


def parse_words(words: Sequence[bytes], count: int) -> tuple[int, ...]:
    """Field elements of canonical words; raises Rejection(BAD_PUBLIC_VALUES or NON_CANONICAL)."""
    _check(len(words) == count, "count")
    values = []
    for word in words:
        if len(word) != 32 or int.from_bytes(word, "big") >= SCALAR_FIELD:
            raise Rejection(RejectionReason.NON_CANONICAL, "public value")
        values.append(int.from_bytes(word, "big"))
    return tuple(values)


def parse_segment(words: Sequence[bytes]) -> SegmentValues:
    """Checked public values of a segment; raises Rejection as `parse_words`."""
    hi, lo, prover, index, account_count, root_hash = parse_words(words, SEGMENT_VALUES)
    _check(index < MAX_SEGMENTS, "segment index")
    _check(0 < account_count <= ACCOUNTS_PER_SEGMENT, "account count")
    _check(root_hash != EMPTY_SEGMENT, "segment hash")
    return SegmentValues(_request_id(hi, lo), _address(prover), index, account_count, root_hash)


def parse_combine(words: Sequence[bytes]) -> CombineValues:
    """Checked public values of a combining proof; raises Rejection as `parse_words`."""
    hi, lo, prover, root, total, *hashes = parse_words(words, COMBINE_VALUES)
    _check(total >> TOTAL_BITS == 0, "total")
    return CombineValues(_request_id(hi, lo), _address(prover), root, total, tuple(hashes))


def check_segment(request_id: Hash, index: int, submission: Submission) -> SegmentValues:
    """One segment's values, tied to its request, place and prover.

    Raises:
        Rejection: BAD_PUBLIC_VALUES, with what does not fit as its detail; NON_CANONICAL.
    """
    values = parse_segment(submission.values)
    _check(values.request_id == request_id, "request id")
    _check(values.prover == submission.prover, "prover")
    _check(values.index == index, "segment index")
    return values


def combine_claim(request_id: Hash, segments: Sequence[Submission], combine: Submission) -> Claim:
    """The claim that a complete set of (already verified) proofs makes, if they fit together.

    `segments` are in segment order and cover every segment of the request.

    Raises:
        Rejection: as `check_segment`.
    """
    _check(0 < len(segments) <= MAX_SEGMENTS, "segment count")
    parsed = [check_segment(request_id, i, segment) for i, segment in enumerate(segments)]
    combined = parse_combine(combine.values)
    _check(combined.request_id == request_id, "request id")
    _check(combined.prover == combine.prover, "prover")
    expected = segment_hash_list([values.root_hash for values in parsed])
    _check(combined.segment_hashes == expected, "segment hashes")
    return Claim(combined.root, combined.total, sum(values.account_count for values in parsed))


def segment_hash_list(hashes: Sequence[int]) -> tuple[int, ...]:
    """The combining proof's list: the used segments' hashes first, then the empty hash."""
    return (*hashes, *[EMPTY_SEGMENT] * (MAX_SEGMENTS - len(hashes)))


def _binding(request_id: Hash, prover: Address) -> tuple[int, int, int]:
    """Request id as two 128-bit limbs, as a field element holds fewer than 256 bits; prover."""
    if len(request_id) != 32 or len(prover) != 20:
        raise ValueError("a request id has 32 bytes and an address 20")
    return (
        int.from_bytes(request_id[:16], "big"),
        int.from_bytes(request_id[16:], "big"),
        int.from_bytes(prover, "big"),
    )


def _words(*values: int) -> tuple[bytes, ...]:
    if not all(0 <= value < SCALAR_FIELD for value in values):
        raise ValueError("a public value lies outside the scalar field")
    return tuple(value.to_bytes(32, "big") for value in values)


def _request_id(hi: int, lo: int) -> Hash:
    _check((hi | lo) >> _LIMB_BITS == 0, "request id")
    return Hash(hi.to_bytes(16, "big") + lo.to_bytes(16, "big"))


def _address(value: int) -> Address:
    _check(value >> _ADDRESS_BITS == 0, "prover")
    return Address(value.to_bytes(20, "big"))


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise Rejection(RejectionReason.BAD_PUBLIC_VALUES, what)
