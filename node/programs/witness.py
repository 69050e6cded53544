"""Checks a private input before it is proven, and turns it into the circuit's inputs.

The proving library does not notice an unsatisfied constraint: each rule of the circuits is checked
here first, under a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from node.programs.solvency import (
    ELEMENT_BYTES,
    MAX_PRIVATE_INPUT_BYTES,
    AccountRow,
    CombineInput,
    OpeningRow,
    SegmentInput,
    combine_roots,
    row_leaf,
)
from node.programs.sum_tree import ZERO_NODE, Opening, SumNode, open_root
from protocol.claims import (
    ACCOUNTS_PER_SEGMENT,
    MAX_SEGMENTS,
    SCALAR_FIELD,
    TOTAL_BITS,
    CombineValues,
    SegmentValues,
    encode_combine,
    encode_segment,
    segment_hash_list,
)
from protocol.programs import COMBINE, SEGMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.types import Address, Hash

CircuitInputs = dict[str, int | list[int]]

_Input = TypeVar("_Input", SegmentInput, CombineInput)
_BLINDING_BYTES: Final = 32


class WitnessFault(StrEnum):
    """The rule of the statement that a private input breaks."""

    MALFORMED_INPUT = "malformed_input"
    WRONG_ROW_COUNT = "wrong_row_count"
    SALT_LENGTH = "salt_length"
    ACCOUNT_LENGTH = "account_length"
    BALANCE_OUT_OF_RANGE = "balance_out_of_range"
    OPENING_OUT_OF_FIELD = "opening_out_of_field"
    TOTAL_OUT_OF_RANGE = "total_out_of_range"
    WRONG_SEGMENT = "wrong_segment"


class UnsatisfiedWitness(Exception):  # noqa: N818  it is the field's term
    """No witness exists for this input; `row` counts from 0, -1 = the input as a whole."""

    def __init__(self, fault: WitnessFault, row: int = -1) -> None:
        super().__init__(fault.value if row < 0 else f"{fault.value} in row {row}")
        self.fault = fault
        self.row = row


@dataclass(frozen=True, slots=True)
class ProofContext:
    """What a proof is bound to."""

    request_id: Hash
    prover: Address
    segment: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Public values as words, and the circuit's complete inputs by signal name."""

    values: tuple[bytes, ...]
    inputs: CircuitInputs


def assign(circuit: str, private_input: bytes, context: ProofContext) -> Assignment:
    """The checked assignment of one circuit; raises UnsatisfiedWitness."""
    return {SEGMENT: _assign_segment, COMBINE: _assign_combine}[circuit](private_input, context)


def _assign_segment(private_input: bytes, context: ProofContext) -> Assignment:
    rows = _decode(private_input, SegmentInput).rows
    if not 0 < len(rows) <= ACCOUNTS_PER_SEGMENT:
        raise UnsatisfiedWitness(WitnessFault.WRONG_ROW_COUNT)
    if not 0 <= context.segment < MAX_SEGMENTS:
        raise UnsatisfiedWitness(WitnessFault.WRONG_SEGMENT)
    for number, row in enumerate(rows):
        _check_row(row, number)
    root = open_root([row_leaf(row) for row in rows], ACCOUNTS_PER_SEGMENT).parent()
    values = SegmentValues(
        context.request_id, context.prover, context.segment, len(rows), root.hash
    )
    inputs: CircuitInputs = {
        **_binding(context),
        "segmentIndex": context.segment,
        "accountCount": len(rows),
        "rootHash": root.hash,
        "salt": _padded([int.from_bytes(row.salt, "big") for row in rows], ACCOUNTS_PER_SEGMENT),
        "account": _padded(
            [int.from_bytes(row.account, "big") for row in rows], ACCOUNTS_PER_SEGMENT
        ),
        "balance": _padded([row.balance for row in rows], ACCOUNTS_PER_SEGMENT),
        "active": _padded([1] * len(rows), ACCOUNTS_PER_SEGMENT),
    }
    return Assignment(encode_segment(values), inputs)


