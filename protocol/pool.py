"""Requests, sealed bids and receipts that a node has heard of and no round has decided.

Everything here is bounded, and nothing of it is certified: what a member lists is judged anew when
its list is signed (`protocol/application.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.application import bid_envelope, request_envelope
from protocol.dispatch import KNOWN_CLASSES
from protocol.effects import Broadcast, Effect, Record, WatchEscrow
from protocol.eip712 import digest
from protocol.errors import RejectionReason
from protocol.ledger import admissible, wei_of
from protocol.replica_state import (
    MAX_BIDS,
    MAX_BIDS_PER_REQUEST,
    MAX_REQUESTS,
    MAX_REQUESTS_PER_OWNER,
    SignedBid,
    SignedReceipt,
    SignedRequest,
)
from protocol.sealing import is_ask
from protocol.types import Address, Hash, TimestampMs, Wei

if TYPE_CHECKING:
    from collections.abc import Collection

    from protocol.application import ReplicaApplication
    from protocol.eip712 import Domain
    from protocol.jobs import Jobs
    from protocol.ledger import Ledger
    from protocol.messages import BidReceipt, Envelope, ProofRequest, SealedBid
    from protocol.params import ProtocolParams
    from protocol.replica_state import ReplicaState

MAX_ORPHANS: Final = 256
"""Buyers' bids that came before their requests."""
ENOUGH: Final = Wei(1 << 128)
"""An escrow that no reservation exhausts."""


