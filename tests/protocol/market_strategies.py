"""Small random markets, what their bidders gain, and whether a lie gains more."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import msgspec
from hypothesis import strategies as st

from protocol.clearing import Cleared, Lot, Offer, Verdict, clear_thin

QUALITIES = [10_000, 10_000, 10_000, 9_999, 7_500, 5_000, 1]
POSTED = 5
Bids = tuple[list[Lot], list[Offer], bytes]
Clear = Callable[[list[Lot], list[Offer], bytes], Cleared]


def posted(buyers: list[Lot], sellers: list[Offer], beacon: bytes) -> Cleared:
    return clear_thin(buyers, sellers, beacon, POSTED)


@st.composite
def markets(draw: st.DrawFn, most: int = 6, *, copies: bool = False) -> Bids:
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


@st.composite
def trading_markets(draw: st.DrawFn) -> Bids:
    """Four buyers and two or three sellers: small, but most trade under the thick rule too."""
    prices, qualities = st.integers(3, 10), st.sampled_from(QUALITIES[:-1])
    wanted = st.tuples(st.integers(1, 3), prices)
    offered = st.tuples(st.integers(2, 6), st.integers(0, 3), qualities)
    buyers = draw(st.lists(wanted, min_size=4, max_size=4))
    sellers = draw(st.lists(offered, min_size=2, max_size=3))
    return (
        [Lot(b"b%d" % place, slots, slots * price) for place, (slots, price) in enumerate(buyers)],
        [Offer(b"s%d" % place, *row) for place, row in enumerate(sellers)],
        draw(st.binary(max_size=1)),
    )


def density(lot: Lot) -> Fraction:
    return Fraction(lot.max_fee, lot.slots)


def adjusted(offer: Offer) -> Fraction:
    return Fraction(offer.ask * 10_000, offer.quality)


def repriced(market: Bids, place: int, price: int) -> Bids:
    """The market in which one bidder names another price; sellers count on after buyers."""
    buyers, sellers = [*market[0]], [*market[1]]
    if place < len(buyers):
        buyers[place] = msgspec.structs.replace(buyers[place], max_fee=price)
    else:
        place -= len(buyers)
        sellers[place] = msgspec.structs.replace(sellers[place], ask=price)
    return buyers, sellers, market[2]


def gains(market: Bids, found: Cleared) -> list[int]:
    """What a clearing brings each buyer, then each seller, whose true prices `market` has."""
    buyers, sellers, _ = market
    bought = zip(buyers, found.pays, found.verdicts[0], strict=True)
    provided = zip(sellers, found.receives, found.sold, strict=True)
    return [
        *((lot.max_fee - fee) * (verdict is Verdict.WON) for lot, fee, verdict in bought),
        *(gets - sold * offer.ask for offer, gets, sold in provided),
    ]


def profitable_lie(clear: Clear, market: Bids) -> object | None:
    """Any single bidder's price on a grid that beats the truth: what it is worth, what it costs."""
    honest = gains(market, clear(*market))
    for place, bid in enumerate([*market[0], *market[1]]):
        for price in range(bid.slots * 12 if isinstance(bid, Lot) else 13):
            then = clear(*repriced(market, place, price))
            if gains(market, then)[place] > honest[place]:
                return bid, price
    return None
