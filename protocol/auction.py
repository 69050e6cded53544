"""The market of one class in one round: pure, integers only, the same on every node.

`protocol/clearing.py` finds prices and winners among the bids that are open to everybody. Here
each slot gets its prover, one by one from the winning seller with the most free slots, whatever it
asked. A request that names the operators it trusts trades after all others, at the price that they
made, out of what is left of those operators: it moves no price, and takes no slot from anybody.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from protocol.clearing import (
    FULL_QUALITY,
    Cleared,
    Lot,
    Offer,
    Rule,
    Verdict,
    buyer_fee,
    clear_thick,
    clear_thin,
    seller_payment,
    tie_rank,
)
from protocol.errors import LocalProtocolError
from protocol.pricing import RECENT_PRICES, after_thick, after_thin
from protocol.types import Address, Hash, Wei

_TRADES: Final = frozenset({Verdict.WON, Verdict.NOT_NEEDED})


@dataclass(frozen=True, slots=True)
class Buyer:
    """A request in the market: all of these slots or none, for at most `max_fee` wei together."""

    request_id: Hash
    slots: int
    max_fee: Wei
    allowlist: tuple[Address, ...]
    """Operators that may serve it; empty means all."""
    held: tuple[Address, ...]
    """Provers of the slots that it bought in earlier rounds, if it trades in tranches."""
    combining: bool
    """The last of these slots is the combining segment."""


@dataclass(frozen=True, slots=True)
class Seller:
    """A prover's offer: free slots, wei asked per slot, quality from 1 to 10,000 basis points."""

    operator: Address
    slots: int
    ask: Wei
    quality: int


@dataclass(frozen=True, slots=True)
class MarketInput:
    """Everything that a clearing depends on; the order of the bidders does not matter."""

    class_id: Hash
    rule: Rule
    price: Wei
    """Reference price of a slot."""
    recent: tuple[Wei, ...]
    """Whole wei that a slot cost in the last thick clearings of the class, oldest first."""
    beacon: Hash
    buyers: tuple[Buyer, ...]
    waiting: tuple[Hash, ...]
    """Requests whose turn to buy in tranches it is not: they take no part, and are told so."""
    sellers: tuple[Seller, ...]


@dataclass(frozen=True, slots=True)
class SlotPrice:
    """Wei for a slot, as a fraction in lowest terms."""

    num: int
    den: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One buyer served: who proves which slot (the combining one last), and who stands by."""

    request_id: Hash
    fee: Wei
    provers: tuple[Address, ...]
    pays: tuple[Wei, ...]
    """What each slot earns its prover."""
    standby: tuple[Address, ...]
    """Winning sellers without a slot of it in beacon order, then the others likewise."""


@dataclass(frozen=True, slots=True)
class MarketReceipt:
    """What a bidder is told: enough, with the input, to check it again.

    slots and amount are what it trades: wei that a buyer pays, or that a seller gets if every
    award completes.
    """

    bidder: bytes
    verdict: Verdict
    slots: int
    amount: Wei


@dataclass(frozen=True, slots=True)
class MarketResult:
    """A cleared market."""

    price: SlotPrice | None
    """What a buyer pays for a slot; None if nobody trades."""
    rate: SlotPrice | None
    """Quality-adjusted ask by which sellers are paid; None if nobody trades."""
    next_price: Wei
    """Reference price for the next clearing of the class."""
    trades: tuple[Trade, ...]
    """In the order in which slots were assigned."""
    receipts: tuple[MarketReceipt, ...]
    """Buyers in beacon order, those that wait for their turn, sellers in beacon order."""
    surplus: Wei
    """Fees less payments: the treasury's."""


