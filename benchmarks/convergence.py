"""How the reference price follows a shock of demand, under both rules.

Requests come anew each round; what is not served does not come back. Sellers stay as they are for a
whole run. Requests triple, fall back, halve, come back; then fees triple. Beside the reference
price stands the clearing price of each round: the lowest at which no more slots are wanted than are
offered.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.records import load, save, spread
from protocol.auction import Buyer, MarketInput, Seller, clear
from protocol.clearing import FULL_QUALITY, Rule
from protocol.dispatch import KNOWN_CLASSES
from protocol.hashing import keccak
from protocol.market_round import EPOCH_PRICE_FACTOR, clamped, recent_prices
from protocol.pricing import RECENT_PRICES
from protocol.types import Address, Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.records import Json

PHASES: Final = (
    ("usual demand", 1.0, 1),
    ("three times the requests", 3.0, 1),
    ("back to usual", 1.0, 1),
    ("half the requests", 0.5, 1),
    ("back to usual", 1.0, 1),
    ("three times the fees", 1.0, 3),
)
"""Name, requests of a round and what they are worth, as multiples of the usual."""
PHASE_ROUNDS: Final = 60
EPOCH_ROUNDS: Final = 40
LATE: Final = 20
"""Rounds at the end of a phase that tell where the price settled."""
RUNS: Final = 30
CLOSE: Final = 0.1
"""Distance from a price, as a share of it, that counts as arrived."""
_VALUE, _COST = 1_000_000, 700_000
"""Medians in wei of what a slot is worth, and of what it costs."""
_SIZES: Final = (1, 2, 2, 3, 4, 5, 9)
_BIDDERS: Final = {Rule.THIN: (8, 3), Rule.THICK: (20, 10)}
"""Usual buyers, and sellers: each market stays on its side of the thresholds in all phases."""


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Prices by round under both rules."""
    busy = load()
    runs = 5 if quick else RUNS
    rules: dict[str, Json] = {}
    for rule in Rule:
        follow = partial(_compared, rule, runs)
        rules[rule.value] = await trio.to_thread.run_sync(follow, abandon_on_cancel=True)
        say(f"price after a shock, {rule.value} market")
    save(
        "convergence",
        {
            "load_before": busy,
            "runs": runs,
            "phase_rounds": PHASE_ROUNDS,
            "epoch_rounds": EPOCH_ROUNDS,
            "epoch_factor": EPOCH_PRICE_FACTOR,
            "late": LATE,
            "recent_prices": RECENT_PRICES,
            "close": CLOSE,
            "rules": rules,
        },
    )


def _compared(rule: Rule, runs: int) -> Json:
    """The first run round by round, and how all of them went in each phase."""
    followed = [_run(rule, random.Random(seed)) for seed in range(runs)]
    first, clearing, _ = followed[0]
    phases: list[Json] = []
    for place, (name, _, _) in enumerate(PHASES):
        part = slice(place * PHASE_ROUNDS, (place + 1) * PHASE_ROUNDS)
        tenths = quantiles(clearing[part], n=10)
        parts = [(prices[part], cleared[part]) for prices, cleared, _ in followed]
        phases.append(
            {
                "name": name,
                "band": [round(tenths[0]), round(tenths[-1])],
                "to_clearing": _arrivals((prices, median(cleared)) for prices, cleared in parts),
                "to_settled": _arrivals((prices, median(prices[-LATE:])) for prices, _ in parts),
                "settled": spread(
                    [median(prices[-LATE:]) / median(cleared) for prices, cleared in parts], 2
                ),
            }
        )
    buyers, sellers = _BIDDERS[rule]
    return {
        "buyers": buyers,
        "sellers": sellers,
        "clamped": sum(held for _, _, held in followed),
        "prices": first,
        "phases": phases,
    }


def _run(rule: Rule, chance: random.Random) -> tuple[list[int], list[int], int]:
    """Reference and clearing price of each round, and how often an epoch's bounds held it."""
    usual, count = _BIDDERS[rule]
    # As many slots as are usually wanted, on average.
    mean = usual * sum(_SIZES) / len(_SIZES) / count
    sellers = tuple(
        Seller(
            Address(place.to_bytes(20, "big")),
            round(mean * chance.uniform(0.5, 1.5)),
            Wei(int(_COST * chance.lognormvariate(0, 0.4))),
            FULL_QUALITY,
        )
        for place in range(count)
    )
    price = anchor = Wei(_VALUE)
    recent: tuple[Wei, ...] = ()
    prices: list[int] = []
    clearing: list[int] = []
    held = 0
    for number in range(len(PHASES) * PHASE_ROUNDS):
        _, requests, worth = PHASES[number // PHASE_ROUNDS]
        if number % EPOCH_ROUNDS == 0:
            anchor = price
        buyers = _draw(chance, round(usual * requests), worth, number)
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
        prices.append(price)
        clearing.append(_clearing_price(buyers, sellers))
        result = clear(market)
        price = clamped(result.next_price, anchor)
        held += price != result.next_price
        recent = recent_prices(market, result)
    return prices, clearing, held


def _draw(chance: random.Random, count: int, worth: int, number: int) -> tuple[Buyer, ...]:
    buyers = []
    for place in range(count):
        slots = chance.choice(_SIZES)
        fee = int(slots * _VALUE * worth * chance.lognormvariate(0, 0.5))
        identity = Hash(keccak(number.to_bytes(8, "big") + place.to_bytes(8, "big")))
        buyers.append(Buyer(identity, slots, Wei(fee), (), (), True))
    return tuple(buyers)


def _clearing_price(buyers: tuple[Buyer, ...], sellers: tuple[Seller, ...]) -> int:
    """The lowest price at which no more slots are wanted than are offered."""

    def balanced(price: int) -> bool:
        wanted = sum(buyer.slots for buyer in buyers if buyer.max_fee >= buyer.slots * price)
        return wanted <= sum(seller.slots for seller in sellers if seller.ask <= price)

    highest = max(buyer.max_fee // buyer.slots for buyer in buyers)
    return bisect_left(range(highest + 1), True, key=balanced)


def _arrivals(followed: Iterable[tuple[list[int], float]]) -> Json:
    """Rounds until prices come close to an aim, and the share that is close from then on."""
    rounds: list[int] = []
    stays: list[float] = []
    never = 0
    for prices, aim in followed:
        close = [abs(price - aim) <= CLOSE * aim for price in prices]
        if True not in close:
            never += 1
            continue
        rounds.append(close.index(True))
        stays.append(sum(close[rounds[-1] :]) / (len(close) - rounds[-1]))
    if not rounds:
        return {"never": never}
    return {"never": never, "rounds": spread(rounds), "stays": spread(stays, 2)}
