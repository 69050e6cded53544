"""Receipts: a committee member's signed word that its list of a round will carry a bid.

A member gives one to who brought the bid, once its own share of it is good and the bid's request,
if it has one, is admissible. It names the round whose list is not signed yet. What it promised it
lists, whatever becomes of the request, its escrow or its deadline meanwhile, and though the round
before decided the bid: execution skips what can not count, and an honest member never breaks a
promise that two signatures could prove broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.effects import Effect, Publish
from protocol.messages import BidReceipt, Kind
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from protocol.application import ReplicaApplication
    from protocol.replica_state import ReplicaState

MAX_WAITING: Final = 1_024
"""Bids that wait to be answered; who brings more brings them again."""


class Receipts:
    """Who waits for receipts of which bids; what was promised stands in the replica's state."""

    def __init__(self, me: Address, state: ReplicaState) -> None:
        self._me = me
        self._state = state
        self._waiting: dict[Hash, dict[Address, None]] = {}
        self._due: set[Hash] = set()
        """Those of which something changed since they were looked at: looking is not cheap."""

    def brought(self, bid_id: Hash, peer: Address) -> None:
        """Somebody brought a bid that is held: it is answered as soon as it can be."""
        if peer != self._me and (bid_id in self._waiting or len(self._waiting) < MAX_WAITING):
            self._waiting.setdefault(bid_id, {})[peer] = None
            self._due.add(bid_id)

    def changed(self, bidder: Address | None = None) -> None:
        """A request of this bidder, or its escrow, became known; None: a round was decided."""
        for bid_id in self._waiting:
            held = self._state.bids.get(bid_id)
            if held is None or bidder in {None, held.body.bidder}:
                self._due.add(bid_id)

    def answers(self, app: ReplicaApplication, *, closed: bool, most: int) -> list[Effect]:
        """Receipts that can be given now.

        closed: whether the own list of the open round takes no more; most: bids that a list holds.
        """
        effects: list[Effect] = []
        due, self._due = sorted(self._due & self._waiting.keys()), set()
        for bid_id in due:
            held = self._state.bids.get(bid_id)
            if held is None or self._me not in app.members:
                del self._waiting[bid_id]
                continue
            place = self._promise(bid_id, app, closed, most)
            if place is not None:
                receipt = BidReceipt(app.table.epoch, place, self._me, bid_id)
                slot = bytes([Kind.BID_RECEIPT]) + place.to_bytes(8, "big") + bid_id
                effects += [
                    Publish(Kind.BID_RECEIPT, receipt, slot, to=peer)
                    for peer in self._waiting.pop(bid_id)
                ]
        return effects

    def _promise(
        self, bid_id: Hash, app: ReplicaApplication, closed: bool, most: int
    ) -> int | None:
        """Round whose list carries the bid; None as long as none is sure to."""
        promised = self._state.promised
        if bid_id in promised:
            return promised[bid_id]
        place = app.ledger.round + (2 if closed else 1)
        full = sum(at == place for at in promised.values()) >= most
        if full or not app.would_list(bid_id, place):
            return None
        promised[bid_id] = place
        # Kept though the request may run out or lose its escrow before the list is signed.
        self._state.archive.update(app.frames((bid_id,)))
        return place
