"""Poseidon over the BN254 scalar field, with circomlib's parameters.

Source: Grassi et al., "Poseidon: A New Hash Function for Zero-Knowledge Proof Systems", 2019/458;
constants are drawn from its Grain LFSR, so that no table has to be trusted or shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCALAR_FIELD: Final = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
FULL_ROUNDS: Final = 8
# Partial rounds for a state of 2, 3, 4 and 5 elements at 128 bits of security (the paper's table).
PARTIAL_ROUNDS: Final = {2: 56, 3: 57, 4: 56, 5: 60}
FIELD_BITS: Final = 254


@dataclass(frozen=True, slots=True)
class _Parameters:
    round_constants: tuple[tuple[int, ...], ...]
    matrix: tuple[tuple[int, ...], ...]


def poseidon(inputs: Sequence[int]) -> int:
    """Hash 1 to 4 field elements to one; raises ValueError for another count or a value >= r."""
    width = len(inputs) + 1
    if width not in PARTIAL_ROUNDS:
        raise ValueError(f"poseidon takes 1 to 4 inputs, got {len(inputs)}")
    if not all(0 <= value < SCALAR_FIELD for value in inputs):
        raise ValueError("poseidon input outside the scalar field")
    parameters = _parameters(width)
    first_partial = FULL_ROUNDS // 2
    last_partial = first_partial + PARTIAL_ROUNDS[width]
    state = [0, *inputs]
    for index, constants in enumerate(parameters.round_constants):
        state = [value + constant for value, constant in zip(state, constants, strict=True)]
        if first_partial <= index < last_partial:
            state[0] = pow(state[0], 5, SCALAR_FIELD)
        else:
            state = [pow(value, 5, SCALAR_FIELD) for value in state]
        state = [
            sum(entry * value for entry, value in zip(row, state, strict=True)) % SCALAR_FIELD
            for row in parameters.matrix
        ]
    return state[0]


@lru_cache(maxsize=len(PARTIAL_ROUNDS))
def _parameters(width: int) -> _Parameters:
    """Round constants and the Cauchy matrix of one state width."""
    rounds = FULL_ROUNDS + PARTIAL_ROUNDS[width]
    bits = _grain_bits(width, PARTIAL_ROUNDS[width])
    constants = tuple(tuple(_draw_element(bits) for _ in range(width)) for _ in range(rounds))
    # The matrix's elements are reduced, not redrawn; none of our widths hits a repeated element.
    draws = [_draw_integer(bits) % SCALAR_FIELD for _ in range(2 * width)]
    matrix = tuple(
        tuple(pow(x + y, -1, SCALAR_FIELD) for y in draws[width:]) for x in draws[:width]
    )
    return _Parameters(constants, matrix)


def _grain_bits(width: int, partial_rounds: int) -> Iterator[int]:
    """The paper's 80-bit LFSR in self-shrinking mode, seeded by the instance's parameters."""
    seed = ((1, 2), (0, 4), (FIELD_BITS, 12), (width, 12), (FULL_ROUNDS, 10), (partial_rounds, 10))
    state = [value >> shift & 1 for value, size in seed for shift in range(size - 1, -1, -1)]
    state += [1] * 30

    def clock() -> int:
        bit = state[62] ^ state[51] ^ state[38] ^ state[23] ^ state[13] ^ state[0]
        state.pop(0)
        state.append(bit)
        return bit

    for _ in range(160):
        clock()
    while True:
        keep, bit = clock(), clock()
        if keep:
            yield bit


def _draw_integer(bits: Iterator[int]) -> int:
    value = 0
    for _ in range(FIELD_BITS):
        value = value << 1 | next(bits)
    return value


def _draw_element(bits: Iterator[int]) -> int:
    while (value := _draw_integer(bits)) >= SCALAR_FIELD:
        pass
    return value
