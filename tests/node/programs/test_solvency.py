from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from light_poseidon_python import poseidon_hash

from node.programs.accounts import MAX_BALANCE, Account
from node.programs.poseidon import SCALAR_FIELD, poseidon
from node.programs.solvency import (
    MAX_PRIVATE_INPUT_BYTES,
    CombineInput,
    OpeningRow,
    SegmentInput,
    account_hash,
    account_salt,
    plan,
)
from node.programs.witness import ProofContext, UnsatisfiedWitness, WitnessFault, assign
from protocol.claims import MAX_SEGMENTS, parse_combine, parse_segment
from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.programs import COMBINE, SEGMENT
from protocol.types import Address, Hash

SEED = bytes(range(32))
REQUEST = Hash(bytes(range(100, 132)))
PROVER = Address(bytes(range(20)))
encode = msgspec.msgpack.encode


def accounts(count: int) -> list[Account]:
    return [Account(f"account-{number}", number * 10**12) for number in range(count)]


def context(segment: int = 0) -> ProofContext:
    return ProofContext(REQUEST, PROVER, segment)


@given(st.lists(st.integers(0, SCALAR_FIELD - 1), min_size=2, max_size=2))
def test_poseidon_equals_an_independent_implementation(inputs: list[int]) -> None:
    assert poseidon(inputs) == int(poseidon_hash([str(value) for value in inputs]))


@pytest.mark.parametrize("inputs", [[], [1] * 5, [SCALAR_FIELD], [-1]])
def test_poseidon_refuses_what_it_is_not_defined_for(inputs: list[int]) -> None:
    with pytest.raises(ValueError, match="poseidon"):
        poseidon(inputs)


@pytest.mark.parametrize(("count", "segments"), [(1, 1), (16, 1), (17, 2), (64, 4), (256, 16)])
def test_plan_covers_every_account(count: int, segments: int) -> None:
    made = plan(accounts(count), SEED)
    assert made.claim.account_count == count
    assert made.claim.total == sum(range(count)) * 10**12
    assert len(made.segment_inputs) == len(made.segment_hashes) == segments
    assert made.input_hashes == tuple(map(keccak, (*made.segment_inputs, made.combine_input)))
    assert max(map(len, (*made.segment_inputs, made.combine_input))) <= MAX_PRIVATE_INPUT_BYTES


def test_largest_balances_do_not_wrap() -> None:
    full = [Account(str(number), MAX_BALANCE) for number in range(256)]
    made = plan(full, SEED)
    assert made.claim.total == 256 * MAX_BALANCE
    combined = assign(COMBINE, made.combine_input, context(16))
    assert parse_combine(combined.values).total == 256 * MAX_BALANCE


def test_plan_is_a_function_of_accounts_and_seed() -> None:
    assert plan(accounts(20), SEED) == plan(accounts(20), SEED)
    other = plan(accounts(20), bytes(32))
    made = plan(accounts(20), SEED)
    assert made.claim.total == other.claim.total
    assert made.claim.root != other.claim.root
    assert not set(made.input_hashes) & set(other.input_hashes)


def test_salts_differ_by_account_and_seed_and_hide_the_seed() -> None:
    salts = {account_salt(name, seed) for name in "abc" for seed in (SEED, bytes(32))}
    assert len(salts) == 6
    assert account_hash("a") != account_hash("b")


def test_a_plan_needs_accounts_and_a_whole_seed() -> None:
    for count, seed in ((0, SEED), (257, SEED), (1, SEED[:31])):
        with pytest.raises(LocalProtocolError):
            plan(accounts(count), seed)


def test_assignments_agree_with_the_plan() -> None:
    made = plan(accounts(37), SEED)
    for index, raw in enumerate(made.segment_inputs):
        values = parse_segment(assign(SEGMENT, raw, context(index)).values)
        assert values.root_hash == made.segment_hashes[index]
        assert (values.index, values.prover, values.request_id) == (index, PROVER, REQUEST)
        assert values.account_count == (16, 16, 5)[index]
    combined = assign(COMBINE, made.combine_input, context(3))
    values = parse_combine(combined.values)
    assert (values.root, values.total) == (made.claim.root, made.claim.total)


