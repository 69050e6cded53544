"""What a request would have had to offer in recent rounds: their clearings, with it in the market.

A request's chance at a fee is the share of recent clearings that would have served it. Each is
recomputed with the request under a few ids, since chance decides where fees do not.

Of a request that would trade in tranches only the first one is tried: what later rounds would have
brought it depends on what its own tranches leave to others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from protocol.auction import Buyer, MarketInput, clear
from protocol.clearing import Rule, Verdict, tie_rank
from protocol.hashing import keccak
from protocol.ledger import bid_fee_of
from protocol.tranches import TRANCHE_PARTS
from protocol.types import Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWS: Final = 3
"""Ids that each clearing is tried with."""
_IDS: Final = tuple(Hash(keccak(b"provernet/quote" + bytes([place]))) for place in range(DRAWS))


@dataclass(frozen=True)
class Quote:
    """Least maximum fees in wei, bid fee included, that recent clearings would have served."""

    slots: int
    clearings: tuple[tuple[int | None, ...], ...]
    """One fee per draw for each clearing, in the order given; None: no fee would have done."""

    @cached_property
    def _fees(self) -> list[int | None]:
        """All of them, ascending, the impossible ones last."""
        every = [fee for draws in self.clearings for fee in draws]
        return sorted(every, key=lambda fee: (fee is None, fee or 0))

    def chance(self, fee: int) -> int | None:
        """Percent of recent clearings that would have served this maximum fee; None without any."""
        if not self._fees:
            return None
        served = sum(least is not None and least <= fee for least in self._fees)
        return 100 * served // len(self._fees)

    def fee_for(self, percent: int) -> int | None:
        """The least maximum fee with this chance; None if no fee had it."""
        needed = -(-len(self._fees) * percent // 100)
        return self._fees[max(needed, 1) - 1] if self._fees else None


def quote(slots: int, markets: Sequence[MarketInput], bid_fee_bps: int) -> Quote:
    """Quote a request for so many slots against recent markets of its class."""
    return Quote(
        slots,
        tuple(
            tuple(_least(slots, market, identity, bid_fee_bps) for identity in _IDS)
            for market in markets
        ),
    )


def slots_at_once(slots: int, market: MarketInput) -> int:
    """Slots that the request would have traded for in this clearing.

    The rule counts taken slots of the sellers, too, which records do not tell: a tranche may be
    larger than this, never smaller.
    """
    if market.rule is Rule.THIN:
        return slots
    offered = sum(seller.slots for seller in market.sellers)
    return min(slots, max(1, offered // TRANCHE_PARTS))


def _least(slots: int, market: MarketInput, identity: Hash, bid_fee_bps: int) -> int | None:
    """The least maximum fee with which the request would have won; None if none would have done."""
    wanted = slots_at_once(slots, market)
    buyers = market.buyers
    if wanted < slots:
        # One large request trades at a time: who holds slots goes on, else the beacon decides.
        turn = next((buyer for buyer in buyers if buyer.held or not buyer.combining), None)
        if turn is not None:
            mine = tie_rank(market.beacon, identity)
            if turn.held or tie_rank(market.beacon, turn.request_id) < mine:
                return None
            buyers = tuple(buyer for buyer in buyers if buyer is not turn)
    others = replace(market, buyers=buyers)
    # Above every other fee per slot, and the price, more buys nothing.
    dearest = max((-(-buyer.max_fee // buyer.slots) for buyer in buyers), default=0)
    limit = _pays(others, identity, wanted, wanted * (max(dearest, market.price) + 1))
    if limit is None:
        return None
    # Truthful: a winner pays the least that it would have won with, or loses a tie at it by chance.
    if _pays(others, identity, wanted, limit) is None:
        limit += 1
    # What the bid fee leaves of the maximum fee is shared among all slots.
    return bid_fee_of(slots, market.price, bid_fee_bps) + -(-limit * slots // wanted)


def _pays(market: MarketInput, identity: Hash, slots: int, limit: int) -> int | None:
    """What a further buyer of these slots pays, who pays at most `limit`; None if it loses."""
    buyer = Buyer(identity, slots, Wei(limit), (), (), combining=True)
    result = clear(replace(market, buyers=(*market.buyers, buyer)))
    receipt = next(receipt for receipt in result.receipts if receipt.bidder == identity)
    return receipt.amount if receipt.verdict is Verdict.WON else None
