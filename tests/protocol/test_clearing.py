"""Clearings against the rules read word by word, and against everybody who might lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import msgspec
import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

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

QUALITIES = [10_000, 10_000, 10_000, 9_999, 7_500, 5_000, 1]
POSTED = 5
Clear = Callable[[list[Lot], list[Offer], bytes], Cleared]


def posted(buyers: list[Lot], sellers: list[Offer], beacon: bytes) -> Cleared:
    return clear_thin(buyers, sellers, beacon, POSTED)


@st.composite
def markets(
    draw: st.DrawFn, most: int = 6, *, copies: bool = False
) -> tuple[list[Lot], list[Offer], bytes]:
    """Small markets with many ties."""
    buyers = []
    for place in range(draw(st.integers(0, most))):
        times = draw(st.sampled_from([1, 1, 2, 3])) if copies else 1
        slots = draw(st.integers(1, 5)) * times
        fee = max(0, slots * draw(st.integers(1, 10)) + draw(st.integers(-1, 1)))
        buyers.append(Lot(f"b{place}".encode(), slots, fee, times))
    sellers = [
        Offer(
            f"s{place}".encode(),
            draw(st.integers(1, 6)),
            draw(st.integers(0, 9)),
            draw(st.sampled_from(QUALITIES)),
        )
        for place in range(draw(st.integers(0, most)))
    ]
    return buyers, sellers, bytes([draw(st.integers(0, 50))])


def chance(beacon: bytes, identity: bytes) -> bytes:
    return keccak(beacon + identity)


def adjusted(offer: Offer) -> Fraction:
    return Fraction(offer.ask * 10_000, offer.quality)


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


def reference_thick(
    buyers: list[Lot], sellers: list[Offer], beacon: bytes
) -> tuple[Fraction | None, dict[bytes, int], dict[bytes, tuple[int, int]]]:
    """The steps of the specification: price, fees of the served, (slots, payment) of the paid."""
    demand = sorted(buyers, key=lambda b: (-Fraction(b.max_fee, b.slots), chance(beacon, b.id)))
    supply = sorted(sellers, key=lambda s: (adjusted(s), chance(beacon, s.id)))
    pair = None
    for i, buyer in enumerate(demand):
        wanted = sum(b.slots for b in demand[: i + 1])
        enough = [j for j in range(len(supply)) if sum(s.slots for s in supply[: j + 1]) >= wanted]
        if enough and adjusted(supply[enough[0]]) <= Fraction(buyer.max_fee, buyer.slots):
            pair = i, enough[0]
    if pair is None:
        return None, {}, {}
    capacity = sum(s.slots for s in supply[: pair[1]])
    accepted: list[Lot] = []
    price = Fraction(demand[pair[0]].max_fee, demand[pair[0]].slots)
    for buyer in demand[: pair[0]]:
        if sum(b.slots for b in accepted) + buyer.slots > capacity:
            price = Fraction(buyer.max_fee, buyer.slots)
            break
        accepted.append(buyer)
    sold, unmet = fill_slot_by_slot(accepted, supply[: pair[1]], beacon)
    fees = {b.id: math.ceil((b.slots - unmet[b.id]) * price) for b in accepted}
    each = adjusted(supply[pair[1]])
    paid = {
        s.id: (sold[s.id], math.floor(sold[s.id] * each * s.quality / 10_000))
        for s in supply[: pair[1]]
    }
    return (price if accepted else None), fees, paid


@given(markets(copies=True))
def test_thick_is_what_the_specification_says(
    market: tuple[list[Lot], list[Offer], bytes],
) -> None:
    buyers, sellers, _ = market
    found = clear_thick(*market)
    price, fees, paid = reference_thick(*market)
    assert found.price == price
    for lot, fee, verdict in zip(buyers, found.pays, found.verdicts[0], strict=True):
        assert (fee, verdict is Verdict.WON) == (fees.get(lot.id, 0), lot.id in fees)
    for offer, sold, gets in zip(sellers, found.sold, found.receives, strict=True):
        assert (sold, gets) == paid.get(offer.id, (0, 0))


@given(markets(copies=True))
def test_thin_is_what_the_specification_says(market: tuple[list[Lot], list[Offer], bytes]) -> None:
    buyers, sellers, beacon = market
    found = posted(*market)
    winners = [offer for offer in sellers if adjusted(offer) <= POSTED]
    left = sum(offer.slots for offer in winners)
    accepted = []
    for lot in sorted(buyers, key=lambda each: chance(beacon, each.id)):
        if lot.max_fee >= POSTED * lot.slots and lot.slots <= left:
            left -= lot.slots
            accepted.append(lot)
    sold, unmet = fill_slot_by_slot(accepted, winners, beacon)
    for lot, fee in zip(buyers, found.pays, strict=True):
        due = POSTED * (lot.slots - unmet[lot.id]) if lot in accepted else 0
        assert fee == due
    for offer, slots, gets in zip(sellers, found.sold, found.receives, strict=True):
        assert slots == sold.get(offer.id, 0)
        assert gets == slots * POSTED * offer.quality // 10_000


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(8, copies=True))
def test_nobody_loses_and_nothing_comes_from_nowhere(
    clear: Clear, market: tuple[list[Lot], list[Offer], bytes]
) -> None:
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


def profitable_lie(clear: Clear, market: tuple[list[Lot], list[Offer], bytes]) -> object | None:
    """Any single bidder's price on a grid that beats the truth: what it is worth, what it costs."""
    buyers, sellers, beacon = market
    found = clear(*market)
    for place, lot in enumerate(buyers):
        honest = (lot.max_fee - found.pays[place]) * (found.verdicts[0][place] is Verdict.WON)
        for fee in range(lot.slots * 12):
            lying = [*buyers]
            lying[place] = msgspec.structs.replace(lot, max_fee=fee)
            then = clear(lying, sellers, beacon)
            if then.verdicts[0][place] is Verdict.WON and lot.max_fee - then.pays[place] > honest:
                return lot, fee
    for place, offer in enumerate(sellers):
        honest = found.receives[place] - found.sold[place] * offer.ask
        for ask in range(13):
            offers = [*sellers]
            offers[place] = msgspec.structs.replace(offer, ask=ask)
            then = clear(buyers, offers, beacon)
            if then.receives[place] - then.sold[place] * offer.ask > honest:
                return offer, ask
    return None


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(5))
def test_no_lie_pays(clear: Clear, market: tuple[list[Lot], list[Offer], bytes]) -> None:
    assert profitable_lie(clear, market) is None


def test_filling_the_cheapest_seller_first_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr(clearing, "_assign", cheapest_first)
    market = ([Lot(b"b", 2, 100)], [Offer(b"x", 2, 1, 10_000), Offer(b"y", 2, 2, 10_000)], b"")
    assert profitable_lie(posted, market) is not None


@pytest.mark.parametrize("clear", [clear_thick, posted])
@given(market=markets(5))
def test_thresholds_are_tight(clear: Clear, market: tuple[list[Lot], list[Offer], bytes]) -> None:
    """A winner that bids one wei less than its fee no longer wins, unless a tie falls its way."""
    buyers, sellers, beacon = market
    found = clear(*market)
    for place, lot in enumerate(buyers):
        if found.verdicts[0][place] is not Verdict.WON:
            continue
        lower = [*buyers]
        lower[place] = msgspec.structs.replace(lot, max_fee=found.pays[place] - 1)
        assert clear(lower, sellers, beacon).verdicts[0][place] is not Verdict.WON


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
