"""Certified state: what all operators agree on after a round, and what may enter it.

A Ledger is a value: `protocol/execution.py` makes the next one out of a decided round, as a pure
function of this one and the Value; there is no clock in it. Its fields are plain, so that msgspec
makes a snapshot of it: as JSON, since amounts outgrow the 64 bits of msgpack's integers.

Money. A request reserves its `reserve` from the round that admits it until the round that closes
it, and is debited once at most, in that closing round, with at most its maximum fee. What a batch
debits leaves the escrow on chain only when the batch is settled there, which the ledger can not
know: whoever asks `admissible` or `listable` gives as escrow the final balance less the debits of
batches that are not final on chain yet.

Two requests of one owner can not overdraw: an honest member lists (`listable`) only what fits its
escrow, and any two requests that both are in N - f lists share an honest list.

Market. A request pays a bid fee for being admitted, out of its maximum fee, and trades with the
rest. In a thick market one that wants more than an eighth of the slots buys them in tranches, round
after round; it is awarded when it has all of them, and those that it has are taken meanwhile.
Sellers announce their slots with their first ask of an epoch. Which rule clears a class is fixed
for an epoch by the counts of the epoch before.

Memory. A closed request's id is kept so that it can not come back, until no honest member could
list it anyway: past its deadline view. Time is certified through `view_floor`: a request is listed
by honest members only within `max_deadline_views` before its deadline, and expired only after it,
so each bounds the current view from below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.award import Award
from protocol.clearing import Rule, rule_for
from protocol.dispatch import KNOWN_CLASSES
from protocol.errors import RejectionReason
from protocol.inputs import ProgramRegistered
from protocol.messages import AskBid, ProofRequest
from protocol.params import ProtocolParams
from protocol.reputation import Standing
from protocol.types import (
    MAX_AMOUNT,
    ZERO_HASH,
    Address,
    Epoch,
    Hash,
    RoundNumber,
    TimestampMs,
    View,
    Wei,
)

WHALE_PARTS: Final = 4
"""A class in which one seller has more than one part in so many of the slots is thin."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request in the market (no award yet) or assigned; amounts in wei."""

    request_id: Hash
    bid_id: Hash
    class_id: Hash
    max_fee: Wei
    bid_fee: Wei
    """Part of the maximum fee that is charged whatever becomes of the request."""
    request: ProofRequest
    sponsor: bytes
    """Operator that is paid back, if it is a probation; else empty."""
    held: Award | None
    """Slots bought in tranches, as long as some are missing: nothing is proven yet."""
    award: Award | None
    verdict: str
    """Code of what its last clearing said; empty before."""

    @property
    def slots(self) -> int:
        """Its segments and the combining one."""
        return len(self.request.input_hashes)

    @property
    def missing(self) -> int:
        """Slots that it still has to buy."""
        have = self.award or self.held
        return self.slots - (0 if have is None else len(have.assignments))

    def limit(self, slots: int) -> Wei:
        """The most that so many of its slots may cost: their share of what the bid fee leaves."""
        return Wei((self.max_fee - self.bid_fee) * slots // self.slots)

    @property
    def requester(self) -> Address:
        """Who pays."""
        return Address(self.request.requester)

    @property
    def reserve(self) -> Wei:
        """Escrow that it binds while it is open."""
        return wei_of(self.request.reserve)


@dataclass(frozen=True, slots=True)
class ClassMarket:
    """A class's market, as of the epoch of its last clearing."""

    epoch: Epoch
    rule: Rule
    """What clears it in this epoch."""
    price: Wei
    """Reference price of a slot."""
    anchor: Wei
    """What the reference price was when the epoch began."""
    recent: tuple[Wei, ...]
    """Whole wei that a slot cost in the last thick clearings, oldest first."""
    announced: Mapping[Address, int]
    """Slots that operators offer for the epoch."""
    clearings: int
    """In this epoch, like the following sums over them."""
    buyers: int
    """Requests that named no operators."""
    sellers: int
    slots: int
    """Slots on offer."""
    largest: int
    """Slots of the largest seller."""

    def next_rule(self) -> Rule:
        """The rule for the following epoch."""
        if not self.clearings:
            return Rule.THIN
        crowded = rule_for(self.buyers // self.clearings, self.sellers // self.clearings)
        whale = WHALE_PARTS * self.largest > self.slots
        return Rule.THIN if whale else crowded


@dataclass(frozen=True, slots=True)
class Ledger:
    """State after a decided round; mappings are never changed in place."""

    round: RoundNumber
    """The last decided round; 0 before the first."""
    batch: Hash
    """Digest of that round's Batch: the parent of the next Value."""
    next_epoch: Epoch
    """Whose table decides the next round."""
    sequence: int
    """Number of the last settled batch; 0 before the first."""
    root: Hash
    """Root of the last settled batch."""
    open: Mapping[Hash, OpenRequest]
    closed: Mapping[Hash, View]
    """Deadline views of requests that were decided, as long as they could come again."""
    view_floor: View
    """The current view is at least this."""
    credits: Mapping[Address, Wei]
    """What each operator earned so far."""
    markets: Mapping[Hash, ClassMarket]
    """By class, once it was cleared."""
    standings: Mapping[Address, Standing]
    """Reputation of every operator of which an outcome is certified."""
    probations: Mapping[Address, Epoch]
    """Newcomers with the last epoch in which each was tried."""
    owed: Mapping[Address, Wei]
    """What the treasury still has to pay sponsors back."""
    treasury: Wei
    """Debits less credits so far."""


def genesis(epoch: Epoch) -> Ledger:
    """State before the first round, which the table of this epoch decides."""
    return Ledger(
        round=RoundNumber(0),
        batch=ZERO_HASH,
        next_epoch=epoch,
        sequence=0,
        root=ZERO_HASH,
        open={},
        closed={},
        view_floor=View(0),
        credits={},
        markets={},
        standings={},
        probations={},
        owed={},
        treasury=Wei(0),
    )


def wei_of(amount: bytes) -> Wei:
    """The amount of 32 big-endian bytes."""
    return Wei(int.from_bytes(amount, "big"))


def reserved(ledger: Ledger, requester: bytes) -> Wei:
    """Escrow that a requester's open requests bind."""
    mine = [entry.reserve for entry in ledger.open.values() if entry.requester == requester]
    return Wei(sum(mine))


def occupied(entries: Iterable[OpenRequest], class_id: bytes | None = None) -> dict[Address, int]:
    """Slots that certified, unfinished jobs take, by operator; of one class, or of all."""
    slots: dict[Address, int] = {}
    for entry in entries:
        have = entry.award or entry.held
        if have is not None and class_id in {None, entry.class_id}:
            for operator in have.provers:
                slots[operator] = slots.get(operator, 0) + 1
    return slots


def unserved(ledger: Ledger, class_id: bytes) -> int:
    """Number of requests that wait in a class's market: while there are any, asks make sense."""
    waiting = [entry for entry in ledger.open.values() if entry.award is None]
    return sum(entry.class_id == class_id for entry in waiting)


def reference_price(ledger: Ledger, class_id: bytes, params: ProtocolParams) -> Wei:
    """Posted price of a slot of the class in the next clearing."""
    known = ledger.markets.get(Hash(class_id))
    return Wei(params.initial_price_wei) if known is None else known.price


def market_of(ledger: Ledger, class_id: Hash, params: ProtocolParams) -> ClassMarket:
    """The market of a class in the ledger's next round."""
    epoch, known = ledger.next_epoch, ledger.markets.get(class_id)
    if known is not None and known.epoch == epoch:
        return known
    price = reference_price(ledger, class_id, params)
    rule = Rule.THIN
    # A class that nobody traded in for a whole epoch begins anew.
    if known is not None and known.epoch + 1 == epoch:
        rule = known.next_rule()
    recent = () if known is None else known.recent
    return ClassMarket(epoch, rule, price, price, recent, {}, 0, 0, 0, 0, 0)


def bid_fee_of(slots: int, price: Wei, bid_fee_bps: int) -> Wei:
    """What being admitted costs for so many slots at this reference price: at least 1 wei each."""
    return Wei(max(slots, -(-slots * price * bid_fee_bps // 10_000)))


def admissible(
    ledger: Ledger,
    request_id: Hash,
    request: ProofRequest,
    program: ProgramRegistered | None,
    escrow: Wei,
    view: View,
    now_ms: TimestampMs,
    members: Collection[bytes],
    params: ProtocolParams,
) -> RejectionReason | None:
    """Why a request may not enter this node's pool, None if it may.

    Its signature was checked at ingress; its bid is sealed. `program` is None if the program is not
    registered; `members` are the operators of the table.
    """
    age_ms = now_ms - request.issued_at * 1_000
    allowlist = request.allowlist
    if request_id in ledger.open or request_id in ledger.closed:
        return RejectionReason.ALREADY_KNOWN
    if program is None:
        return RejectionReason.UNKNOWN_PROGRAM
    if not 2 <= len(request.input_hashes) <= program.max_segments + 1:
        return RejectionReason.BAD_SHAPE
    if request.copies != 1:
        return RejectionReason.COPIES_UNSUPPORTED
    if not 0 < wei_of(request.reserve) <= MAX_AMOUNT:
        return RejectionReason.AMOUNT_OUT_OF_RANGE
    price = reference_price(ledger, program.class_id, params)
    fee = bid_fee_of(len(request.input_hashes), price, params.bid_fee_bps)
    if fee >= wei_of(request.reserve):
        # The maximum fee is no higher.
        return RejectionReason.FEE_BELOW_BID_FEE
    if allowlist and not any(operator in members for operator in allowlist):
        return RejectionReason.ALLOWLIST_EMPTY
    # An old one may have waited for a partition to heal; its deadline says how long it can.
    oldest_ms = params.max_deadline_views * params.view_ms + params.issued_at_bound_ms
    if not -params.issued_at_bound_ms <= age_ms <= oldest_ms:
        return RejectionReason.ISSUED_AT_OFF
    if escrow - reserved(ledger, request.requester) < wei_of(request.reserve):
        return RejectionReason.ESCROW_TOO_LOW
    return deadline_fault(request, view, params)


def deadline_fault(
    request: ProofRequest, view: View, params: ProtocolParams
) -> RejectionReason | None:
    """Why a request's deadline does not suit the current view, None if it does."""
    left = request.deadline_view - view
    if left < 0:
        return RejectionReason.DEADLINE_PAST
    if left < params.min_deadline_views:
        return RejectionReason.DEADLINE_TOO_NEAR
    if left > params.max_deadline_views:
        return RejectionReason.DEADLINE_TOO_FAR
    return None


def listable(
    ledger: Ledger,
    pool: Mapping[Hash, tuple[Hash, ProofRequest]],
    escrow_of: Callable[[Address], Wei],
    view: View,
    params: ProtocolParams,
) -> tuple[Hash, ...]:
    """Bid ids of the pool that this member may list now, ascending.

    pool: id of a buyer's bid -> id and body of its request. In bid-id order until an owner's free
    escrow is exhausted, one bid per request, and only what can still be proven by its deadline.
    """
    free: dict[Address, int] = {}
    taken: set[bytes] = set()
    listed = []
    for bid_id in sorted(pool):
        request_id, request = pool[bid_id]
        owner = Address(request.requester)
        known = request_id in ledger.open or request_id in ledger.closed or request_id in taken
        if known or deadline_fault(request, view, params) is not None:
            continue
        left = free.setdefault(owner, escrow_of(owner) - reserved(ledger, owner))
        if left < wei_of(request.reserve):
            continue
        free[owner] = left - wei_of(request.reserve)
        taken.add(request_id)
        listed.append(bid_id)
    return tuple(listed)


def ask_fault(
    ask: AskBid, announced: Mapping[Address, int], ledger: Ledger
) -> RejectionReason | None:
    """Why an ask can not trade in the next round, None if it can.

    `announced` are the slots of its class by operator, fixed by the first ask of the epoch.
    """
    if (ask.epoch, ask.round) != (ledger.next_epoch, ledger.round + 1):
        return RejectionReason.STALE
    if ask.slots < 1:
        return RejectionReason.ZERO_SLOTS
    if not 0 < wei_of(ask.price) <= MAX_AMOUNT:
        return RejectionReason.AMOUNT_OUT_OF_RANGE
    if ask.class_id not in KNOWN_CLASSES:
        return RejectionReason.UNKNOWN_CLASS
    if announced.get(Address(ask.operator), ask.slots) != ask.slots:
        return RejectionReason.SLOTS_CHANGED
    return None