def segment_input() -> SegmentInput:
    return msgspec.msgpack.decode(plan(accounts(16), SEED).segment_inputs[0], type=SegmentInput)


def broken_segments() -> list[tuple[bytes, WitnessFault, int]]:
    whole = segment_input()
    row = whole.rows[3]
    replace = msgspec.structs.replace

    def with_row(**change: object) -> bytes:
        rows = [*whole.rows[:3], replace(row, **change), *whole.rows[4:]]
        return encode(replace(whole, rows=rows))

    return [
        (with_row(salt=bytes(30)), WitnessFault.SALT_LENGTH, 3),
        (with_row(account=bytes(32)), WitnessFault.ACCOUNT_LENGTH, 3),
        (with_row(balance=-1), WitnessFault.BALANCE_OUT_OF_RANGE, 3),
        (with_row(balance="7"), WitnessFault.MALFORMED_INPUT, -1),
        (encode(replace(whole, rows=[])), WitnessFault.WRONG_ROW_COUNT, -1),
        (encode(replace(whole, rows=[*whole.rows, row])), WitnessFault.WRONG_ROW_COUNT, -1),
        (encode(replace(whole, blinding=bytes(31))), WitnessFault.MALFORMED_INPUT, -1),
        (encode(whole) + b"\x00", WitnessFault.MALFORMED_INPUT, -1),
        (b"", WitnessFault.MALFORMED_INPUT, -1),
        (bytes(MAX_PRIVATE_INPUT_BYTES + 1), WitnessFault.MALFORMED_INPUT, -1),
    ]


@pytest.mark.parametrize("case", range(len(broken_segments())))
def test_each_broken_rule_of_a_segment_has_a_name(case: int) -> None:
    raw, fault, row = broken_segments()[case]
    with pytest.raises(UnsatisfiedWitness) as caught:
        assign(SEGMENT, raw, context())
    assert (caught.value.fault, caught.value.row) == (fault, row)


def test_non_minimal_encodings_are_refused() -> None:
    whole = encode(segment_input())
    assert whole[:1] == b"\x92"  # an array of two, in its shortest form
    with pytest.raises(UnsatisfiedWitness) as caught:
        assign(SEGMENT, b"\xdc\x00\x02" + whole[1:], context())
    assert caught.value.fault is WitnessFault.MALFORMED_INPUT


def test_a_segment_index_past_the_last_is_refused() -> None:
    with pytest.raises(UnsatisfiedWitness) as caught:
        assign(SEGMENT, encode(segment_input()), context(MAX_SEGMENTS))
    assert caught.value.fault is WitnessFault.WRONG_SEGMENT


def test_each_broken_rule_of_combining_has_a_name() -> None:
    made = plan(accounts(40), SEED)
    whole = msgspec.msgpack.decode(made.combine_input, type=CombineInput)
    replace = msgspec.structs.replace

    def fault_of(changed: CombineInput) -> tuple[WitnessFault, int]:
        with pytest.raises(UnsatisfiedWitness) as caught:
            assign(COMBINE, encode(changed), context(3))
        return caught.value.fault, caught.value.row

    def with_opening(**change: object) -> CombineInput:
        changed: list[OpeningRow] = [*whole.openings]
        changed[1] = replace(changed[1], **change)
        return replace(whole, openings=changed)

    assert fault_of(replace(whole, openings=[])) == (WitnessFault.WRONG_ROW_COUNT, -1)
    short = with_opening(left_sum=bytes(8))
    assert fault_of(short) == (WitnessFault.MALFORMED_INPUT, 1)
    large = with_opening(right_hash=b"\xff" * 32)
    assert fault_of(large) == (WitnessFault.OPENING_OUT_OF_FIELD, 1)
