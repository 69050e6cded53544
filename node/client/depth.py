"""Depth of a clearing: slots wanted and offered at each price, and where the two curves cross."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.clearing import FULL_QUALITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.auction import MarketInput


@dataclass(frozen=True, slots=True)
class Level:
    """Both curves at one price in wei a slot."""

    price: int
    wanted: int
    """Slots for which the fee per slot is at least this."""
    offered: int
    """Slots whose quality-adjusted ask is at most this."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """The most slots that are both wanted and offered at one price, and the prices that do."""

    slots: int
    low: int
    high: int


def levels_of(market: MarketInput) -> list[Level]:
    """The curves at every fee and ask, dearest first.

    Requests that name their operators are left out: they trade after all others, and move no price.
    """
    wanted: Counter[int] = Counter()
    offered: Counter[int] = Counter()
    for buyer in market.buyers:
        if not buyer.allowlist:
            wanted[buyer.max_fee // buyer.slots] += buyer.slots
    for seller in market.sellers:
        offered[-(-seller.ask * FULL_QUALITY // seller.quality)] += seller.slots
    levels = []
    demand, supply = 0, offered.total()
    for price in sorted({*wanted, *offered}, reverse=True):
        demand += wanted[price]
        levels.append(Level(price, demand, supply))
        supply -= offered[price]
    return levels


def crossing_of(levels: Sequence[Level]) -> Crossing | None:
    """Where the curves cross; None if nobody pays what anybody asks."""
    slots = max((min(level.wanted, level.offered) for level in levels), default=0)
    if not slots:
        return None
    return Crossing(
        slots,
        low=min(level.price for level in levels if level.offered >= slots),
        high=max(level.price for level in levels if level.wanted >= slots),
    )
