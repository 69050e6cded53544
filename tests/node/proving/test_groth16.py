"""The circuits and the proof system themselves, without the checks that stand before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from py_ecc.bn128 import FQ2, b2, curve_order, is_on_curve, multiply

from node.programs.poseidon import poseidon
from node.programs.solvency import combine_roots
from node.programs.sum_tree import Opening, SumNode
from node.programs.witness import Assignment, CircuitInputs, ProofContext, assign
from node.proving.backends.groth16 import PROOF_BYTES, Prover, Verifier
from node.proving.errors import BackendError, BackendFault
from protocol.claims import SCALAR_FIELD
from protocol.errors import Rejection, RejectionReason
from protocol.programs import COMBINE, SEGMENT
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.programs.solvency import SolvencyPlan
    from node.proving.artifacts import BuiltProgram

BASE_FIELD = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
REQUEST = Hash(bytes(range(100, 132)))
PROVER = Address(bytes(range(20)))
SEGMENT_SIGNALS = (
    "requestIdHi requestIdLo prover segmentIndex accountCount rootHash".split()  # noqa: SIM905
)


class Circuit:
    def __init__(self, program: BuiltProgram, name: str, assignment: Assignment) -> None:
        self.prover = Prover(program.proving_key_path(name))
        self.verifier = Verifier(program.verifying_key(name))
        self.values = assignment.values
        self.inputs = assignment.inputs
        self.proof = self.prover.prove(assignment.inputs)

    def reason(self, values: tuple[bytes, ...], proof: bytes) -> RejectionReason | None:
        try:
            self.verifier.check(values, proof)
        except Rejection as exc:
            return exc.reason
        return None


@pytest.fixture(scope="module")
def segment(built: BuiltProgram, solvency_plan: SolvencyPlan) -> Circuit:
    """The second segment: 4 accounts, 12 rows unused."""
    context = ProofContext(REQUEST, PROVER, 1)
    assignment = assign(SEGMENT, solvency_plan.segment_inputs[1], context)
    return Circuit(built, SEGMENT, assignment)


@pytest.fixture(scope="module")
def combine(built: BuiltProgram, solvency_plan: SolvencyPlan) -> Circuit:
    context = ProofContext(REQUEST, PROVER, 2)
    return Circuit(built, COMBINE, assign(COMBINE, solvency_plan.combine_input, context))


def words(proof: bytes) -> list[int]:
    return [int.from_bytes(proof[i : i + 32], "big") for i in range(0, len(proof), 32)]


def joined(numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def test_honest_proofs_verify(segment: Circuit, combine: Circuit) -> None:
    for circuit in (segment, combine):
        assert len(circuit.proof) == PROOF_BYTES
        assert circuit.reason(circuit.values, circuit.proof) is None


def test_every_public_value_is_bound(segment: Circuit, combine: Circuit) -> None:
    for circuit in (segment, combine):
        for place, word in enumerate(circuit.values):
            changed = list(circuit.values)
            changed[place] = (int.from_bytes(word, "big") ^ 1).to_bytes(32, "big")
            reason = circuit.reason(tuple(changed), circuit.proof)
            assert reason is RejectionReason.INVALID_PROOF, place


def test_a_proof_of_one_circuit_is_none_of_the_other(segment: Circuit, combine: Circuit) -> None:
    assert segment.reason(segment.values, combine.proof) is RejectionReason.INVALID_PROOF


def changed_inputs(circuit: Circuit, **change: object) -> tuple[CircuitInputs, tuple[bytes, ...]]:
    inputs: CircuitInputs = {**circuit.inputs, **change}  # type: ignore[dict-item]
    values = tuple(
        int(inputs[name]).to_bytes(32, "big")  # type: ignore[arg-type]
        for name in SEGMENT_SIGNALS
    )
    return inputs, values


def with_row(circuit: Circuit, signal: str, row: int, value: int) -> list[int]:
    numbers = circuit.inputs[signal]
    assert isinstance(numbers, list)
    return [*numbers[:row], value, *numbers[row + 1 :]]


def dishonest_segments() -> dict[str, Callable[[Circuit], dict[str, object]]]:
    """Witnesses a cheating prover would like; the root is recomputed where the cheat changes it."""

    def cheat(circuit: Circuit, signal: str, row: int, value: int, count: int) -> dict[str, object]:
        change: dict[str, object] = {signal: with_row(circuit, signal, row, value)}
        change["accountCount"] = count
        inputs: CircuitInputs = {**circuit.inputs, **change}  # type: ignore[dict-item]
        change["rootHash"] = root_of(inputs)
        return change

    return {
        "negative balance": lambda c: cheat(c, "balance", 2, SCALAR_FIELD - 5, 4),
        "balance of 65 bits": lambda c: cheat(c, "balance", 2, 2**64, 4),
        "balance in an unused row": lambda c: cheat(c, "balance", 9, 5, 4),
        "used row after an unused one": lambda c: cheat(c, "active", 9, 1, 5),
        "used row that is not counted": lambda c: cheat(c, "active", 4, 1, 4),
        "flag of two": lambda c: cheat(c, "active", 3, 2, 5),
        "count too high": lambda _c: {"accountCount": 5},
        "another root": lambda c: {"rootHash": int(c.inputs["rootHash"]) + 1},  # type: ignore[arg-type]
    }


def root_of(inputs: CircuitInputs) -> int:
    """The root that the circuit computes, for any field elements and without range checks."""
    rows = zip(*(inputs[name] for name in ("salt", "account", "balance", "active")), strict=True)  # type: ignore[misc]
    level = [
        (active * poseidon((salt, account, balance)) % SCALAR_FIELD, balance)
        for salt, account, balance, active in rows
    ]
    while len(level) > 1:
        level = [
            (poseidon((*left, *right)), (left[1] + right[1]) % SCALAR_FIELD)
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return level[0][0]


def test_the_oracle_agrees_on_the_honest_segment(segment: Circuit) -> None:
    assert root_of(segment.inputs) == segment.inputs["rootHash"]


@pytest.mark.parametrize("name", dishonest_segments())
def test_no_dishonest_segment_verifies(segment: Circuit, name: str) -> None:
    inputs, values = changed_inputs(segment, **dishonest_segments()[name](segment))
    proof = segment.prover.prove(inputs)
    assert segment.reason(values, proof) is RejectionReason.INVALID_PROOF


def test_no_dishonest_combination_verifies(combine: Circuit) -> None:
    honest = combine.inputs
    left_sums, total = honest["leftSum"], honest["total"]
    assert isinstance(left_sums, list)
    assert isinstance(total, int)
    hidden = [left_sums[0] - 1, *left_sums[1:]]
    dropped = {
        "used": [1, *[0] * 15],
        "total": total - left_sums[1],
    }
    moved = combine_roots(
        [
            Opening(
                SumNode(honest["leftHash"][i], hidden[i]),  # type: ignore[index]
                SumNode(honest["rightHash"][i], honest["rightSum"][i]),  # type: ignore[index]
            ).parent()
            for i in range(2)
        ]
    )
    cheats: list[dict[str, object]] = [
        {"total": total - 1},
        {"leftSum": hidden, "total": total - 1, "root": moved.hash},
        dropped,
    ]
    for cheat in cheats:
        inputs: CircuitInputs = {**honest, **cheat}  # type: ignore[dict-item]
        values = list(combine.values)
        values[3] = int(inputs["root"]).to_bytes(32, "big")  # type: ignore[arg-type]
        values[4] = int(inputs["total"]).to_bytes(32, "big")  # type: ignore[arg-type]
        proof = combine.prover.prove(inputs)
        assert combine.reason(tuple(values), proof) is RejectionReason.INVALID_PROOF


def test_coordinates_are_below_the_base_field(segment: Circuit) -> None:
    numbers = words(segment.proof)
    for place, number in enumerate(numbers):
        raised = [*numbers[:place], number + BASE_FIELD, *numbers[place + 1 :]]
        assert raised[place] < 2**256
        reason = segment.reason(segment.values, joined(raised))
        assert reason is RejectionReason.NON_CANONICAL


def test_points_off_curve_at_infinity_or_of_wrong_length_are_refused(segment: Circuit) -> None:
    a, b, c = segment.proof[:64], segment.proof[64:192], segment.proof[192:]
    off_curve = (int.from_bytes(a[:32], "big") ^ 1).to_bytes(32, "big") + a[32:]
    malformed = [
        off_curve + b + c,
        bytes(64) + b + c,
        a + bytes(128) + c,
        a + b + bytes(64),
        segment.proof[:-1],
        segment.proof + b"\x00",
        b"",
    ]
    for proof in malformed:
        assert segment.reason(segment.values, proof) is RejectionReason.NON_CANONICAL


def test_a_twist_point_outside_the_subgroup_is_refused(segment: Circuit) -> None:
    x, y = twist_point_outside_the_subgroup()
    point = joined([x[1], x[0], y[1], y[0]])
    proof = segment.proof[:64] + point + segment.proof[192:]
    assert segment.reason(segment.values, proof) is RejectionReason.NON_CANONICAL


def twist_point_outside_the_subgroup() -> tuple[tuple[int, int], tuple[int, int]]:
    """A point of y^2 = x^3 + 3/(9+u) over F_p^2; almost none of them is in the subgroup."""
    for start in range(1, 100):
        x = FQ2([start, 0])
        real, imaginary = (int(part) for part in (x * x * x + b2).coeffs)
        norm_root = pow(real * real + imaginary * imaginary, (BASE_FIELD + 1) // 4, BASE_FIELD)
        for sign in (1, -1):
            half = (real + sign * norm_root) * pow(2, -1, BASE_FIELD) % BASE_FIELD
            root = pow(half, (BASE_FIELD + 1) // 4, BASE_FIELD)
            y = FQ2([root, imaginary * pow(2 * root, -1, BASE_FIELD) % BASE_FIELD])
            if is_on_curve((x, y), b2):
                assert multiply((x, y), curve_order) is not None
                return (start, 0), tuple(int(part) for part in y.coeffs)
    raise AssertionError("no point found")


def test_public_values_are_canonical_and_complete(segment: Circuit) -> None:
    first = int.from_bytes(segment.values[0], "big") + SCALAR_FIELD
    wrapped = (first.to_bytes(32, "big"), *segment.values[1:])
    assert segment.reason(wrapped, segment.proof) is RejectionReason.NON_CANONICAL
    for values in (segment.values[:-1], (*segment.values, bytes(32))):
        assert segment.reason(values, segment.proof) is RejectionReason.BAD_PUBLIC_VALUES


def test_proofs_are_malleable_and_so_never_an_identity(segment: Circuit) -> None:
    numbers = words(segment.proof)
    for place in (1, 4, 5):  # -A and -B have the same pairing as A and B
        numbers[place] = BASE_FIELD - numbers[place]
    assert joined(numbers) != segment.proof
    assert segment.reason(segment.values, joined(numbers)) is None


@pytest.mark.parametrize("size", [0, 31, 32 * 15, 32 * 27])
def test_a_damaged_verifying_key_is_refused(size: int, built: BuiltProgram) -> None:
    with pytest.raises(BackendError) as caught:
        Verifier(built.verifying_key(SEGMENT)[:size])
    assert caught.value.fault is BackendFault.ARTIFACT_CORRUPT
