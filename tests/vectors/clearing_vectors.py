"""Markets for `clearing.json`: bids as parallel arrays, then what either rule makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from protocol.clearing import FULL_QUALITY, Cleared, Lot, Offer, clear_thick, clear_thin
from tests.vectors.encoding import hex_of, word

GREAT = 1 << 255


@dataclass(frozen=True)
class Market:
    """The bids of one market, and the price that the thin rule posts."""

    posted: int
    beacon: bytes
    buyers: list[Lot]
    sellers: list[Offer]


def market(posted, buyers, sellers, beacon=b"\0"):
    """A market from rows: buyers (slots, max fee, copies), sellers (slots, ask, quality).

    Copies are 1 and quality is full if left out; buyers are r1, r2, ..., sellers p1, p2, ...
    """
    return Market(
        posted,
        beacon,
        [Lot(b"r%d" % number, *row) for number, row in enumerate(buyers, 1)],
        [
            Offer(b"p%d" % number, *row, *[FULL_QUALITY][len(row) - 2 :])
            for number, row in enumerate(sellers, 1)
        ],
    )


TIES = ([(2, 20), (1, 10), (2, 20), (1, 10), (2, 20)], [(2, 4), (2, 4), (2, 4), (1, 4)])
MARKETS = {
    "the worked example": market(
        8,
        [(6, 72), (5, 50), (7, 63), (2, 16), (4, 24), (3, 12)],
        [(10, 2), (8, 3), (6, 5), (8, 7)],
    ),
    "ties fall by the beacon": market(5, *TIES, beacon=word("beacon")),
    "and otherwise by another beacon": market(5, *TIES, beacon=word("another beacon")),
    "all before the marginal buyer fit, so it sets the price": market(
        3, [(2, 18), (3, 21), (1, 5), (1, 1)], [(5, 1), (5, 2), (4, 4)]
    ),
    "copies on distinct sellers": market(
        6, [(6, 60, 2), (6, 54, 3), (2, 14), (2, 12)], [(5, 1), (4, 2), (4, 3), (4, 4)]
    ),
    "copies that find no further seller are not paid for": market(
        3, [(6, 60, 3), (4, 32, 2), (1, 6)], [(9, 1), (2, 2), (4, 4)]
    ),
    "a fee rounds up, a payment down": market(
        4, [(3, 20), (2, 13), (3, 16), (3, 14)], [(3, 2, 7_000), (4, 2, 6_300), (5, 3, 9_100)]
    ),
    "prices that differ by less than a wei": market(
        10_000,
        [(3, 30_001), (3, 30_002), (2, 20_001), (7, 70_002)],
        [(5, 9_998, 9_999), (6, 9_997, 9_998), (3, 9_999)],
    ),
    "quality orders the sellers and lowers what they get": market(
        9, [(3, 45), (4, 48), (2, 20)], [(3, 5, 5_000), (4, 3, 9_999), (3, 7), (2, 1, 1)]
    ),
    "bids at the price trade": market(5, [(2, 10), (1, 5), (1, 4)], [(1, 5), (1, 4), (2, 5)]),
    "no buyer pays what sellers ask": market(5, [(1, 4), (3, 11)], [(4, 6), (2, 9, 9_000)]),
    "the first buyer has no room, so nobody is served": market(
        7, [(4, 48), (1, 9)], [(3, 2), (4, 3)]
    ),
    "a buyer larger than the market": market(2, [(9, 900), (1, 2)], [(4, 1), (4, 1)]),
    "amounts at their bound": market(
        GREAT // 4,
        [(3, GREAT), (2, GREAT // 2 + 1), (4, GREAT - 1)],
        [(4, GREAT // 8 - 1, 9_999), (3, GREAT // 7, 9_998), (6, GREAT // 5, 9_997), (5, GREAT)],
    ),
}


def _price(price: Fraction | None) -> list[str]:
    return [] if price is None else [str(price.numerator), str(price.denominator)]


def _outcome(rule: str, found: Cleared) -> dict[str, object]:
    buyer_verdicts, seller_verdicts = found.verdicts
    return {
        f"{rule}Price": _price(found.price),
        f"{rule}Rate": _price(found.rate),
        f"{rule}BuyerVerdicts": [verdict.code for verdict in buyer_verdicts],
        f"{rule}Fees": [str(fee) for fee in found.pays],
        f"{rule}SellerVerdicts": [verdict.code for verdict in seller_verdicts],
        f"{rule}Sold": list(found.sold),
        f"{rule}Pays": [str(pay) for pay in found.receives],
        f"{rule}Treasury": str(found.treasury),
    }


def _row(name: str, given: Market) -> dict[str, object]:
    buyers, sellers, beacon = given.buyers, given.sellers, given.beacon
    return {
        "name": name,
        "postedPrice": str(given.posted),
        "beacon": hex_of(beacon),
        "buyers": [hex_of(lot.id) for lot in buyers],
        "buyerSlots": [lot.slots for lot in buyers],
        "maxFees": [str(lot.max_fee) for lot in buyers],
        "copies": [lot.copies for lot in buyers],
        "sellers": [hex_of(offer.id) for offer in sellers],
        "sellerSlots": [offer.slots for offer in sellers],
        "asks": [str(offer.ask) for offer in sellers],
        "qualities": [offer.quality for offer in sellers],
        **_outcome("thick", clear_thick(buyers, sellers, beacon)),
        **_outcome("thin", clear_thin(buyers, sellers, beacon, given.posted)),
    }


def build() -> dict[str, object]:
    return {"markets": [_row(name, given) for name, given in MARKETS.items()]}