class Pool:
    """The pools in a replica's state."""

    def __init__(
        self, me: Address, domain: Domain, params: ProtocolParams, state: ReplicaState, jobs: Jobs
    ) -> None:
        self._me = me
        self._domain = domain
        self._params = params
        self._state = state
        self._jobs = jobs
        self._relayed_ms: dict[Hash, int] = {}
        """When a request that no round has admitted was spread last."""

    def hear_request(
        self, envelope: Envelope, body: ProofRequest, app: ReplicaApplication, now_ms: int
    ) -> list[Effect]:
        """Take a request in; its escrow is asked for now and judged whenever a list is signed."""
        state = self._state
        request_id = digest(self._domain, body)
        if request_id in state.jobs:
            return []
        owner = Address(body.requester)
        reason = self.refusal(body, ENOUGH, app, now_ms)
        mine = sum(held.body.requester == owner for held in state.requests.values())
        if reason is None and (
            len(state.requests) >= MAX_REQUESTS or mine >= MAX_REQUESTS_PER_OWNER
        ):
            reason = RejectionReason.QUEUE_FULL
        if reason is not None:
            return [_refused("request_refused", "request", request_id, reason, now_ms)]
        held = SignedRequest(body, envelope.signature)
        state.requests[request_id] = held
        # The request is public before its bid: anybody can have bid for it.
        for bid_id, bid in list(state.bids.items()):
            if bid.body.request_id == request_id and bid.body.bidder != owner:
                del state.bids[bid_id]
        self._jobs.open(request_id, held, now_ms)
        return [WatchEscrow(owner)]

    def refusal(
        self, body: ProofRequest, escrow: Wei, app: ReplicaApplication, now_ms: int
    ) -> RejectionReason | None:
        """Why a request would not be taken in with this escrow."""
        return admissible(
            app.ledger,
            digest(self._domain, body),
            body,
            self._state.programs.get(Hash(body.program_id)),
            escrow,
            app.view,
            TimestampMs(now_ms),
            [row.operator for row in app.table.operators],
            self._params,
        )

    def hear_bid(
        self, envelope: Envelope, body: SealedBid, app: ReplicaApplication, now_ms: int
    ) -> list[Effect]:
        """Take a sealed bid in; its request may come later."""
        bid_id = digest(self._domain, body)
        if bid_id in self._state.bids:
            return []
        reason = self.bid_refusal(body, app)
        if reason is not None:
            return [_refused("bid_refused", "bid", bid_id, reason, now_ms)]
        self._state.bids[bid_id] = SignedBid(body, envelope.signature)
        if not is_ask(body) and body.request_id not in self._state.requests:
            self._drop_orphans()
        return []

    def bid_refusal(self, body: SealedBid, app: ReplicaApplication) -> RejectionReason | None:
        """Why a sealed bid would not be taken in.

        Whether its dealing is good is judged when a list is signed: not every node has a share.
        """
        ledger = app.ledger
        if body.round > ledger.round + 2 or body.epoch > ledger.next_epoch + 1:
            return RejectionReason.TOO_EARLY
        return self._ask_fault(body, app) if is_ask(body) else self._buy_fault(body, ledger)

    def hear_receipt(
        self, envelope: Envelope, body: BidReceipt, members: Collection[Address]
    ) -> SignedReceipt | None:
        """Keep what a member promised of a bid in the pool; None if that is known, or no matter."""
        bid_id, member = Hash(body.bid_id), Address(body.member)
        if member == self._me:
            # An earlier life may have promised what the disk has forgotten: it is kept.
            self._state.promised.setdefault(bid_id, body.round)
        if bid_id not in self._state.bids or member not in members:
            return None
        held = self._state.receipts.setdefault(bid_id, {})
        receipt = SignedReceipt(body, envelope.signature)
        return receipt if held.setdefault(member, receipt) is receipt else None

    def escrow(self, requester: Address, amount: int, now_ms: int) -> list[Effect]:
        """Note an escrow, and forget requests that it could never back: they fill the pool."""
        state = self._state
        state.escrow[requester] = amount
        state.unrefreshed.pop(requester, None)
        effects: list[Effect] = []
        for request_id, held in list(state.requests.items()):
            if held.body.requester == requester and wei_of(held.body.reserve) > amount:
                self._jobs.drop(request_id)
                reason = RejectionReason.ESCROW_TOO_LOW
                effects.append(_refused("request_refused", "request", request_id, reason, now_ms))
        return effects

    def decided(self, bids: Collection[bytes], listed: Collection[bytes], ledger: Ledger) -> None:
        """Let go what a round decided, and what no later one can; `listed`: by the own list."""
        state, gone = self._state, set(bids)
        over = set(ledger.open) | set(ledger.closed)
        state.requests = {key: held for key, held in state.requests.items() if key not in over}
        state.bids = {
            bid: held
            for bid, held in state.bids.items()
            if bid not in gone and goes_on(held.body, ledger)
        }
        state.receipts = {bid: held for bid, held in state.receipts.items() if bid in state.bids}
        state.left_out = {
            bid: state.left_out.get(bid, 0) + (bid in listed)
            for bid, held in state.bids.items()
            if not is_ask(held.body) and (bid in listed or bid in state.left_out)
        }

    def relay(self, now_ms: int) -> list[Effect]:
        """Spread again what f + 1 members have to know before a round can open for it."""
        effects: list[Effect] = []
        relayed = self._relayed_ms
        self._relayed_ms = {key: relayed.get(key, now_ms) for key in self._state.requests}
        for request_id, at_ms in self._relayed_ms.items():
            if now_ms >= at_ms + self._params.relay_ms:
                self._relayed_ms[request_id] = now_ms
                effects += self.spread(request_id)
        return effects

    def next_relay_ms(self) -> int | None:
        """When `relay` is due."""
        due = [at_ms + self._params.relay_ms for at_ms in self._relayed_ms.values()]
        return min(due, default=None)

    def spread(self, request_id: Hash) -> list[Effect]:
        """A request and what was bid for it, to everybody."""
        request = self._state.requests[request_id]
        bids = [held for held in self._state.bids.values() if held.body.request_id == request_id]
        envelopes = [request_envelope(request), *map(bid_envelope, bids)]
        return [Broadcast(envelope, reliable=True) for envelope in envelopes]

    def _drop_orphans(self) -> None:
        """Bids whose requests are not known cost nothing to make: only the latest are kept."""
        orphans = [
            bid_id
            for bid_id, held in self._state.bids.items()
            if not is_ask(held.body) and held.body.request_id not in self._state.requests
        ]
        for bid_id in orphans[:-MAX_ORPHANS]:
            del self._state.bids[bid_id]

    def _buy_fault(self, body: SealedBid, ledger: Ledger) -> RejectionReason | None:
        bids = [held.body for held in self._state.bids.values()]
        if body.epoch < ledger.next_epoch:
            return RejectionReason.STALE
        if body.request_id in ledger.open or body.request_id in ledger.closed:
            return RejectionReason.ALREADY_KNOWN
        request = self._state.requests.get(Hash(body.request_id))
        if request is not None and request.body.requester != body.bidder:
            return RejectionReason.WRONG_SENDER
        mine = [other for other in bids if other.bidder == body.bidder and not is_ask(other)]
        if sum(other.request_id == body.request_id for other in mine) >= MAX_BIDS_PER_REQUEST:
            return RejectionReason.SECOND_BID
        most = MAX_BIDS_PER_REQUEST * MAX_REQUESTS_PER_OWNER
        full = len(bids) >= MAX_BIDS or len(mine) >= most
        return RejectionReason.QUEUE_FULL if full else None

    def _ask_fault(self, body: SealedBid, app: ReplicaApplication) -> RejectionReason | None:
        if body.round <= app.ledger.round:
            return RejectionReason.STALE
        if app.table.position_of(body.bidder) is None:
            return RejectionReason.NOT_A_MEMBER
        if body.class_id not in KNOWN_CLASSES:
            return RejectionReason.UNKNOWN_CLASS
        slot = (body.round, body.class_id, body.bidder)
        bids = [held.body for held in self._state.bids.values()]
        if any((other.round, other.class_id, other.bidder) == slot for other in bids):
            return RejectionReason.SECOND_BID
        return None


def goes_on(bid: SealedBid, ledger: Ledger) -> bool:
    """Whether a bid that was not decided can be so in a later round than the ledger's."""
    if is_ask(bid):
        return bid.round > ledger.round
    over = bid.request_id in ledger.open or bid.request_id in ledger.closed
    return bid.epoch >= ledger.next_epoch and not over


def _refused(event: str, what: str, identity: Hash, reason: RejectionReason, now_ms: int) -> Effect:
    told = sorted({what: identity.hex(), "reason": reason.code}.items())
    return Record(event, TimestampMs(now_ms), tuple(told))
