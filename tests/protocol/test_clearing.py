"""Clearings against the rules read word by word, and against everybody who might lie."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given

from protocol import clearing
from protocol.clearing import (
    MIN_BUYERS,
    MIN_SELLERS,
    Cleared,
    Lot,
    Offer,
    Rule,
    Verdict,
    clear_thick,
    clear_thin,
    rule_for,
)
from protocol.hashing import keccak
from tests.protocol.market_strategies import (
    POSTED,
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
from tests.vectors.clearing_vectors import MARKETS, Market

Trades = tuple[Fraction | None, dict[bytes, int], dict[bytes, tuple[int, int]]]
"""Price, fees of the served, (slots, payment) of the sellers that prove."""


def chance(beacon: bytes, identity: bytes) -> bytes:
    return keccak(beacon + identity)


def fill_slot_by_slot(
    accepted: list[Lot], winners: list[Offer], beacon: bytes
) -> tuple[dict[bytes, int], dict[bytes, int]]:
    free = {offer.id: offer.slots for offer in sorted(winners, key=lambda o: chance(beacon, o.id))}
    before = dict(free)
    unmet = {lot.id: 0 for lot in accepted}
    for lot in sorted(accepted, key=lambda each: chance(beacon, each.id)):
        for _ in range(lot.slots // lot.copies):
            ranked = sorted((o for o in free if free[o]), key=lambda o: -free[o])
            for operator in ranked[: lot.copies]:
                free[operator] -= 1
            unmet[lot.id] += lot.copies - len(ranked[: lot.copies])
    return {operator: before[operator] - free[operator] for operator in free}, unmet


def reference_thick(buyers: list[Lot], sellers: list[Offer], beacon: bytes) -> Trades:
    """The steps of the specification for a thick market."""
    demand = sorted(buyers, key=lambda b: (-density(b), chance(beacon, b.id)))
    supply = sorted(sellers, key=lambda s: (adjusted(s), chance(beacon, s.id)))
    pair = None
    for i, buyer in enumerate(demand):
        wanted = sum(b.slots for b in demand[: i + 1])
        enough = [j for j in range(len(supply)) if sum(s.slots for s in supply[: j + 1]) >= wanted]
        if enough and adjusted(supply[enough[0]]) <= density(buyer):
            pair = i, enough[0]
    if pair is None:
        return None, {}, {}
    capacity = sum(s.slots for s in supply[: pair[1]])
    accepted: list[Lot] = []
    price = density(demand[pair[0]])
    for buyer in demand[: pair[0]]:
        if sum(b.slots for b in accepted) + buyer.slots > capacity:
            price = density(buyer)
            break
        accepted.append(buyer)
    sold, unmet = fill_slot_by_slot(accepted, supply[: pair[1]], beacon)
    fees = {b.id: math.ceil((b.slots - unmet[b.id]) * price) for b in accepted}
    each = adjusted(supply[pair[1]])
    paid = {
        s.id: (sold[s.id], math.floor(sold[s.id] * each * s.quality / 10_000))
        for s in supply[: pair[1]]
        if sold[s.id]
    }
    return (price if accepted else None), fees, paid


def reference_thin(buyers: list[Lot], sellers: list[Offer], beacon: bytes, price: int) -> Trades:
    """The steps of the specification for a thin market."""
    winners = [offer for offer in sellers if adjusted(offer) <= price]
    left = sum(offer.slots for offer in winners)
    accepted: list[Lot] = []
    for lot in sorted(buyers, key=lambda each: chance(beacon, each.id)):
        if lot.max_fee >= price * lot.slots and lot.slots <= left:
            left -= lot.slots
            accepted.append(lot)
    sold, unmet = fill_slot_by_slot(accepted, winners, beacon)
    fees = {b.id: price * (b.slots - unmet[b.id]) for b in accepted}
    paid = {
        s.id: (sold[s.id], sold[s.id] * price * s.quality // 10_000) for s in winners if sold[s.id]
    }
    return (Fraction(price) if accepted else None), fees, paid


def trades(market: Bids, found: Cleared) -> Trades:
    """A clearing as the references tell it."""
    buyers, sellers, _ = market
    bought = zip(buyers, found.pays, found.verdicts[0], strict=True)
    provided = zip(sellers, found.sold, found.receives, strict=True)
    return (
        found.price,
        {lot.id: fee for lot, fee, verdict in bought if fee or verdict is Verdict.WON},
        {offer.id: (sold, gets) for offer, sold, gets in provided if sold or gets},
    )


@given(markets(copies=True))
def test_thick_is_what_the_specification_says(market: Bids) -> None:
    assert trades(market, clear_thick(*market)) == reference_thick(*market)


@given(markets(copies=True))
def test_thin_is_what_the_specification_says(market: Bids) -> None:
    assert trades(market, posted(*market)) == reference_thin(*market, POSTED)


@pytest.mark.parametrize("given_market", MARKETS.values(), ids=MARKETS)
def test_the_vectors_are_what_the_specification_says(given_market: Market) -> None:
    market = given_market.buyers, given_market.sellers, given_market.beacon
    price = given_market.posted
    assert trades(market, clear_thick(*market)) == reference_thick(*market)
    assert trades(market, clear_thin(*market, price)) == reference_thin(*market, price)


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(8, copies=True))
def test_nobody_loses_and_nothing_comes_from_nowhere(clear: Clear, market: Bids) -> None:
    buyers, sellers, beacon = market
    found = clear(*market)
    assert all(0 <= fee <= lot.max_fee for lot, fee in zip(buyers, found.pays, strict=True))
    for offer, sold, gets in zip(sellers, found.sold, found.receives, strict=True):
        assert 0 <= sold <= offer.slots
        assert gets >= sold * offer.ask
    assert found.treasury >= 0
    turned = clear(buyers[::-1], sellers[::-1], beacon)
    assert (turned.price, turned.pays[::-1], turned.sold[::-1]) == (
        found.price,
        list(found.pays),
        list(found.sold),
    )


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(5) | trading_markets())
def test_no_lie_pays(clear: Clear, market: Bids) -> None:
    assert profitable_lie(clear, market) is None


@pytest.mark.parametrize("clear", [clear_thick, posted])
def test_filling_the_cheapest_seller_first_is_caught(
    clear: Clear, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cheapest_first(
        buyers: list[Lot],
        accepted: list[int],
        sellers: list[Offer],
        winners: list[int],
        beacon: bytes,
    ) -> tuple[list[int], dict[int, int]]:
        left = sum(buyers[place].slots for place in accepted)
        sold = [0] * len(sellers)
        for place in sorted(winners, key=lambda at: adjusted(sellers[at])):
            sold[place] = min(left, sellers[place].slots)
            left -= sold[place]
        return sold, {}

    buyers = [Lot(b"b", 2, 100), Lot(b"c", 3, 60)]
    sellers = [Offer(name, 2, ask, 10_000) for name, ask in [(b"x", 1), (b"y", 2), (b"z", 6)]]
    assert profitable_lie(clear, (buyers, sellers, b"")) is None
    monkeypatch.setattr(clearing, "_assign", cheapest_first)
    assert profitable_lie(clear, (buyers, sellers, b"")) is not None


def profitable_withholding(clear: Clear, market: Bids) -> list[tuple[Offer, int]]:
    """Sellers that gain more when they offer so many of their slots, at their true cost."""
    buyers, sellers, beacon = market
    honest = gains(market, clear(*market))[len(buyers) :]
    found = []
    for place, offer in enumerate(sellers):
        for slots in range(1, offer.slots):
            offers = [*sellers]
            offers[place] = msgspec.structs.replace(offer, slots=slots)
            then = gains(market, clear(buyers, offers, beacon))[len(buyers) :]
            if then[place] > honest[place]:
                found.append((offer, slots))
    return found


def test_choosing_slots_inside_a_round_is_caught() -> None:
    """Why slots are announced for an epoch: thick prices are safe from asks alone.

    Offering all, a is the seller that completes the demand and does not trade; offering one of two,
    it makes b that seller, and is paid what b asks.
    """
    buyers = [Lot(b"x", 1, 10), Lot(b"y", 1, 8)]
    sellers = [Offer(b"a", 2, 1, 10_000), Offer(b"b", 1, 5, 10_000)]
    market = buyers, sellers, b""
    assert profitable_lie(clear_thick, market) is None
    assert profitable_withholding(clear_thick, market) == [(sellers[0], 1)]


def test_withholding_pays_often_where_no_lie_does() -> None:
    drawn = random.Random(0)
    tried = paid = 0
    for _ in range(30):
        wanted = [drawn.randint(1, 5) for _ in range(8)]
        buyers = [Lot(b"%d" % at, q, q * drawn.randint(5, 15)) for at, q in enumerate(wanted)]
        sellers = [
            Offer(b"%d" % at, drawn.randint(3, 9), drawn.randint(3, 11), 10_000) for at in range(4)
        ]
        market = buyers, sellers, b""
        assert profitable_lie(clear_thick, market) is None
        tried += sum(offer.slots - 1 for offer in sellers)
        paid += len(profitable_withholding(clear_thick, market))
    assert 1 / 20 < paid / tried < 1 / 8


@given(market=markets(8))
def test_withholding_slots_at_a_posted_price_never_pays(market: Bids) -> None:
    assert profitable_withholding(posted, market) == []


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(5) | trading_markets())
def test_thresholds_are_tight(clear: Clear, market: Bids) -> None:
    """A winner that bids one wei below its fee, or one above its payment a slot, loses."""
    found = clear(*market)
    for place, fee in enumerate(found.pays):
        if found.verdicts[0][place] is Verdict.WON:
            lower = clear(*repriced(market, place, fee - 1))
            assert lower.verdicts[0][place] is not Verdict.WON
    for place, (gets, sold) in enumerate(zip(found.receives, found.sold, strict=True)):
        if sold:
            higher = clear(*repriced(market, len(market[0]) + place, gets // sold + 1))
            assert higher.sold[place] == 0


def test_the_rule_of_a_market_follows_its_size() -> None:
    assert rule_for(MIN_BUYERS, MIN_SELLERS) is Rule.THICK
    assert rule_for(MIN_BUYERS - 1, MIN_SELLERS) is Rule.THIN
    assert rule_for(MIN_BUYERS, MIN_SELLERS - 1) is Rule.THIN


def test_a_market_of_great_numbers_clears() -> None:
    huge = 1 << 255
    buyers = [Lot(b"%d" % n, (1 << 53) - n, huge - n) for n in range(5)]
    sellers = [Offer(b"%d" % n, 1 << 53, n, 10_000) for n in range(5)]
    found = clear_thick(buyers, sellers, b"")
    assert sum(found.sold) == sum(
        lot.slots
        for lot, verdict in zip(buyers, found.verdicts[0], strict=True)
        if verdict is Verdict.WON
    )
    assert found.treasury > 0
