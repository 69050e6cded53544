"""Two auctions that the network does not use, to measure its rules against.

First price: a double auction in which buyers pay what they bid and sellers get what they ask.
Nobody bids the truth then. A bidder shades by the step of a grid that would have gained it most
per slot over the latest rounds, had it bid in them too: against what a bid had to reach in each.

Second price: one price per slot for all buyers, set by the first that is left out. Supply is fixed
before anybody bids: all slots that cost at most the posted price, which is the reserve. Buyers gain
nothing by a lie. Sellers would: the cheapest are filled first, all at the buyers' price, and fewer
slots make it higher. That they offer everything at cost is assumed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from protocol.clearing import Lot, Offer

if TYPE_CHECKING:
    from collections.abc import Iterable

Market = tuple[list[Lot], list[Offer]]

_MEMORY: Final = 50
"""Rounds that bidders learn from."""
_SHADES: Final = range(0, 100, 5)
"""Percent that a bid stays below the value, or a cost below the ask."""


class FirstPrice:
    """Pay-as-bid rounds of one market after the other."""

    def __init__(self) -> None:
        self._floors: deque[float] = deque(maxlen=_MEMORY)
        """For each round, what would have sufficed to buy a slot more."""
        self._ceilings: deque[float] = deque(maxlen=_MEMORY)
        """For each round, what would have sufficed to sell a slot more."""

    def welfare(self, market: Market) -> int:
        """Clear a round of shaded bids, which later bidders learn from; what its trade is worth."""
        lots, offers = market
        floors, ceilings = sorted(self._floors), sorted(self._ceilings)
        bids = [replace(lot, max_fee=_bid(lot, floors)) for lot in lots]
        asks = [replace(offer, ask=_ask(offer, ceilings)) for offer in offers]
        served, sold = _match(bids, asks)
        left = [ask.ask for ask, slots in zip(asks, sold, strict=True) if slots < ask.slots]
        used = [ask.ask for ask, slots in zip(asks, sold, strict=True) if slots]
        won = [_density(bids[place]) for place in served]
        lost = [_density(bid) for place, bid in enumerate(bids) if place not in served]
        self._floors.append(min([*won, *left]))
        self._ceilings.append(max([*used, *lost]))
        return _worth(market, served, sold)


def second_price(market: Market, reserve: int) -> int:
    """What the trade of one round is worth."""
    lots, offers = market
    supply = [offer if offer.ask <= reserve else replace(offer, slots=0) for offer in offers]
    room = sum(offer.slots for offer in supply)
    served: set[int] = set()
    for place in _by_density(lots):
        lot = lots[place]
        if _density(lot) < reserve or lot.slots > room:
            break
        room -= lot.slots
        served.add(place)
    sold = [0] * len(offers)
    _buy(sum(lots[place].slots for place in served), supply, sold)
    return _worth(market, served, sold)


def _bid(lot: Lot, floors: list[float]) -> int:
    """The fee that would have gained most; the whole value if none would have bought anything."""
    bids = [lot.max_fee * (100 - shade) // 100 for shade in _SHADES]
    return max(bids, key=lambda bid: (lot.max_fee - bid) * bisect_right(floors, bid / lot.slots))


def _ask(offer: Offer, ceilings: list[float]) -> int:
    """The ask that would have gained most; the cost if none would have sold anything."""
    asks = [offer.ask * 100 // (100 - shade) for shade in _SHADES]
    return max(
        asks, key=lambda ask: (ask - offer.ask) * (len(ceilings) - bisect_left(ceilings, ask))
    )


def _match(bids: list[Lot], asks: list[Offer]) -> tuple[set[int], list[int]]:
    """Serve buyers by fee per slot from the cheapest asks left, if their fee covers them."""
    served: set[int] = set()
    sold = [0] * len(asks)
    for place in _by_density(bids):
        then = list(sold)
        cost = _buy(bids[place].slots, asks, then)
        if cost is not None and cost <= bids[place].max_fee:
            served.add(place)
            sold = then
    return served, sold


def _buy(slots: int, asks: list[Offer], sold: list[int]) -> int | None:
    """Take so many of the cheapest slots left; what they cost, None if there are too few."""
    cost = 0
    for place in sorted(range(len(asks)), key=lambda at: asks[at].ask):
        taken = min(slots, asks[place].slots - sold[place])
        sold[place] += taken
        cost += taken * asks[place].ask
        slots -= taken
    return None if slots else cost


def _by_density(lots: list[Lot]) -> list[int]:
    return sorted(range(len(lots)), key=lambda place: -_density(lots[place]))


def _density(lot: Lot) -> float:
    return lot.max_fee / lot.slots


def _worth(market: Market, served: Iterable[int], sold: list[int]) -> int:
    lots, offers = market
    costs = sum(offer.ask * slots for offer, slots in zip(offers, sold, strict=True))
    return sum(lots[place].max_fee for place in served) - costs
