"""Clearing of one market (one class, one round): pure, integers only, the same on every node.

Thin market: everybody trades at a posted price, the class's reference price, so no bid moves the
price that its owner pays or gets. Buyers are served in beacon order, never by value, and who proves
what never depends on asks. Both are what makes a truthful price a best answer; without the second,
filling the cheapest seller first, lying pays.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.clearing import FULL_QUALITY, Verdict, tie_rank
from protocol.errors import LocalProtocolError
from protocol.pricing import after_thin
from protocol.types import Address, Hash, Wei


@dataclass(frozen=True, slots=True)
class Buyer:
    """A request in the market: all of its slots or none, for at most `max_fee` wei together."""

    request_id: Hash
    slots: int
    max_fee: Wei
    allowlist: tuple[Address, ...]
    """Operators that may serve it; empty means all."""


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
    price: Wei
    """Reference price of a slot."""
    beacon: Hash
    buyers: tuple[Buyer, ...]
    sellers: tuple[Seller, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """One buyer served: who proves which segment (the combining one last), and who stands by."""

    request_id: Hash
    fee: Wei
    provers: tuple[Address, ...]
    standby: tuple[Address, ...]
    """Eligible sellers without a segment of it in beacon order, then the others likewise."""


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

    price: Wei
    next_price: Wei
    """Reference price for the next clearing of the class."""
    trades: tuple[Trade, ...]
    """In the order in which buyers were served."""
    receipts: tuple[MarketReceipt, ...]
    """Buyers, then sellers, each in beacon order."""
    surplus: Wei
    """Fees less payments: the treasury's."""


def clear_thin(market: MarketInput) -> MarketResult:
    """Clear at the posted price; raises LocalProtocolError for a market no ledger can have made."""
    _check(market)
    buyers = sorted(market.buyers, key=lambda buyer: tie_rank(market.beacon, buyer.request_id))
    sellers = sorted(market.sellers, key=lambda seller: tie_rank(market.beacon, seller.operator))
    eligible = [seller for seller in sellers if _sells_at(seller, market.price)]
    free = {seller.operator: seller.slots for seller in eligible}  # in beacon order
    trades = []
    verdicts = {}
    for buyer in buyers:
        trade, verdicts[buyer.request_id] = _serve(buyer, market.price, free)
        if trade is not None:
            trades.append(trade)
    sold = {seller.operator: seller.slots - free[seller.operator] for seller in eligible}
    receipts = (
        *[_buyer_receipt(buyer, verdicts[buyer.request_id], market.price) for buyer in buyers],
        *[_seller_receipt(seller, sold.get(seller.operator), market.price) for seller in sellers],
    )
    paid = sum(receipt.amount for receipt in receipts[len(buyers) :])
    return MarketResult(
        price=market.price,
        next_price=_next_price(market, sum(seller.slots for seller in eligible)),
        trades=tuple(trades),
        receipts=receipts,
        surplus=Wei(sum(trade.fee for trade in trades) - paid),
    )


def seller_payment(slots: int, price: Wei, quality: int) -> Wei:
    """What proving so many slots earns: floor(slots * price * quality / 10,000)."""
    return Wei(slots * price * quality // FULL_QUALITY)


def _serve(buyer: Buyer, price: Wei, free: dict[Address, int]) -> tuple[Trade | None, Verdict]:
    """Serve one buyer out of the free slots, and take them."""
    if buyer.max_fee < buyer.slots * price:
        return None, Verdict.FEE_BELOW_PRICE
    allowed = [op for op in free if _may_serve(buyer, op)]
    if sum(free[operator] for operator in allowed) < buyer.slots:
        return None, Verdict.NO_ROOM
    provers: list[Address] = []
    for _ in range(buyer.slots - 1):
        # max keeps the first of equals, and `allowed` is in beacon order.
        prover = max(allowed, key=lambda operator: free[operator])
        free[prover] -= 1
        provers.append(prover)
    # Combining needs every segment's result: the holder of most of them has the least to wait for.
    open_to = [operator for operator in allowed if free[operator]]
    combiner = max(open_to, key=lambda operator: (provers.count(operator), free[operator]))
    free[combiner] -= 1
    provers.append(combiner)
    standby = sorted(allowed, key=lambda operator: operator in provers)
    fee = Wei(buyer.slots * price)
    return Trade(buyer.request_id, fee, tuple(provers), tuple(standby)), Verdict.WON


def _next_price(market: MarketInput, offered: int) -> Wei:
    """Move the reference price towards balance: by at least 1 wei and at most one eighth.

    Demand counts only what could fit into all slots on offer, at whatever ask: a request larger
    than the market must not drive the price, and asks above the price must not hide the demand.
    """
    price = market.price
    demanded = 0
    for buyer in market.buyers:
        room = sum(seller.slots for seller in market.sellers if _may_serve(buyer, seller.operator))
        if buyer.max_fee >= buyer.slots * price and buyer.slots <= room:
            demanded += buyer.slots
    if not market.buyers or not market.sellers:
        return price
    return after_thin(price, demanded, offered)


def _sells_at(seller: Seller, price: Wei) -> bool:
    return seller.ask * FULL_QUALITY <= price * seller.quality


def _may_serve(buyer: Buyer, operator: Address) -> bool:
    return not buyer.allowlist or operator in buyer.allowlist


def _buyer_receipt(buyer: Buyer, verdict: Verdict, price: Wei) -> MarketReceipt:
    slots = buyer.slots if verdict is Verdict.WON else 0
    return MarketReceipt(buyer.request_id, verdict, slots, Wei(slots * price))


def _seller_receipt(seller: Seller, sold: int | None, price: Wei) -> MarketReceipt:
    if sold is None:
        return MarketReceipt(seller.operator, Verdict.ASK_ABOVE_PRICE, 0, Wei(0))
    verdict = Verdict.WON if sold else Verdict.NOT_NEEDED
    return MarketReceipt(
        seller.operator, verdict, sold, seller_payment(sold, price, seller.quality)
    )


def _check(market: MarketInput) -> None:
    """One bid per identity, and amounts in range: the ledger lets nothing else in."""
    buyers = {buyer.request_id for buyer in market.buyers}
    sellers = {seller.operator for seller in market.sellers}
    if len(buyers) != len(market.buyers) or len(sellers) != len(market.sellers):
        raise LocalProtocolError("two bids of one identity in one market")
    sizes = [buyer.slots for buyer in market.buyers] + [s.slots for s in market.sellers]
    qualities = [seller.quality for seller in market.sellers]
    if market.price < 1 or any(slots < 1 for slots in sizes):
        raise LocalProtocolError("a price and a number of slots are at least 1")
    if not all(1 <= quality <= FULL_QUALITY for quality in qualities):
        raise LocalProtocolError("quality goes from 1 to 10,000")
