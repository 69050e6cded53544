"""The node's own asks: sealed afresh for each round, as its operator's policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.effects import Effect, Publish
from protocol.hashing import keccak
from protocol.ledger import market_of
from protocol.messages import Kind
from protocol.rotation import committee
from protocol.sealing import Offer, Terms, seal

if TYPE_CHECKING:
    from protocol.ledger import Ledger
    from protocol.messages import SealedBid
    from protocol.replica_state import ReplicaState
    from protocol.rotation import OperatorTable
    from protocol.setup import Setup
    from protocol.types import Hash


class Offers:
    """Asks once for each class and round, when the round begins: a request then finds them there.

    What is published and did not come back yet is remembered here only.
    """

    def __init__(self, setup: Setup, state: ReplicaState) -> None:
        self._setup = setup
        self._state = state
        self._offered: set[tuple[int, Hash]] = set()

    def forget(self) -> None:
        """After a restart what was published is published again."""
        self._offered.clear()

    def due(self, number: int, ledger: Ledger, table: OperatorTable) -> list[Effect]:
        """Asks for the open round that are not out yet."""
        me, effects = self._setup.me, list[Effect]()
        asked = {
            held.body.class_id
            for held in self._state.bids.values()
            if held.body.round == number and held.body.bidder == me
        }
        for class_id, policy in sorted(self._state.policies.items()):
            if policy.slots < 1 or class_id in asked or (number, class_id) in self._offered:
                continue
            announced = market_of(ledger, class_id, self._setup.params).announced
            offer = Offer(policy.price, announced.get(me, policy.slots))
            body = self._sealed(table, number, class_id, offer)
            self._offered = {(number, class_id), *(at for at in self._offered if at[0] == number)}
            slot = bytes([Kind.SEALED_BID]) + number.to_bytes(8, "big") + class_id
            effects.append(Publish(Kind.SEALED_BID, body, slot, reliable=True))
        return effects

    def _sealed(self, table: OperatorTable, number: int, class_id: Hash, offer: Offer) -> SealedBid:
        setup = self._setup
        members = set(committee(table, setup.params))
        keys = [row.sealing_key for row in table.operators if row.operator in members]
        terms = Terms(table.epoch, number, class_id, setup.me)
        # All that is sealed, and to whom, is in the seed: no key is used for two texts.
        place = f"{table.epoch} {number} {class_id.hex()} {table.seed.hex()}"
        sealed = f" {offer.slots} {offer.amount}"
        seed = keccak(setup.secret + b"ask" + (place + sealed).encode())
        return seal(setup.domain, terms, offer, keys, seed, setup.cipher)