def clear(market: MarketInput) -> MarketResult:
    """Clear a market; raises LocalProtocolError for one that no ledger can have made."""
    _check(market)
    buyers = sorted(market.buyers, key=lambda buyer: tie_rank(market.beacon, buyer.request_id))
    sellers = sorted(market.sellers, key=lambda seller: tie_rank(market.beacon, seller.operator))
    public = [buyer for buyer in buyers if not buyer.allowlist]
    cleared = _clear_public(market, public, sellers)
    price, rate = cleared.price, cleared.rate
    if market.rule is Rule.THIN:
        price = rate = Fraction(market.price)
    winners = {
        seller.operator: seller
        for seller, verdict in zip(sellers, cleared.verdicts[1], strict=True)
        if verdict in _TRADES
    }
    verdicts = {
        buyer.request_id: verdict
        for buyer, verdict in zip(public, cleared.verdicts[0], strict=True)
    }
    free = {operator: seller.slots for operator, seller in winners.items()}  # in beacon order
    trades: list[Trade] = []
    if price is not None and rate is not None:
        for buyer in sorted(buyers, key=lambda buyer: bool(buyer.allowlist)):
            if buyer.allowlist:
                verdicts[buyer.request_id] = _fits(buyer, price, free)
            if verdicts[buyer.request_id] is Verdict.WON:
                trades.append(_serve(buyer, price, rate, free, winners))
    receipts = (
        *_buyer_receipts(buyers, verdicts, trades),
        *[MarketReceipt(late, Verdict.TRANCHE_TURN, 0, Wei(0)) for late in market.waiting],
        *_seller_receipts(sellers, cleared.verdicts[1], trades),
    )
    fees = sum(trade.fee for trade in trades)
    return MarketResult(
        price=_slot_price(price) if trades else None,
        rate=_slot_price(rate) if trades else None,
        next_price=_next_price(market, price),
        trades=tuple(trades),
        receipts=receipts,
        surplus=Wei(fees - sum(sum(trade.pays) for trade in trades)),
    )


def _clear_public(
    market: MarketInput, buyers: Sequence[Buyer], sellers: Sequence[Seller]
) -> Cleared:
    """Clear the bids that are open to everybody."""
    lots = [Lot(buyer.request_id, buyer.slots, buyer.max_fee) for buyer in buyers]
    offers = [Offer(each.operator, each.slots, each.ask, each.quality) for each in sellers]
    if market.rule is Rule.THICK:
        return clear_thick(lots, offers, market.beacon)
    return clear_thin(lots, offers, market.beacon, market.price)


def _fits(buyer: Buyer, price: Fraction, free: Mapping[Address, int]) -> Verdict:
    """Whether what is left of the operators that a request names serves it at this price."""
    if buyer.max_fee * price.denominator < buyer.slots * price.numerator:
        return Verdict.FEE_BELOW_PRICE
    room = sum(slots for operator, slots in free.items() if operator in buyer.allowlist)
    return Verdict.WON if buyer.slots <= room else Verdict.NO_ROOM


def _serve(
    buyer: Buyer,
    price: Fraction,
    rate: Fraction,
    free: dict[Address, int],
    winners: Mapping[Address, Seller],
) -> Trade:
    """Take a buyer's slots one by one from whoever has the most free."""
    allowed = [op for op in free if not buyer.allowlist or op in buyer.allowlist]
    # Of equals the first in beacon order, which is that of `free`.
    fullest = [(-free[operator], place, operator) for place, operator in enumerate(allowed)]
    heapq.heapify(fullest)
    provers: list[Address] = []
    for _ in range(buyer.slots):
        left, place, prover = fullest[0]
        heapq.heapreplace(fullest, (left + 1, place, prover))
        free[prover] -= 1
        provers.append(prover)
    if buyer.combining:
        # Combining needs every segment's result: the holder of most has the least to wait for.
        held = (*buyer.held, *provers)
        combiner = max((op for op in allowed if op in provers), key=held.count)
        provers.reverse()
        provers.remove(combiner)
        provers.reverse()
        provers.append(combiner)
    return Trade(
        request_id=buyer.request_id,
        fee=Wei(buyer_fee(buyer.slots, price)),
        provers=tuple(provers),
        pays=_pays(provers, rate, winners),
        standby=tuple(sorted(allowed, key=lambda operator: operator in provers)),
    )


