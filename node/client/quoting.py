"""What a request would have had to offer in recent rounds: their clearings, with it in the market.

A request's chance at a fee is the share of recent clearings that would have served it. Each is
recomputed with the request under a few ids, since chance decides where fees do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from eth_hash.auto import keccak

from protocol.auction import Buyer, MarketInput, clear
from protocol.clearing import Rule, Verdict
from protocol.ledger import bid_fee_of
from protocol.tranches import TRANCHE_PARTS
from protocol.types import Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Sequence

_IDS: Final = tuple(Hash(keccak(b"provernet/quote" + bytes([place]))) for place in range(3))


@dataclass(frozen=True, slots=True)
class Quote:
    """Least maximum fees in wei that would have been served, over recent clearings, ascending.

    None stands last, for clearings in which no fee would have done.
    """

    slots: int
    fees: tuple[int | None, ...]

    def chance(self, fee: int) -> int | None:
        """Percent of recent clearings that would have served this maximum fee; None without any."""
        if not self.fees:
            return None
        served = sum(least is not None and least <= fee for least in self.fees)
        return 100 * served // len(self.fees)

    def fee_for(self, percent: int) -> int | None:
        """The least maximum fee with this chance; None if no fee had it."""
        needed = -(-len(self.fees) * percent // 100)
        return self.fees[max(needed, 1) - 1] if self.fees else None


def quote(slots: int, markets: Sequence[MarketInput], bid_fee_bps: int) -> Quote:
    """Quote a request for so many slots against recent markets of its class."""
    found = [
        _least(slots, market, identity, bid_fee_bps) for market in markets for identity in _IDS
    ]
    found.sort(key=lambda fee: (fee is None, fee or 0))
    return Quote(slots, tuple(found))


def _least(slots: int, market: MarketInput, identity: Hash, bid_fee_bps: int) -> int | None:
    """The least maximum fee with which the request would have won; None if none would have done."""
    due = bid_fee_of(slots, market.price, bid_fee_bps)
    # Above every other fee per slot, and the price, more buys nothing.
    dearest = max((-(-buyer.max_fee // buyer.slots) for buyer in market.buyers), default=0)
    low, high = int(due), due + slots * (max(dearest, market.price) + 1)
    if not _wins(slots, high, market, identity, bid_fee_bps):
        return None
    if market.rule is Rule.THIN:
        return due + slots * market.price
    # A higher fee never loses what a lower one wins.
    while high - low > 1:
        middle = (low + high) // 2
        if _wins(slots, middle, market, identity, bid_fee_bps):
            high = middle
        else:
            low = middle
    return high


def _wins(slots: int, max_fee: int, market: MarketInput, identity: Hash, bid_fee_bps: int) -> bool:
    due = bid_fee_of(slots, market.price, bid_fee_bps)
    if max_fee <= due:
        return False
    wanted = slots
    if market.rule is Rule.THICK:
        offered = sum(seller.slots for seller in market.sellers)
        wanted = min(slots, max(1, offered // TRANCHE_PARTS))
    limit = Wei((max_fee - due) * wanted // slots)
    buyer = Buyer(identity, wanted, limit, (), (), wanted == slots)
    result = clear(replace(market, buyers=(*market.buyers, buyer)))
    verdicts = {receipt.bidder: receipt.verdict for receipt in result.receipts}
    return verdicts[identity] is Verdict.WON
