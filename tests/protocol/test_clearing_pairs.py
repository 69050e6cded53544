"""Bidders that agree on their prices: in no pair, nor in any larger group, does each gain.

Side payments are another matter: one that gains nothing itself can well help another.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given

from protocol.clearing import FULL_QUALITY, Cleared, Lot, Offer, Rule, Verdict, clear_thick
from tests.protocol.market_strategies import (
    Bids,
    Clear,
    adjusted,
    density,
    gains,
    markets,
    posted,
    profitable_lie,
    repriced,
    trading_markets,
)


def telling_prices(market: Bids, place: int) -> list[int]:
    """Prices of one bidder: nothing, and just above the price a slot of each bidder."""
    buyers, sellers, _ = market
    levels = {*map(density, buyers), *map(adjusted, sellers)}
    scale = (
        Fraction(buyers[place].slots)
        if place < len(buyers)
        else Fraction(sellers[place - len(buyers)].quality, FULL_QUALITY)
    )
    return sorted({0, *(int(level * scale) + 1 for level in levels)})


def profitable_pair(clear: Clear, market: Bids) -> tuple[tuple[int, ...], ...] | None:
    """Two bidders, and the prices with which both gain strictly more than by the truth."""
    honest = gains(market, clear(*market))
    for pair in combinations(range(len(honest)), 2):
        for prices in product(*(telling_prices(market, place) for place in pair)):
            lying = market
            for place, price in zip(pair, prices, strict=True):
                lying = repriced(lying, place, price)
            then = gains(market, clear(*lying))
            if all(then[place] > honest[place] for place in pair):
                return pair, prices
    return None


@given(trading_markets())
def test_no_pair_gains_in_a_thick_market(market: Bids) -> None:
    assert profitable_pair(clear_thick, market) is None


@given(markets(4))
def test_no_pair_gains_at_a_posted_price(market: Bids) -> None:
    assert profitable_pair(posted, market) is None


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(6) | trading_markets())
def test_any_other_winning_price_is_the_same_clearing(clear: Clear, market: Bids) -> None:
    """So no group gains, however large: where each gains, each can as well tell the truth."""
    found = clear(*market)
    for place in range(len(market[0]) + len(market[1])):
        for price in telling_prices(market, place):
            told = repriced(market, place, price)
            # What it would gain if this price were the truth.
            if gains(told, found)[place] > 0:
                assert clear(*told) == found


def each_at_its_own_threshold(buyers: list[Lot], sellers: list[Offer], beacon: bytes) -> Cleared:
    """Buyers by density, past those that do not fit; each pays the least fee it would win with.

    Truthful for one alone, but two small buyers can keep out a large one for each other.
    """

    def winners(lots: list[Lot]) -> set[bytes]:
        left, served = sum(offer.slots for offer in sellers), set()
        for lot in sorted(lots, key=density, reverse=True):
            if lot.slots <= left:
                left -= lot.slots
                served.add(lot.id)
        return served

    def threshold(place: int) -> int:
        fees = range(buyers[place].max_fee + 1)
        tried = (repriced((buyers, sellers, beacon), place, fee)[0] for fee in fees)
        return next(lots[place].max_fee for lots in tried if buyers[place].id in winners(lots))

    won = [lot.id in winners(buyers) for lot in buyers]
    verdicts = [Verdict.WON if each else Verdict.NO_ROOM for each in won]
    pays = [threshold(place) if each else 0 for place, each in enumerate(won)]
    idle = [0] * len(sellers)
    nothing = [Verdict.NOT_NEEDED] * len(sellers)
    return Cleared(Rule.THICK, None, None, (verdicts, nothing), pays, idle, idle)


def test_a_threshold_for_each_buyer_is_caught() -> None:
    """Why the walk ends at the first buyer that does not fit, and all pay its price."""
    buyers = [Lot(b"large", 2, 20), Lot(b"x", 1, 4), Lot(b"y", 1, 4)]
    market = buyers, [Offer(b"s", 2, 0, FULL_QUALITY)], b""
    assert profitable_lie(each_at_its_own_threshold, market) is None
    found = profitable_pair(each_at_its_own_threshold, market)
    assert found is not None
    assert found[0] == (1, 2)