def _pays(
    provers: Sequence[Address], rate: Fraction, winners: Mapping[Address, Seller]
) -> tuple[Wei, ...]:
    """What each slot earns: a prover's slots together what `seller_payment` says.

    Rounded down for each request by itself, so that its fee always covers them.
    """
    pays = []
    taken: dict[Address, int] = {}
    for prover in provers:
        before = taken.get(prover, 0)
        taken[prover] = before + 1
        quality = winners[prover].quality
        paid = seller_payment(before + 1, rate, quality) - seller_payment(before, rate, quality)
        pays.append(Wei(paid))
    return tuple(pays)


def _next_price(market: MarketInput, price: Fraction | None) -> Wei:
    if market.rule is Rule.THICK:
        if price is None:
            return market.price
        latest = Wei(price.numerator // price.denominator)
        return after_thick((*market.recent, latest)[-RECENT_PRICES:])
    demanded = 0
    for buyer in market.buyers:
        room = sum(seller.slots for seller in market.sellers if _may_serve(buyer, seller.operator))
        if buyer.max_fee >= buyer.slots * market.price and buyer.slots <= room:
            demanded += buyer.slots
    offered = sum(seller.slots for seller in market.sellers if _sells_at(seller, market.price))
    if not market.buyers or not market.sellers:
        return market.price
    return after_thin(market.price, demanded, offered)


def _sells_at(seller: Seller, price: Wei) -> bool:
    return seller_payment(1, Fraction(price), seller.quality) >= seller.ask


def _may_serve(buyer: Buyer, operator: Address) -> bool:
    return not buyer.allowlist or operator in buyer.allowlist


def _slot_price(price: Fraction | None) -> SlotPrice | None:
    return None if price is None else SlotPrice(price.numerator, price.denominator)


def _buyer_receipts(
    buyers: Sequence[Buyer], verdicts: Mapping[Hash, Verdict], trades: Sequence[Trade]
) -> list[MarketReceipt]:
    fees = {trade.request_id: trade.fee for trade in trades}
    receipts = []
    for buyer in buyers:
        verdict = verdicts.get(buyer.request_id, Verdict.NO_TRADE)
        slots = buyer.slots if verdict is Verdict.WON else 0
        fee = fees.get(buyer.request_id, Wei(0))
        receipts.append(MarketReceipt(buyer.request_id, verdict, slots, fee))
    return receipts


def _seller_receipts(
    sellers: Sequence[Seller], verdicts: Sequence[Verdict], trades: Sequence[Trade]
) -> list[MarketReceipt]:
    sold: dict[Address, int] = {}
    earned: dict[Address, int] = {}
    for trade in trades:
        for prover, pay in zip(trade.provers, trade.pays, strict=True):
            sold[prover] = sold.get(prover, 0) + 1
            earned[prover] = earned.get(prover, 0) + pay
    receipts = []
    for seller, found in zip(sellers, verdicts, strict=True):
        slots = sold.get(seller.operator, 0)
        # What is sold to requests that name their operators counts too.
        verdict = Verdict.WON if slots else found
        amount = Wei(earned.get(seller.operator, 0))
        receipts.append(MarketReceipt(seller.operator, verdict, slots, amount))
    return receipts


def _check(market: MarketInput) -> None:
    """One bid per identity, and amounts in range: the ledger lets nothing else in."""
    buyers = {*(buyer.request_id for buyer in market.buyers), *market.waiting}
    sellers = {seller.operator for seller in market.sellers}
    if len(buyers) != len(market.buyers) + len(market.waiting) or len(sellers) != len(
        market.sellers
    ):
        raise LocalProtocolError("two bids of one identity in one market")
    sizes = [buyer.slots for buyer in market.buyers] + [s.slots for s in market.sellers]
    qualities = [seller.quality for seller in market.sellers]
    if market.price < 1 or any(slots < 1 for slots in sizes):
        raise LocalProtocolError("a price and a number of slots are at least 1")
    if not all(1 <= quality <= FULL_QUALITY for quality in qualities):
        raise LocalProtocolError("quality goes from 1 to 10,000")