def _assign_combine(private_input: bytes, context: ProofContext) -> Assignment:
    rows = _decode(private_input, CombineInput).openings
    if not 0 < len(rows) <= MAX_SEGMENTS:
        raise UnsatisfiedWitness(WitnessFault.WRONG_ROW_COUNT)
    openings = [_opening(row, number) for number, row in enumerate(rows)]
    roots = [opening.parent() for opening in openings]
    total = combine_roots(roots)
    if total.sum >> TOTAL_BITS:
        raise UnsatisfiedWitness(WitnessFault.TOTAL_OUT_OF_RANGE)
    # Whether these are the segments that were proven shows when the proofs are put together.
    listed = segment_hash_list([root.hash for root in roots])
    values = CombineValues(context.request_id, context.prover, total.hash, total.sum, listed)
    openings += [Opening(ZERO_NODE, ZERO_NODE)] * (MAX_SEGMENTS - len(rows))
    inputs: CircuitInputs = {
        **_binding(context),
        "root": total.hash,
        "total": total.sum,
        "segmentHash": list(listed),
        "used": _padded([1] * len(rows), MAX_SEGMENTS),
        "leftHash": [opening.left.hash for opening in openings],
        "leftSum": [opening.left.sum for opening in openings],
        "rightHash": [opening.right.hash for opening in openings],
        "rightSum": [opening.right.sum for opening in openings],
    }
    return Assignment(encode_combine(values), inputs)


def _check_row(row: AccountRow, number: int) -> None:
    if len(row.salt) != ELEMENT_BYTES:
        raise UnsatisfiedWitness(WitnessFault.SALT_LENGTH, number)
    if len(row.account) != ELEMENT_BYTES:
        raise UnsatisfiedWitness(WitnessFault.ACCOUNT_LENGTH, number)
    if not 0 <= row.balance < 2**64:
        raise UnsatisfiedWitness(WitnessFault.BALANCE_OUT_OF_RANGE, number)


def _opening(row: OpeningRow, number: int) -> Opening:
    lengths = (len(row.left_hash), len(row.left_sum), len(row.right_hash), len(row.right_sum))
    if lengths != (32, 9, 32, 9):
        raise UnsatisfiedWitness(WitnessFault.MALFORMED_INPUT, number)
    left = SumNode(int.from_bytes(row.left_hash, "big"), int.from_bytes(row.left_sum, "big"))
    right = SumNode(int.from_bytes(row.right_hash, "big"), int.from_bytes(row.right_sum, "big"))
    if max(left.hash, right.hash) >= SCALAR_FIELD:
        raise UnsatisfiedWitness(WitnessFault.OPENING_OUT_OF_FIELD, number)
    return Opening(left, right)


def _decode(raw: bytes, kind: type[_Input]) -> _Input:
    """Decode one canonical private input."""
    if len(raw) > MAX_PRIVATE_INPUT_BYTES:
        raise UnsatisfiedWitness(WitnessFault.MALFORMED_INPUT)
    try:
        value = msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.DecodeError, ValueError) as exc:
        raise UnsatisfiedWitness(WitnessFault.MALFORMED_INPUT) from exc
    if len(value.blinding) != _BLINDING_BYTES or msgspec.msgpack.encode(value) != raw:
        raise UnsatisfiedWitness(WitnessFault.MALFORMED_INPUT)
    return value


def _binding(context: ProofContext) -> CircuitInputs:
    request_id = context.request_id
    return {
        "requestIdHi": int.from_bytes(request_id[:16], "big"),
        "requestIdLo": int.from_bytes(request_id[16:], "big"),
        "prover": int.from_bytes(context.prover, "big"),
    }


def _padded(values: Sequence[int], size: int) -> list[int]:
    return [*values, *[0] * (size - len(values))]
