"""How the reference price follows a shock of demand, under both rules.

Ten operators with lognormal costs; requests come anew each round. At the shock three times as many
come for three times the fee, later as few as before. Against it stands the price at which the same
round's demand and supply would be equal. Within an epoch the price is clamped, as in rounds.
"""

from __future__ import annotations

import random
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from eth_hash.auto import keccak

from benchmarks.records import load, save
from protocol.auction import Buyer, MarketInput, Seller, clear
from protocol.clearing import FULL_QUALITY, Rule
from protocol.dispatch import KNOWN_CLASSES
from protocol.market_round import clamped, recent_prices
from protocol.types import Address, Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json

ROUNDS: Final = 240
SHOCK, CALM = 80, 160
EPOCH_ROUNDS: Final = 40
SELLERS: Final = 10
SLOTS: Final = 8
CLOSE: Final = 0.15
"""Distance from the balancing price, as a share of it, that counts as arrived."""
SMOOTH: Final = 10
"""Rounds over which the balancing price is averaged: one round's demand jumps."""
_VALUE, _COST = 1_000_000, 500_000
_SIZES: Final = (2, 2, 3, 4, 5)
_BUYERS: Final = {Rule.THIN: 12, Rule.THICK: 24}


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Prices by round under both rules."""
    del quick  # a second in any case
    busy = load()
    rules: dict[str, Json] = {}
    for rule in Rule:
        rules[rule.value] = await trio.to_thread.run_sync(partial(_run, rule))
        say(f"price after a shock, {rule.value} market")
    save(
        "convergence",
        {
            "load_before": busy,
            "shock": SHOCK,
            "calm": CALM,
            "epoch_rounds": EPOCH_ROUNDS,
            "close": CLOSE,
            "rules": rules,
        },
    )


def _run(rule: Rule) -> Json:
    chance = random.Random(7)
    sellers = tuple(
        Seller(
            Address(place.to_bytes(20, "big")),
            SLOTS,
            Wei(int(_COST * chance.lognormvariate(0, 0.3))),
            FULL_QUALITY,
        )
        for place in range(SELLERS)
    )
    price = anchor = Wei(_VALUE)
    recent: tuple[Wei, ...] = ()
    prices: list[int] = []
    balancing: list[float] = []
    for number in range(ROUNDS):
        busy = SHOCK <= number < CALM
        buyers = _draw(chance, _BUYERS[rule] * (3 if busy else 1), 3 if busy else 1, number)
        market = MarketInput(
            class_id=min(KNOWN_CLASSES),
            rule=rule,
            price=price,
            recent=recent,
            beacon=Hash(keccak(number.to_bytes(8, "big"))),
            buyers=buyers,
            waiting=(),
            sellers=sellers,
        )
        result = clear(market)
        prices.append(price)
        balancing.append(_balance(buyers, sellers))
        if number % EPOCH_ROUNDS == 0:
            anchor = price
        price = clamped(result.next_price, anchor)
        recent = recent_prices(market, result)
    windows = [balancing[max(0, at - SMOOTH + 1) : at + 1] for at in range(ROUNDS)]
    smooth = [sum(window) / len(window) for window in windows]
    return {
        "prices": prices,
        "balancing": [round(value) for value in smooth],
        "rounds_up": _arrival(prices, balancing, SHOCK, CALM),
        "rounds_down": _arrival(prices, balancing, CALM, ROUNDS),
    }


def _draw(chance: random.Random, count: int, dearer: int, number: int) -> tuple[Buyer, ...]:
    buyers = []
    for place in range(count):
        slots = chance.choice(_SIZES)
        fee = int(slots * _VALUE * dearer * chance.lognormvariate(0, 0.5))
        identity = Hash(keccak(number.to_bytes(8, "big") + place.to_bytes(8, "big")))
        buyers.append(Buyer(identity, slots, Wei(fee), (), (), True))
    return tuple(buyers)


def _balance(buyers: tuple[Buyer, ...], sellers: tuple[Seller, ...]) -> float:
    """The lowest price at which no more slots are wanted than are offered."""
    densities = [Fraction(buyer.max_fee, buyer.slots) for buyer in buyers]
    for price in sorted({*densities, *(Fraction(seller.ask) for seller in sellers)}):
        wanted = sum(
            buyer.slots for buyer, paid in zip(buyers, densities, strict=True) if paid > price
        )
        offered = sum(seller.slots for seller in sellers if seller.ask <= price)
        if wanted <= offered:
            return float(price)
    return float(max(densities))


def _arrival(prices: list[int], balancing: list[float], start: int, end: int) -> int | None:
    """Rounds from a change of demand until the price is close to what balances it from then on."""
    mean = sum(balancing[start:end]) / (end - start)
    for number in range(start, end):
        if abs(prices[number] - mean) <= CLOSE * mean:
            return number - start
    return None
