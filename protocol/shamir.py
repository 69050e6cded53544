"""Shamir's secret sharing (CACM 22-11, 1979) over the prime field below 2**256.

    shares = deal(coefficients, count)                 coefficients[0] is the secret
    polynomial(points, count) -> (secret, shares)      from as many points as the threshold

Secrets and shares are integers below PRIME, 32 bytes each. The share with index i (from 0, a
member's position on its committee) is the polynomial's value at i + 1.

The arithmetic does not run in constant time: what is shared is one bid's key, used once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRIME: Final = 2**256 - 189
"""The largest prime below 2**256."""


def deal(coefficients: Sequence[int], count: int) -> tuple[int, ...]:
    """Shares of the secret coefficients[0]; as many of them as there are coefficients give it."""
    return tuple(_value(coefficients, place + 1) for place in range(count))


def polynomial(points: Mapping[int, int], count: int) -> tuple[int, tuple[int, ...]]:
    """Secret and all shares of the one polynomial of lowest degree through these shares.

    points: index -> share, each below PRIME; indices below count.
    """
    places = tuple(sorted(points))
    values = [points[place] for place in places]
    rows = _basis(places, count)
    secret, *shares = (
        sum(weight * value for weight, value in zip(row, values, strict=True)) % PRIME
        for row in rows
    )
    return secret, tuple(shares)


def _value(coefficients: Sequence[int], at: int) -> int:
    """Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * at + coefficient) % PRIME
    return value


@lru_cache(1_024)
def _basis(places: tuple[int, ...], count: int) -> tuple[tuple[int, ...], ...]:
    """Lagrange's weights of these shares for the secret, then for each share."""
    xs = [place + 1 for place in places]
    return tuple(tuple(_weight(xs, x, at) for x in xs) for at in range(count + 1))


def _weight(xs: Sequence[int], x: int, at: int) -> int:
    above = below = 1
    for other in xs:
        if other != x:
            above = above * (at - other) % PRIME
            below = below * (x - other) % PRIME
    return above * pow(below, -1, PRIME) % PRIME
