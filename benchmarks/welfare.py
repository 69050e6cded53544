"""What trade is worth under each clearing rule, against the most it could be worth.

Markets are drawn at random: requests of 1 to 9 slots, values and costs lognormal. The posted price
follows the controller of the thin market over the rounds before, which know nothing of this one.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from eth_hash.auto import keccak

from benchmarks.records import load, save
from protocol.auction import Buyer, MarketInput, Seller
from protocol.auction import clear_thin as clear_posted
from protocol.clearing import (
    FULL_QUALITY,
    MIN_BUYERS,
    MIN_SELLERS,
    Cleared,
    Lot,
    Offer,
    Verdict,
    clear_thick,
)
from protocol.clearing import clear_thin as clear_at
from protocol.types import Address, Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json

BUYERS: Final = (3, 5, 8, 10, 12, 16, 20, 30, 50, 100, 200)
SELLERS: Final = (2, 3, 4, 6, 10, 25)
WARM_UP: Final = 50
ROUNDS: Final = 200
_SIZES: Final = (1, 2, 2, 3, 4, 5, 9)
_VALUE, _COST = 1_000_000, 700_000
"""Medians in wei of what a slot is worth, and of what it costs."""

Drawn = tuple[list[Lot], list[Offer]]


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Welfare of both rules over market sizes."""
    busy = load()
    rounds = WARM_UP + (20 if quick else ROUNDS)
    cells: list[Json] = []
    for sellers in SELLERS:
        for buyers in BUYERS:
            compare = partial(_compared, buyers, sellers, rounds)
            thin, thick = await trio.to_thread.run_sync(compare, abandon_on_cancel=True)
            cells.append({"buyers": buyers, "sellers": sellers, "thin": thin, "thick": thick})
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


def _compared(buyers: int, sellers: int, rounds: int) -> tuple[float, float]:
    """Shares of the optimum that the posted price and trade reduction reach, over all rounds."""
    chance = random.Random(buyers * 1_000 + sellers)
    price, worth, thin, thick = _VALUE, 0.0, 0, 0
    for number in range(rounds):
        market = _draw(chance, buyers, sellers)
        beacon = keccak(number.to_bytes(8, "big"))
        if number >= WARM_UP:
            worth += _optimum(*market)
            thin += _welfare(market, clear_at(*market, beacon, price))
            thick += _welfare(market, clear_thick(*market, beacon))
        price = _next_price(market, beacon, price)
    return round(thin / worth, 3), round(thick / worth, 3)


def _draw(chance: random.Random, buyers: int, sellers: int) -> Drawn:
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


def _welfare(market: Drawn, cleared: Cleared) -> int:
    """What the served requests are worth, less what serving them costs."""
    lots, offers = market
    verdicts = cleared.verdicts[0]
    worth = sum(
        lot.max_fee for lot, verdict in zip(lots, verdicts, strict=True) if verdict is Verdict.WON
    )
    sold = zip(offers, cleared.sold, strict=True)
    return worth - sum(offer.ask * slots for offer, slots in sold)


def _next_price(market: Drawn, beacon: bytes, price: int) -> int:
    lots, offers = market
    given = MarketInput(
        Hash(bytes(32)),
        Wei(price),
        Hash(beacon),
        tuple(Buyer(Hash(keccak(lot.id)), lot.slots, Wei(lot.max_fee), ()) for lot in lots),
        tuple(Seller(Address(keccak(o.id)[:20]), o.slots, Wei(o.ask), o.quality) for o in offers),
    )
    return clear_posted(given).next_price
