"""What trade is worth under each clearing rule, against the most it could be worth.

Markets are drawn at random: requests of 1 to 9 slots, values and costs lognormal. The posted price
follows the controller of the thin market over the rounds before, which know nothing of this one.
Beside the two rules stand two auctions that the network does not use (`benchmarks/baselines.py`).
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.baselines import FirstPrice, second_price
from benchmarks.records import load, save
from protocol.clearing import (
    FULL_QUALITY,
    MIN_BUYERS,
    MIN_SELLERS,
    Cleared,
    Lot,
    Offer,
    Verdict,
    clear_thick,
    clear_thin,
)
from protocol.hashing import keccak
from protocol.pricing import after_thin

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.baselines import Market
    from benchmarks.records import Json

BUYERS: Final = (3, 5, 8, 10, 12, 16, 20, 30, 50, 100, 200)
SELLERS: Final = (2, 3, 4, 6, 10, 25)
WARM_UP: Final = 50
ROUNDS: Final = 200
_SIZES: Final = (1, 2, 2, 3, 4, 5, 9)
_VALUE, _COST = 1_000_000, 700_000
"""Medians in wei of what a slot is worth, and of what it costs."""


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Welfare of each auction over market sizes."""
    busy = load()
    rounds = WARM_UP + (20 if quick else ROUNDS)
    cells: list[Json] = []
    for sellers in SELLERS:
        for buyers in BUYERS:
            compare = partial(_compared, buyers, sellers, rounds)
            found = await trio.to_thread.run_sync(compare, abandon_on_cancel=True)
            cells.append({"buyers": buyers, "sellers": sellers, **found})
        say(f"welfare at {sellers} sellers")
    save(
        "welfare",
        {
            "load_before": busy,
            "rounds": rounds - WARM_UP,
            "min_buyers": MIN_BUYERS,
            "min_sellers": MIN_SELLERS,
            "cells": cells,
        },
    )


def _compared(buyers: int, sellers: int, rounds: int) -> Json:
    """Shares of the optimum that each auction reaches, over all rounds."""
    chance = random.Random(buyers * 1_000 + sellers)
    price, worth = _VALUE, 0.0
    learned = FirstPrice()
    reached = dict.fromkeys(("thin", "thick", "first", "second"), 0)
    for number in range(rounds):
        market = _draw(chance, buyers, sellers)
        beacon = keccak(number.to_bytes(8, "big"))
        first = learned.welfare(market)
        if number >= WARM_UP:
            worth += _optimum(*market)
            reached["thin"] += _welfare(market, clear_thin(*market, beacon, price))
            reached["thick"] += _welfare(market, clear_thick(*market, beacon))
            reached["first"] += first
            reached["second"] += second_price(market, price)
        price = _next_price(market, price)
    return {name: round(part / worth, 3) for name, part in reached.items()}


def _draw(chance: random.Random, buyers: int, sellers: int) -> Market:
    """As many slots on offer as are wanted, on average."""
    mean = buyers * sum(_SIZES) / len(_SIZES) / sellers
    lots = []
    for place in range(buyers):
        slots = chance.choice(_SIZES)
        worth = int(slots * _VALUE * chance.lognormvariate(0, 0.5))
        lots.append(Lot(b"b%d" % place, slots, worth))
    offers = [
        Offer(
            b"s%d" % place,
            max(1, round(mean * chance.uniform(0.5, 1.5))),
            int(_COST * chance.lognormvariate(0, 0.4)),
            FULL_QUALITY,
        )
        for place in range(sellers)
    ]
    return lots, offers


def _optimum(lots: list[Lot], offers: list[Offer]) -> float:
    """The most that trade could be worth if requests could be served in part."""
    supply = sorted(offers, key=lambda offer: offer.ask)
    worth, at, left = 0.0, 0, supply[0].slots
    for lot in sorted(lots, key=lambda each: -each.max_fee / each.slots):
        wanted = lot.slots
        while wanted and supply[at].ask < lot.max_fee / lot.slots:
            traded = min(wanted, left)
            worth += traded * (lot.max_fee / lot.slots - supply[at].ask)
            wanted, left = wanted - traded, left - traded
            if not left:
                at += 1
                if at == len(supply):
                    return worth
                left = supply[at].slots
    return worth


def _welfare(market: Market, cleared: Cleared) -> int:
    """What the served requests are worth, less what serving them costs."""
    lots, offers = market
    verdicts = cleared.verdicts[0]
    worth = sum(
        lot.max_fee for lot, verdict in zip(lots, verdicts, strict=True) if verdict is Verdict.WON
    )
    sold = zip(offers, cleared.sold, strict=True)
    return worth - sum(offer.ask * slots for offer, slots in sold)


def _next_price(market: Market, price: int) -> int:
    """The controller's answer to this market; both sides are there."""
    lots, offers = market
    room = sum(offer.slots for offer in offers)
    demanded = sum(
        lot.slots for lot in lots if lot.max_fee >= lot.slots * price and lot.slots <= room
    )
    offered = sum(offer.slots for offer in offers if offer.ask <= price)
    return after_thin(price, demanded, offered)
