"""Prices and winners of one market of any size: pure, integers only, near-linear.

Thick market: trade reduction. The marginal buyer and seller set the prices and do not trade, so
that no bid moves what its owner pays or gets. Thin market: everybody trades at the posted price,
buyers in beacon order. In both, slots fall to the winning seller with the most free ones, whatever
it asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final, TypeVar

import msgspec

from protocol.errors import Reason
from protocol.hashing import keccak

FULL_QUALITY: Final = 10_000
"""Quality in basis points of a prover without a blemish."""
MIN_BUYERS: Final = 10
"""A class with fewer buyers is thin: below, a posted price serves more of what trade is worth."""
MIN_SELLERS: Final = 4
"""A class with fewer sellers is thin: trade reduction gives up one of them."""


class Rule(Enum):
    """How a market is cleared."""

    THICK = "thick"
    THIN = "thin"


class Verdict(Enum):
    """What became of a bid in the market it was cleared in."""

    WON = Reason("won", "it trades")
    FEE_BELOW_PRICE = Reason("fee_below_price", "the maximum fee is below slots times price", True)
    NO_ROOM = Reason("no_room", "the slots left for it do not hold all of its segments", True)
    ASK_ABOVE_PRICE = Reason("ask_above_price", "the quality-adjusted ask is above the price")
    NOT_NEEDED = Reason("not_needed", "at this price, but no segment fell to it")
    SETS_PRICE = Reason("sets_price", "the marginal bid sets the price and does not trade")
    TRANCHE_TURN = Reason(
        "tranche_turn", "another large request buys its slots in tranches now", True
    )
    NO_TRADE = Reason("no_trade", "no buyer pays what the sellers that it needs ask", True)

    @property
    def code(self) -> str:
        """Stable identifier."""
        return self.value.code


class Lot(msgspec.Struct, frozen=True):
    """A buyer: all of its slots (segments times copies) or none, for at most `max_fee` together."""

    id: bytes
    slots: int
    max_fee: int
    copies: int = 1


class Offer(msgspec.Struct, frozen=True):
    """A seller: free slots, what it asks for each, quality from 1 to 10,000 basis points."""

    id: bytes
    slots: int
    ask: int
    quality: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """A cleared market; lists run parallel to the bids that were given."""

    rule: Rule
    price: Fraction | None
    """What a buyer pays for a slot; None if nothing traded."""
    rate: Fraction | None
    """Quality-adjusted ask by which sellers are paid; None if nothing traded."""
    verdicts: tuple[Sequence[Verdict], Sequence[Verdict]]
    """Of buyers and of sellers."""
    pays: Sequence[int]
    sold: Sequence[int]
    """Slots that fell to each seller."""
    receives: Sequence[int]

    @property
    def treasury(self) -> int:
        """Fees less payments, never negative."""
        return sum(self.pays) - sum(self.receives)


def tie_rank(beacon: bytes, identity: bytes) -> bytes:
    """Place of a bidder in every order that chance decides: ascending keccak256(beacon | id)."""
    return keccak(beacon + identity)


def seller_payment(slots: int, rate: Fraction, quality: int) -> int:
    """What so many slots earn: floor(slots * rate * quality / 10,000)."""
    return slots * rate.numerator * quality // (rate.denominator * FULL_QUALITY)


def buyer_fee(slots: int, price: Fraction) -> int:
    """What so many slots cost: ceil(slots * price)."""
    return -(-slots * price.numerator // price.denominator)


def rule_for(buyers: int, sellers: int) -> Rule:
    """The rule for a market with so many bidders."""
    return Rule.THICK if buyers >= MIN_BUYERS and sellers >= MIN_SELLERS else Rule.THIN


def clear_thick(buyers: Sequence[Lot], sellers: Sequence[Offer], beacon: bytes) -> Cleared:
    """Clear by trade reduction.

    Ids are distinct, slots and copies at least 1, copies divide slots, amounts not negative.
    """
    demand = _ranked(buyers, _densities(buyers), beacon, falling=True)
    supply = _ranked(sellers, _adjusted_asks(sellers), beacon, falling=False)
    found = _marginal(buyers, demand, sellers, supply)
    if found is None:
        verdicts = ([Verdict.NO_TRADE] * len(buyers), [Verdict.NO_TRADE] * len(sellers))
        zeros = [0] * len(sellers)
        return Cleared(Rule.THICK, None, None, verdicts, [0] * len(buyers), zeros, zeros)
    last, margin = found
    winners, setter = supply[:margin], sellers[supply[margin]]
    rate = Fraction(setter.ask * FULL_QUALITY, setter.quality)
    capacity = sum(sellers[place].slots for place in winners)
    accepted: list[int] = []
    taken = 0
    marginal = buyers[demand[last]]
    for place in demand[:last]:
        if taken + buyers[place].slots > capacity:
            marginal = buyers[place]
            break
        taken += buyers[place].slots
        accepted.append(place)
    price = Fraction(marginal.max_fee, marginal.slots)
    numerator, denominator = price.numerator, price.denominator
    sold, unmet = _assign(buyers, accepted, sellers, winners, beacon)
    buyer_verdicts = [
        Verdict.NO_ROOM
        if lot.max_fee * denominator >= lot.slots * numerator
        else Verdict.FEE_BELOW_PRICE
        for lot in buyers
    ]
    buyer_verdicts[demand[last]] = Verdict.SETS_PRICE
    seller_verdicts = [Verdict.ASK_ABOVE_PRICE] * len(sellers)
    seller_verdicts[supply[margin]] = Verdict.SETS_PRICE
    receives = [0] * len(sellers)
    for place in winners:
        seller_verdicts[place] = Verdict.WON if sold[place] else Verdict.NOT_NEEDED
        receives[place] = seller_payment(sold[place], rate, sellers[place].quality)
    pays = _fees(buyers, accepted, unmet, price, buyer_verdicts)
    verdicts = (buyer_verdicts, seller_verdicts)
    if not accepted:
        return Cleared(Rule.THICK, None, None, verdicts, pays, sold, receives)
    return Cleared(Rule.THICK, price, rate, verdicts, pays, sold, receives)


def clear_thin(
    buyers: Sequence[Lot], sellers: Sequence[Offer], beacon: bytes, posted: int
) -> Cleared:
    """Clear at a posted price of at least 1; bids as for `clear_thick`."""
    price = Fraction(posted)
    seller_verdicts = [Verdict.NOT_NEEDED] * len(sellers)
    winners: list[int] = []
    for place, offer in enumerate(sellers):
        if offer.ask * FULL_QUALITY <= posted * offer.quality:
            winners.append(place)
        else:
            seller_verdicts[place] = Verdict.ASK_ABOVE_PRICE
    left = sum(sellers[place].slots for place in winners)
    buyer_verdicts = [Verdict.FEE_BELOW_PRICE] * len(buyers)
    accepted: list[int] = []
    paying = [at for at, lot in enumerate(buyers) if lot.max_fee >= lot.slots * posted]
    for place in sorted(paying, key=lambda at: tie_rank(beacon, buyers[at].id)):
        if buyers[place].slots > left:
            buyer_verdicts[place] = Verdict.NO_ROOM
            continue
        left -= buyers[place].slots
        accepted.append(place)
    sold, unmet = _assign(buyers, accepted, sellers, winners, beacon)
    receives = [0] * len(sellers)
    for place in winners:
        if sold[place]:
            seller_verdicts[place] = Verdict.WON
        receives[place] = seller_payment(sold[place], price, sellers[place].quality)
    pays = _fees(buyers, accepted, unmet, price, buyer_verdicts)
    traded = price if accepted else None
    verdicts = (buyer_verdicts, seller_verdicts)
    return Cleared(Rule.THIN, traded, traded, verdicts, pays, sold, receives)


_Bid = TypeVar("_Bid", Lot, Offer)


def _densities(buyers: Sequence[Lot]) -> list[int]:
    """Integers that compare as the fees per slot do.

    Two different fractions are at least 1 / (q1 * q2) apart, so that twice the bits of the largest
    denominator keep their floors apart.
    """
    bits = 2 * max((lot.slots for lot in buyers), default=1).bit_length()
    return [(lot.max_fee << bits) // lot.slots for lot in buyers]


def _adjusted_asks(sellers: Sequence[Offer]) -> list[int]:
    """Integers that compare as the quality-adjusted asks do."""
    bits = 2 * FULL_QUALITY.bit_length()
    return [(offer.ask << bits) // offer.quality for offer in sellers]


def _ranked(bids: Sequence[_Bid], keys: list[int], beacon: bytes, *, falling: bool) -> list[int]:
    """Places of bids in order of their keys, equal ones in beacon order."""
    order = sorted(range(len(bids)), key=keys.__getitem__, reverse=falling)
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and keys[order[end]] == keys[order[start]]:
            continue
        if end - start > 1:
            tied = order[start:end]
            order[start:end] = sorted(tied, key=lambda place: tie_rank(beacon, bids[place].id))
        start = end
    return order


def _marginal(
    buyers: Sequence[Lot], demand: list[int], sellers: Sequence[Offer], supply: list[int]
) -> tuple[int, int] | None:
    """Ranks of the last buyer whose demand, with all before it, meets asks that it can pay.

    With it the rank of the seller who completes that demand; None if no buyer can.
    """
    found = None
    rank, offered, demanded = -1, 0, 0
    for at, place in enumerate(demand):
        lot = buyers[place]
        demanded += lot.slots
        while offered < demanded:
            rank += 1
            if rank == len(supply):
                return found
            offered += sellers[supply[rank]].slots
        offer = sellers[supply[rank]]
        if offer.ask * FULL_QUALITY * lot.slots > lot.max_fee * offer.quality:
            return found
        found = at, rank
    return found


def _assign(
    buyers: Sequence[Lot],
    accepted: Sequence[int],
    sellers: Sequence[Offer],
    winners: Sequence[int],
    beacon: bytes,
) -> tuple[list[int], dict[int, int]]:
    """Slots sold by each seller, and the copies of each buyer that no further seller could take."""
    sold = [0] * len(sellers)
    if all(buyers[place].copies == 1 for place in accepted):
        total = sum(buyers[place].slots for place in accepted)
        _fill(sold, sellers, winners, total, lambda at: tie_rank(beacon, sellers[at].id))
        return sold, {}
    by_chance = sorted(winners, key=lambda at: tie_rank(beacon, sellers[at].id))
    free = [(-sellers[place].slots, rank, place) for rank, place in enumerate(by_chance)]
    heapq.heapify(free)
    unmet: dict[int, int] = {}
    for place in sorted(accepted, key=lambda at: tie_rank(beacon, buyers[at].id)):
        lot = buyers[place]
        for _ in range(lot.slots // lot.copies):
            drawn = [heapq.heappop(free) for _ in range(min(lot.copies, len(free)))]
            if len(drawn) < lot.copies:
                unmet[place] = unmet.get(place, 0) + lot.copies - len(drawn)
            for left, rank, seller in drawn:
                sold[seller] += 1
                if left < -1:
                    heapq.heappush(free, (left + 1, rank, seller))
    return sold, unmet


def _fill(
    sold: list[int],
    sellers: Sequence[Offer],
    winners: Sequence[int],
    total: int,
    chance: Callable[[int], bytes],
) -> None:
    """Sell so many slots one by one from whoever has the most free, in one step.

    That brings the fullest down to a common level; the rest of a level falls in beacon order.
    """
    by_size = sorted(winners, key=lambda place: sellers[place].slots, reverse=True)
    if not total:
        return
    sizes = [sellers[place].slots for place in by_size]
    above = 0
    count = len(by_size)
    for number, size in enumerate(sizes, 1):
        above += size
        lower = sizes[number] if number < len(sizes) else 0
        if above - number * lower >= total:
            count = number
            break
    # `count` sellers end at `level`, or one above it.
    level, spare = divmod(above - total, count)
    touched = by_size[:count]
    for place in touched:
        sold[place] = sellers[place].slots - level
    if spare:
        # One by one from level + 1: those late in the beacon's order keep theirs.
        keep = [place for place in touched if sold[place] > 0]
        for place in sorted(keep, key=chance)[len(keep) - spare :]:
            sold[place] -= 1


def _fees(
    buyers: Sequence[Lot],
    accepted: Sequence[int],
    unmet: dict[int, int],
    price: Fraction,
    verdicts: list[Verdict],
) -> list[int]:
    """What each buyer pays: slots times price, rounded up, less the copies that were not met."""
    pays = [0] * len(buyers)
    for place in accepted:
        verdicts[place] = Verdict.WON
        pays[place] = buyer_fee(buyers[place].slots - unmet.get(place, 0), price)
    return pays
