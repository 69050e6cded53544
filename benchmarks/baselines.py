"""Two auctions that the network does not use, to measure its rules against.

First price: buyers pay what they bid, sellers get what they ask. Nobody then bids the truth: all
buyers shade their fees by one factor, all sellers raise their asks by another, and the factors are
those from which no single bidder gains by another one of a grid.

Second price: everybody bids the truth, pays or gets what the best bid left out says, and trades as
long as trade is worth anything. Nothing is given up, and what sellers get may exceed what buyers
pay: somebody has to cover the deficit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.clearing import Lot, Offer

Drawn = tuple[list["Lot"], list["Offer"]]
Shading = tuple[float, float]
"""Factors of buyers' fees and of sellers' asks."""

_GRID: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)
_SAMPLE: Final = 30
"""Markets in which a shading is tried."""
_STEPS: Final = 10
_TRIED: Final = 2
"""Bidders of each side whose gain is asked for."""


@dataclass(frozen=True, slots=True)
class Traded:
    """Who traded how much: slots by place of the bidder."""

    bought: dict[int, int]
    sold: dict[int, int]
    welfare: int
    """What it is worth to the buyers, less what it costs the sellers."""
    surplus: int
    """What buyers pay less what sellers get."""


def first_price(market: Drawn, shading: Shading) -> Traded:
    """Clear by bids that all are shaded alike."""
    lots, offers = market
    fees = [lot.max_fee * (1 - shading[0]) for lot in lots]
    asks = [offer.ask * (1 + shading[1]) for offer in offers]
    return _pay_as_bid(market, fees, asks)


def second_price(market: Drawn) -> Traded:
    """Clear by the truth, at the prices of the first that are left out."""
    lots, offers = market
    fees = [float(lot.max_fee) for lot in lots]
    asks = [float(offer.ask) for offer in offers]
    bought, sold = _match(market, fees, asks)
    slots = sum(bought.values())
    lost = [lot.max_fee / lot.slots for place, lot in enumerate(lots) if place not in bought]
    idle = [offer.ask for place, offer in enumerate(offers) if place not in sold]
    cheapest = min((lots[place].max_fee / lots[place].slots for place in bought), default=0.0)
    dearest = max((offers[place].ask for place in sold), default=0)
    pays = min(max(lost, default=0.0), cheapest)
    gets = max(min(idle, default=dearest), dearest)
    return Traded(bought, sold, _worth(market, bought, sold), round(slots * (pays - gets)))


def settled_shading(markets: Sequence[Drawn]) -> Shading:
    """Factors to which the best answers of the tried bidders lead; the mean of the last steps."""
    sample = markets[:_SAMPLE]
    shading: Shading = (_GRID[2], _GRID[2])
    path: list[Shading] = []
    for _ in range(_STEPS):
        best = (_best(sample, shading, 0), _best(sample, shading, 1))
        # Half way: bidders that answer each other at once would swing for ever.
        shading = ((shading[0] + best[0]) / 2, (shading[1] + best[1]) / 2)
        path.append(shading)
    late = path[_STEPS // 2 :]
    return sum(one for one, _ in late) / len(late), sum(two for _, two in late) / len(late)


def _best(markets: Sequence[Drawn], shading: Shading, side: int) -> float:
    """The factor of the grid that pays a bidder of this side most while all others keep theirs."""
    gains = dict.fromkeys((shading[side], *_GRID), 0.0)
    for market in markets:
        lots, offers = market
        fees = [lot.max_fee * (1 - shading[0]) for lot in lots]
        asks = [offer.ask * (1 + shading[1]) for offer in offers]
        for place in range(min(_TRIED, len(lots) if side == 0 else len(offers))):
            for factor in gains:
                if side == 0:
                    bid = lots[place].max_fee * (1 - factor)
                    traded = _pay_as_bid(market, [*fees[:place], bid, *fees[place + 1 :]], asks)
                    gains[factor] += (lots[place].max_fee - bid) * (place in traded.bought)
                else:
                    ask = offers[place].ask * (1 + factor)
                    traded = _pay_as_bid(market, fees, [*asks[:place], ask, *asks[place + 1 :]])
                    gains[factor] += (ask - offers[place].ask) * traded.sold.get(place, 0)
    return max(gains, key=gains.__getitem__)


def _pay_as_bid(market: Drawn, fees: list[float], asks: list[float]) -> Traded:
    bought, sold = _match(market, fees, asks)
    paid = sum(fees[place] for place in bought)
    got = sum(asks[place] * slots for place, slots in sold.items())
    return Traded(bought, sold, _worth(market, bought, sold), round(paid - got))


def _match(
    market: Drawn, fees: list[float], asks: list[float]
) -> tuple[dict[int, int], dict[int, int]]:
    """Serve buyers by fee per slot, highest first, from the cheapest asks if it covers them."""
    lots, offers = market
    supply = sorted(range(len(offers)), key=asks.__getitem__)
    left = {place: offers[place].slots for place in supply}
    bought: dict[int, int] = {}
    sold: dict[int, int] = {}
    order = sorted(range(len(lots)), key=lambda place: -fees[place] / lots[place].slots)
    for place in order:
        wanted, cost = lots[place].slots, 0.0
        taken: list[tuple[int, int]] = []
        for seller, free in left.items():
            slots = min(free, wanted)
            taken.append((seller, slots))
            wanted, cost = wanted - slots, cost + asks[seller] * slots
            if not wanted:
                break
        if wanted or cost > fees[place]:
            continue
        bought[place] = lots[place].slots
        for seller, slots in taken:
            sold[seller] = sold.get(seller, 0) + slots
            left[seller] -= slots
            if not left[seller]:
                del left[seller]
    return bought, sold


def _worth(market: Drawn, bought: dict[int, int], sold: dict[int, int]) -> int:
    lots, offers = market
    costs = sum(offers[place].ask * slots for place, slots in sold.items())
    return sum(lots[place].max_fee for place in bought) - costs
