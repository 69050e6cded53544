"""The markets of a decided round: from certified state and bids to awards, receipts and prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from protocol.auction import Buyer, MarketInput, MarketResult, Seller, Trade, clear
from protocol.award import Assignment, Award
from protocol.clearing import Rule, Verdict
from protocol.errors import RejectionReason
from protocol.ledger import ClassMarket, OpenRequest, ask_fault, market_of, occupied, wei_of
from protocol.pricing import RECENT_PRICES
from protocol.reputation import NEWCOMER, quality, slot_cap
from protocol.round_content import Skipped
from protocol.tranches import wanted_slots
from protocol.types import MAX_AMOUNT, Address, Hash, RoundNumber, Wei

if TYPE_CHECKING:
    from protocol.ledger import Ledger
    from protocol.messages import AskBid
    from protocol.params import ProtocolParams
    from protocol.rotation import OperatorTable
    from protocol.round_content import RoundContent

EPOCH_PRICE_FACTOR: Final = 8
"""Within an epoch the reference price stays within this factor of where the epoch found it."""


class MarketRound:
    """Clears every class of one round; the results stand in its fields."""

    def __init__(
        self,
        ledger: Ledger,
        content: RoundContent,
        table: OperatorTable,
        params: ProtocolParams,
    ) -> None:
        self.ledger = ledger
        """With what the round did before its markets are cleared."""
        self.content = content
        self.table = table
        self.params = params
        self.open = dict(ledger.open)
        self.markets = dict(ledger.markets)
        self.awarded: list[Hash] = []
        self.clearings: list[tuple[MarketInput, MarketResult]] = []
        self.skipped: list[Skipped] = []

    def clear(self, beacon: Hash) -> None:
        """Clear every class that has both sides, in order of class id."""
        asks = self._asks_by_class()
        waiting = [entry for entry in self.open.values() if entry.award is None]
        for class_id in sorted(asks.keys() & {entry.class_id for entry in waiting}):
            about = self._market(class_id)
            sellers, announced = self._sellers(class_id, asks[class_id])
            entries = sorted(
                (entry for entry in waiting if entry.class_id == class_id),
                key=lambda entry: entry.request_id,
            )
            wanted = {entry.request_id: entry.missing for entry in entries}
            if about.rule is Rule.THICK:
                wanted = wanted_slots(entries, announced, beacon)
            market = MarketInput(
                class_id=class_id,
                rule=about.rule,
                price=about.price,
                recent=about.recent,
                beacon=beacon,
                buyers=tuple(
                    _buyer(entry, wanted[entry.request_id])
                    for entry in entries
                    if entry.request_id in wanted
                ),
                waiting=tuple(
                    entry.request_id for entry in entries if entry.request_id not in wanted
                ),
                sellers=tuple(sellers),
            )
            self._apply_clearing(about, market, clear(market))

    def _asks_by_class(self) -> dict[Hash, list[AskBid]]:
        """Valid asks, one per operator and class: that of the lowest id announces its slots."""
        asks: dict[Hash, list[AskBid]] = {}
        taken: set[tuple[bytes, bytes]] = set()
        for bid_id in sorted(self.content.asks.keys() & {Hash(b) for b in self.content.value.bids}):
            ask = self.content.asks[bid_id]
            place = (ask.class_id, ask.operator)
            about = self._market(Hash(ask.class_id))
            reason = ask_fault(ask, about.announced, self.ledger)
            if self.table.position_of(ask.operator) is None:
                reason = RejectionReason.NOT_A_MEMBER
            elif place in taken:
                reason = RejectionReason.SECOND_BID
            if reason is not None:
                self.skipped.append(Skipped(bid_id, reason))
                continue
            taken.add(place)
            announced = {**about.announced, Address(ask.operator): ask.slots}
            self.markets[Hash(ask.class_id)] = replace(about, announced=announced)
            asks.setdefault(Hash(ask.class_id), []).append(ask)
        return asks

    def _sellers(self, class_id: Hash, asks: list[AskBid]) -> tuple[list[Seller], int]:
        """Sellers with their effective slots, and all slots that were announced.

        Effective: those offered, no more than reputation allows and stake covers, less those taken.
        """
        busy = occupied(self.open.values(), class_id)
        bound = occupied(self.open.values())
        sellers, announced = [], 0
        for ask in sorted(asks, key=lambda ask: ask.operator):
            operator = Address(ask.operator)
            standing = self.ledger.standings.get(operator, NEWCOMER)
            cap = slot_cap(standing, self.params.newcomer_slots)
            announced += min(ask.slots, cap)
            covered = self.table.weight_of(operator) // self.params.slot_stake
            free = min(
                min(ask.slots, cap) - busy.get(operator, 0), covered - bound.get(operator, 0)
            )
            if free > 0:
                sellers.append(Seller(operator, free, wei_of(ask.price), quality(standing)))
        return sellers, announced

    def _market(self, class_id: Hash) -> ClassMarket:
        """A class's market; what this round changed of it stands in `markets`."""
        return market_of(replace(self.ledger, markets=self.markets), class_id, self.params)

    def _apply_clearing(
        self, about: ClassMarket, market: MarketInput, result: MarketResult
    ) -> None:
        self.clearings.append((market, result))
        for receipt in result.receipts[: len(market.buyers) + len(market.waiting)]:
            entry = self.open[Hash(receipt.bidder)]
            # Who can not pay the price gives its turn, and the slots that it has, to others.
            lapsed = receipt.verdict is Verdict.FEE_BELOW_PRICE
            held = None if lapsed else entry.held
            self.open[entry.request_id] = replace(entry, held=held, verdict=receipt.verdict.code)
        for trade in result.trades:
            self._award(trade)
        sizes = [seller.slots for seller in market.sellers]
        self.markets[market.class_id] = replace(
            about,
            price=clamped(result.next_price, about.anchor),
            recent=recent_prices(market, result),
            clearings=about.clearings + 1,
            buyers=about.buyers + sum(not buyer.allowlist for buyer in market.buyers),
            sellers=about.sellers + len(sizes),
            slots=about.slots + sum(sizes),
            largest=about.largest + max(sizes, default=0),
        )

    def _award(self, trade: Trade) -> None:
        """Give a request the slots that it bought; it is awarded when none is missing."""
        entry = self.open[trade.request_id]
        bought = Award(
            round=RoundNumber(self.content.value.round),
            fee=trade.fee,
            assignments=tuple(
                Assignment(operator, pay, ())
                for operator, pay in zip(trade.provers, trade.pays, strict=True)
            ),
            standby=trade.standby,
        )
        have = bought if entry.held is None else entry.held.extend(bought)
        if len(have.assignments) < entry.slots:
            self.open[entry.request_id] = replace(entry, held=have)
            return
        self.open[entry.request_id] = replace(entry, held=None, award=have)
        self.awarded.append(entry.request_id)


def _buyer(entry: OpenRequest, slots: int) -> Buyer:
    """A request in its market, for so many of the slots that it still misses."""
    return Buyer(
        request_id=entry.request_id,
        slots=slots,
        max_fee=entry.limit(slots),
        allowlist=tuple(Address(operator) for operator in entry.request.allowlist),
        held=() if entry.held is None else entry.held.provers,
        combining=slots == entry.missing,
    )


def clamped(price: Wei, anchor: Wei) -> Wei:
    """A reference price within an epoch that began with `anchor`."""
    low, high = max(anchor // EPOCH_PRICE_FACTOR, 1), anchor * EPOCH_PRICE_FACTOR
    return Wei(min(max(price, low), high, MAX_AMOUNT))


def recent_prices(market: MarketInput, result: MarketResult) -> tuple[Wei, ...]:
    """Whole wei of the last thick prices, with this one."""
    if market.rule is not Rule.THICK or result.price is None:
        return market.recent
    latest = Wei(result.price.num // result.price.den)
    return (*market.recent, latest)[-RECENT_PRICES:]
