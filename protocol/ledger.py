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

Memory. A closed request's id is kept so that it can not come back, until no honest member could
list it anyway: past its deadline view. Time is certified through `view_floor`: a request is listed
by honest members only within `max_deadline_views` before its deadline, and expired only after it,
so each bounds the current view from below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from protocol.award import Award
from protocol.errors import RejectionReason
from protocol.inputs import ProgramRegistered
from protocol.messages import ProofRequest, RequestBody
from protocol.params import ProtocolParams
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


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request in the market (no award yet) or assigned."""

    request_id: Hash
    bid_id: Hash
    class_id: Hash
    max_fee: Wei
    request: ProofRequest
    award: Award | None

    @property
    def slots(self) -> int:
        """Its segments and the combining one."""
        return len(self.request.input_hashes)

    @property
    def requester(self) -> Address:
        """Who pays."""
        return Address(self.request.requester)

    @property
    def reserve(self) -> Wei:
        """Escrow that it binds while it is open."""
        return wei_of(self.request.reserve)


@dataclass(frozen=True, slots=True)
class ReferencePrice:
    """A class's posted price, and what it was when the epoch of its last clearing began."""

    price: Wei
    epoch: Epoch
    anchor: Wei


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
    prices: Mapping[Hash, ReferencePrice]
    """By class, once it was cleared."""
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
        prices={},
        treasury=Wei(0),
    )


def wei_of(amount: bytes) -> Wei:
    """The amount of 32 big-endian bytes."""
    return Wei(int.from_bytes(amount, "big"))


def reserved(ledger: Ledger, requester: bytes) -> Wei:
    """Escrow that a requester's open requests bind."""
    mine = [entry.reserve for entry in ledger.open.values() if entry.requester == requester]
    return Wei(sum(mine))


def occupied(ledger: Ledger, class_id: bytes) -> dict[Address, int]:
    """Slots of a class that certified, unfinished jobs take, by operator."""
    slots: dict[Address, int] = {}
    for entry in ledger.open.values():
        if entry.award is not None and entry.class_id == class_id:
            for operator in entry.award.provers:
                slots[operator] = slots.get(operator, 0) + 1
    return slots


def unserved(ledger: Ledger, class_id: bytes) -> int:
    """Number of requests that wait in a class's market: while there are any, asks make sense."""
    waiting = [entry for entry in ledger.open.values() if entry.award is None]
    return sum(entry.class_id == class_id for entry in waiting)


def reference_price(ledger: Ledger, class_id: bytes, params: ProtocolParams) -> Wei:
    """Posted price of a slot of the class in the next clearing."""
    known = ledger.prices.get(Hash(class_id))
    return Wei(params.initial_price_wei) if known is None else known.price


def admissible(
    ledger: Ledger,
    body: RequestBody,
    program: ProgramRegistered | None,
    escrow: Wei,
    view: View,
    now_ms: TimestampMs,
    members: Collection[bytes],
    params: ProtocolParams,
) -> RejectionReason | None:
    """Why a request may not enter this node's pool, None if it may.

    Its signatures and that its bid names it were checked at ingress. `program` is None if the
    program is not registered; `members` are the operators of the table.
    """
    request = body.request
    issued_off = abs(request.issued_at * 1_000 - now_ms)
    allowlist = request.allowlist
    if Hash(body.bid.request_id) in ledger.open or Hash(body.bid.request_id) in ledger.closed:
        return RejectionReason.ALREADY_KNOWN
    if program is None:
        return RejectionReason.UNKNOWN_PROGRAM
    if not 2 <= len(request.input_hashes) <= program.max_segments + 1:
        return RejectionReason.BAD_SHAPE
    if request.copies != 1:
        return RejectionReason.COPIES_UNSUPPORTED
    if not (0 < wei_of(body.bid.max_fee) <= MAX_AMOUNT and wei_of(request.reserve) <= MAX_AMOUNT):
        return RejectionReason.AMOUNT_OUT_OF_RANGE
    if wei_of(body.bid.max_fee) > wei_of(request.reserve):
        return RejectionReason.FEE_ABOVE_RESERVE
    if allowlist and not any(operator in members for operator in allowlist):
        return RejectionReason.ALLOWLIST_EMPTY
    if issued_off > params.issued_at_bound_ms:
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
    pool: Mapping[Hash, RequestBody],
    escrow_of: Callable[[Address], Wei],
    view: View,
    params: ProtocolParams,
) -> tuple[Hash, ...]:
    """Bid ids of the pool that this member may list now, ascending.

    In bid-id order until an owner's free escrow is exhausted, one bid per request, and only what
    can still be proven by its deadline.
    """
    free: dict[Address, int] = {}
    taken: set[bytes] = set()
    listed = []
    for bid_id in sorted(pool):
        body = pool[bid_id]
        request_id, owner = Hash(body.bid.request_id), Address(body.request.requester)
        known = request_id in ledger.open or request_id in ledger.closed or request_id in taken
        if known or deadline_fault(body.request, view, params) is not None:
            continue
        left = free.setdefault(owner, escrow_of(owner) - reserved(ledger, owner))
        if left < wei_of(body.request.reserve):
            continue
        free[owner] = left - wei_of(body.request.reserve)
        taken.add(request_id)
        listed.append(bid_id)
    return tuple(listed)


def ask_fault(
    ask_epoch: int, ask_round: int, slots: int, price: Wei, ledger: Ledger
) -> RejectionReason | None:
    """Why an ask can not trade in the next round, None if it can."""
    if (ask_epoch, ask_round) != (ledger.next_epoch, ledger.round + 1):
        return RejectionReason.STALE
    if slots < 1:
        return RejectionReason.ZERO_SLOTS
    if not 0 < price <= MAX_AMOUNT:
        return RejectionReason.AMOUNT_OUT_OF_RANGE
    return None
