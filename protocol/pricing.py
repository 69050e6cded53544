"""The reference price of a class: what a thin market posts, moved by what clearings showed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.types import MAX_AMOUNT, Wei

if TYPE_CHECKING:
    from collections.abc import Sequence

PRICE_STEP: Final = 8
"""A thin clearing moves the price by at most one part in so many."""
RECENT_PRICES: Final = 5
"""Thick clearings whose prices the reference price is the median of."""


def after_thin(posted: int, demanded: int, offered: int) -> Wei:
    """Move a posted price towards balance: by at least 1 wei and at most one eighth.

    `demanded` are the slots wanted at this price by requests that fit into all slots on offer, at
    whatever ask: a request larger than the market must not drive the price, and asks above the
    price must not hide the demand. `offered` are the slots offered at this price.
    """
    if demanded == offered:
        return Wei(posted)
    step = max(1, posted * abs(demanded - offered) // (PRICE_STEP * max(demanded, offered)))
    moved = posted + step if demanded > offered else posted - step
    return Wei(min(max(moved, 1), MAX_AMOUNT))


def after_thick(recent: Sequence[int]) -> Wei:
    """The median of what buyers paid for a slot lately, rounded down, at least 1 wei.

    Of an even number of prices the lower middle one. `recent` is not empty.
    """
    return Wei(min(max(sorted(recent)[(len(recent) - 1) // 2], 1), MAX_AMOUNT))
