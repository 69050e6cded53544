"""Execution of a decided round: certified state and Value in, the next state and batch out.

The order is fixed: outcomes first (they free escrow and slots, and make reputations), then the
decided requests enter the market, then every class with bids is cleared. Among outcomes, a
completion goes before whatever would end the request otherwise, and a reassignment comes last. What
can not be applied, whoever vouched for it, is skipped with a reason; no decided set makes this
raise.

Nodes that hold all bodies that `missing` asks for compute the same Execution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from protocol.auction import MarketInput, MarketResult
from protocol.award import Award
from protocol.batch import (
    AccountAmount,
    Batch,
    Result,
    ResultStatus,
    SettledBatch,
    build_batch,
    unsettled_batch,
)
from protocol.eip712 import Domain, batch_digest, digest, value_digest
from protocol.errors import LocalProtocolError, RejectionReason
from protocol.hashing import keccak
from protocol.ledger import (
    Ledger,
    OpenRequest,
    bid_fee_of,
    reference_price,
    wei_of,
)
from protocol.market_record import markets_hash
from protocol.market_round import MarketRound
from protocol.messages import ProofRequest
from protocol.outcomes import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    Outcome,
    Reassigned,
    kind_of,
)
from protocol.params import ProtocolParams
from protocol.probation import sponsored
from protocol.reputation import (
    NEWCOMER,
    forgiven,
    lost,
    proved,
    reputation_root,
    weight_of,
)
from protocol.rotation import OperatorTable
from protocol.round_content import Buy, RoundContent, Skipped
from protocol.types import MAX_AMOUNT, ZERO_HASH, Address, Epoch, Hash, RoundNumber, View, Wei

_BEACON_TAG: Final = b"provernet/beacon/1"


@dataclass(frozen=True, slots=True)
class Execution:
    """What a decided round did. Request ids ascend in each tuple."""

    ledger: Ledger
    header: Batch
    """What COMMIT signs; its digest is `ledger.batch`."""
    settled: SettledBatch | None
    """The batch that goes on chain, if the round touched money or results."""
    beacon: Hash
    admitted: tuple[Hash, ...]
    """Requests that entered the market."""
    awarded: tuple[Hash, ...]
    """Requests that won; their awards stand in `ledger.open`."""
    reassigned: tuple[tuple[Hash, int], ...]
    """Segments that went to a standby."""
    returned: tuple[Hash, ...]
    """Requests that no operator is left for: back in the market, maybe awarded again at once."""
    closed: tuple[Result, ...]
    """Requests that are over."""
    refused: tuple[tuple[Hash, RejectionReason], ...]
    """Requests that never entered the market because their bid was no good: nothing is charged."""
    clearings: tuple[tuple[MarketInput, MarketResult], ...]
    """By class id; they hold the receipts, and all that is needed to check them again."""
    skipped: tuple[Skipped, ...]


def missing(content: RoundContent) -> frozenset[Hash]:
    """Ids of bodies and programs that `execute` needs and this content lacks."""
    value = content.value
    bids = {Hash(bid) for bid in value.bids}
    bids -= content.buys.keys() | content.asks.keys() | content.void.keys()
    outcomes = {Hash(outcome) for outcome in value.outcomes} - set(content.outcomes)
    named = {Hash(body.request.program_id) for body in content.buys.values()}
    return frozenset(bids | outcomes | (named - set(content.programs)))


def execute(
    ledger: Ledger,
    content: RoundContent,
    table: OperatorTable,
    params: ProtocolParams,
    domain: Domain,
) -> Execution:
    """Apply a decided round.

    Raises:
        LocalProtocolError: the Value does not follow this ledger, the table is of another epoch, or
            a body is missing; the round machine lets none of these be decided.
    """
    value = content.value
    place = (value.epoch, value.round, value.parent)
    if place != (ledger.next_epoch, ledger.round + 1, ledger.batch) or table.epoch != value.epoch:
        raise LocalProtocolError("the decided Value does not follow the ledger")
    if missing(content):
        raise LocalProtocolError("a body that the Value names is missing")
    work = _Work(ledger, content, table, params, domain)
    beacon = beacon_of(table.seed, value_digest(domain, value), content)
    work.apply_outcomes()
    work.admit_requests()
    work.clear_markets(beacon)
    return work.finish(beacon, value_digest(domain, value))


def beacon_of(seed: Hash, value: Hash, content: RoundContent) -> Hash:
    """keccak256 of tag, epoch seed, round, Value digest, and the opened bids' salts by bid id."""
    opened = {bid: buy.bid.salt for bid, buy in content.buys.items()}
    opened.update({bid: ask.salt for bid, ask in content.asks.items()})
    salts = [opened[Hash(bid)] for bid in content.value.bids if Hash(bid) in opened]
    round_number = content.value.round.to_bytes(8, "big")
    return Hash(keccak(_BEACON_TAG + seed + round_number + value + b"".join(salts)))


class _Work:
    """The next state while it is made; lives for one call of `execute`."""

    def __init__(
        self,
        ledger: Ledger,
        content: RoundContent,
        table: OperatorTable,
        params: ProtocolParams,
        domain: Domain,
    ) -> None:
        self.ledger = ledger
        self.content = content
        self.table = table
        self.members = sorted(Address(row.operator) for row in table.operators)
        self.params = params
        self.domain = domain
        self.open = dict(ledger.open)
        self.closed = dict(ledger.closed)
        self.credits = dict(ledger.credits)
        self.markets = ledger.markets
        self.standings = dict(ledger.standings)
        self.probations = dict(ledger.probations)
        self.owed = dict(ledger.owed)
        self.view_floor = ledger.view_floor
        self.debits: dict[Address, int] = {}
        self.paid = 0
        self.results: list[Result] = []
        self.admitted: list[Hash] = []
        self.awarded: list[Hash] = []
        self.reassigned: list[tuple[Hash, int]] = []
        self.returned: list[Hash] = []
        self.clearings: list[tuple[MarketInput, MarketResult]] = []
        self.skipped: list[Skipped] = []
        self.refused: list[tuple[Hash, RejectionReason]] = []

    def apply_outcomes(self) -> None:
        """Apply the decided outcomes by kind, then by id."""
        named = [
            (Hash(raw), self.content.outcomes[Hash(raw)]) for raw in self.content.value.outcomes
        ]
        for identity, outcome in sorted(named, key=lambda pair: (kind_of(pair[1]), pair[0])):
            reason = self._apply(outcome)
            if reason is not None:
                self.skipped.append(Skipped(identity, reason))

    def admit_requests(self) -> None:
        """Let decided requests enter the market; the lowest bid of a request counts.

        A request whose bid is no good is over: sent again, it would open rounds for ever.
        """
        for bid_id in (Hash(raw) for raw in self.content.value.bids):
            if bid_id in self.content.buys:
                buy = self.content.buys[bid_id]
                reason = self._admit(bid_id, buy)
                request_id, deadline = Hash(buy.bid.request_id), buy.request.deadline_view
            elif bid_id in self.content.void:
                void = self.content.void[bid_id]
                reason, request_id, deadline = void.reason, void.request_id, void.deadline_view
            else:
                continue
            if reason is None:
                continue
            self.skipped.append(Skipped(bid_id, reason))
            if request_id != ZERO_HASH and request_id not in self.open | self.closed:
                self.closed[request_id] = View(deadline)
                self.refused.append((request_id, reason))

    def clear_markets(self, beacon: Hash) -> None:
        """Clear every class that has both sides."""
        state = replace(self.ledger, open=self.open, standings=self.standings)
        markets = MarketRound(state, self.content, self.table, self.params)
        markets.clear(beacon)
        self.open, self.markets = markets.open, markets.markets
        self.awarded, self.clearings = markets.awarded, markets.clearings
        self.skipped += markets.skipped

    def finish(self, beacon: Hash, value: Hash) -> Execution:
        """The next ledger and the batch."""
        epoch, round_number = self.content.value.epoch, self.content.value.round
        self.results.sort(key=lambda result: result.request_id)
        self._pay_sponsors()
        traded = markets_hash(self.clearings)
        settled = self._settle(value, traded) if self.results else None
        header = (
            unsettled_batch(epoch, round_number, value, traded)
            if settled is None
            else settled.header
        )
        if self.content.value.next_epoch > epoch:
            self.standings = {op: forgiven(row) for op, row in self.standings.items()}
        ledger = Ledger(
            round=RoundNumber(round_number),
            batch=batch_digest(self.domain, header),
            next_epoch=Epoch(self.content.value.next_epoch),
            sequence=self.ledger.sequence if settled is None else header.sequence,
            root=self.ledger.root if settled is None else header.root,
            open=self.open,
            closed={k: view for k, view in self.closed.items() if view >= self.view_floor},
            view_floor=self.view_floor,
            credits=self.credits,
            markets=self.markets,
            standings=self.standings,
            probations=self.probations,
            owed=self.owed,
            treasury=Wei(self.ledger.treasury + sum(self.debits.values()) - self.paid),
        )
        return Execution(
            ledger=ledger,
            header=header,
            settled=settled,
            beacon=beacon,
            admitted=tuple(sorted(self.admitted)),
            awarded=tuple(sorted(self.awarded)),
            reassigned=tuple(sorted(self.reassigned)),
            returned=tuple(sorted(self.returned)),
            closed=tuple(self.results),
            refused=tuple(sorted(self.refused, key=lambda pair: pair[0])),
            clearings=tuple(self.clearings),
            skipped=tuple(self.skipped),
        )

    def _apply(self, outcome: Outcome) -> RejectionReason | None:
        entry = self.open.get(outcome.request_id)
        if entry is None:
            return RejectionReason.STALE
        match outcome, entry.award:
            case Completed(), Award() as award:
                if outcome.provers != award.provers:
                    return RejectionReason.NOT_ASSIGNED
                self._pay(entry, award)
                self._close(entry, ResultStatus.SETTLED, outcome.claim, award.fee)
            case Expired(), _:
                self._raise_floor(entry.request.deadline_view + 1)
                self._close(entry, ResultStatus.EXPIRED)
            case Cancelled(), None:
                self._close(entry, ResultStatus.CANCELLED)
            case Failed(), Award():
                self._close(entry, ResultStatus.FAILED)
            case Reassigned(), Award() as award:
                return self._reassign(entry, award, outcome)
            case _:
                return RejectionReason.STALE
        return None

    def _pay(self, entry: OpenRequest, award: Award) -> None:
        paid = sum(assignment.pay for assignment in award.assignments)
        weight = weight_of(entry.bid_fee + award.fee - paid, entry.bid_fee)
        for assignment in award.assignments:
            operator = assignment.operator
            self.credits[operator] = Wei(self.credits.get(operator, 0) + assignment.pay)
            self.standings[operator] = proved(self.standings.get(operator, NEWCOMER), weight)
        self.paid += paid

    def _close(
        self, entry: OpenRequest, status: ResultStatus, claim: bytes = b"", fee: int = 0
    ) -> None:
        fee += entry.bid_fee
        if entry.sponsor:
            sponsor = Address(entry.sponsor)
            self.owed[sponsor] = Wei(self.owed.get(sponsor, 0) + fee)
        self.debits[entry.requester] = self.debits.get(entry.requester, 0) + fee
        del self.open[entry.request_id]
        self.closed[entry.request_id] = View(entry.request.deadline_view)
        self.results.append(
            Result(
                request_id=entry.request_id,
                program_id=Hash(entry.request.program_id),
                requester=entry.requester,
                status=status,
                issued_at=entry.request.issued_at,
                claim=claim,
                fee=Wei(fee),
            )
        )

    def _reassign(
        self, entry: OpenRequest, award: Award, outcome: Reassigned
    ) -> RejectionReason | None:
        """Give the segment to the standby; without one, the request is back in its market."""
        if outcome.segment >= entry.slots:
            return RejectionReason.BAD_SHAPE
        if award.assignments[outcome.segment].attempt != outcome.attempt:
            return RejectionReason.STALE
        loser = award.assignments[outcome.segment].operator
        standing = self.standings.get(loser, NEWCOMER)
        self.standings[loser] = lost(standing, outcome.reason)
        next_award = award.reassign(outcome.segment, self.members)
        if next_award is None:
            self.open[entry.request_id] = replace(entry, award=None)
            self.returned.append(entry.request_id)
            return None
        self.open[entry.request_id] = replace(entry, award=next_award)
        self.reassigned.append((entry.request_id, outcome.segment))
        return None

    def _admit(self, bid_id: Hash, body: Buy) -> RejectionReason | None:
        """Check what certified state can tell; lists vouch for escrow, clock and program."""
        request, request_id = body.request, Hash(body.bid.request_id)
        max_fee, reserve = wei_of(body.bid.max_fee), wei_of(request.reserve)
        if digest(self.domain, request) != request_id:
            return RejectionReason.MALFORMED
        if request_id in self.open:
            return RejectionReason.SECOND_BID
        if request_id in self.closed or request.deadline_view < self.view_floor:
            return RejectionReason.ALREADY_KNOWN
        program = self.content.programs[Hash(request.program_id)]
        if not 2 <= len(request.input_hashes) <= program.max_segments + 1:
            return RejectionReason.BAD_SHAPE
        if request.copies != 1:
            return RejectionReason.COPIES_UNSUPPORTED
        if not 0 < max_fee <= reserve <= MAX_AMOUNT:
            return RejectionReason.FEE_ABOVE_RESERVE
        class_id, slots = Hash(program.class_id), len(request.input_hashes)
        price = reference_price(self.ledger, class_id, self.params)
        fee = bid_fee_of(slots, price, self.params.bid_fee_bps)
        if fee >= max_fee:
            return RejectionReason.FEE_BELOW_BID_FEE
        self.open[request_id] = OpenRequest(
            request_id=request_id,
            bid_id=bid_id,
            class_id=class_id,
            max_fee=max_fee,
            bid_fee=fee,
            request=request,
            sponsor=self._sponsor(request),
            held=None,
            award=None,
            verdict="",
        )
        self._raise_floor(request.deadline_view - self.params.max_deadline_views)
        self.admitted.append(request_id)
        return None

    def _sponsor(self, request: ProofRequest) -> bytes:
        """Who is paid back for a request; empty if it is no probation."""
        state = replace(self.ledger, standings=self.standings, probations=self.probations)
        found = sponsored(request, state, self.table)
        if found is None:
            return b""
        sponsor, newcomer = found
        self.probations[newcomer] = self.ledger.next_epoch
        return sponsor

    def _pay_sponsors(self) -> None:
        """Out of what this batch leaves the treasury: no batch pays more than it debits."""
        left = sum(self.debits.values()) - self.paid
        for sponsor in sorted(self.owed):
            back = min(self.owed[sponsor], left)
            if not back:
                continue
            left -= back
            self.paid += back
            self.credits[sponsor] = Wei(self.credits.get(sponsor, 0) + back)
            self.owed[sponsor] = Wei(self.owed[sponsor] - back)
        self.owed = {sponsor: wei for sponsor, wei in self.owed.items() if wei}

    def _settle(self, value: Hash, traded: Hash) -> SettledBatch:
        return build_batch(
            epoch=self.content.value.epoch,
            round_number=self.content.value.round,
            value=value,
            sequence=self.ledger.sequence + 1,
            parent=self.ledger.root,
            results=self.results,
            credit_rows=_rows(self.credits),
            debit_rows=_rows(self.debits),
            stake_rows=[AccountAmount(operator, Wei(0)) for operator in self.members],
            reputation_root=reputation_root(self.standings),
            parameters_hash=self.params.hash(),
            markets_hash=traded,
            paid=Wei(self.paid),
        )

    def _raise_floor(self, view: int) -> None:
        self.view_floor = View(max(self.view_floor, view))


def _rows(amounts: Mapping[Address, int]) -> list[AccountAmount]:
    rows = [AccountAmount(account, Wei(amounts[account])) for account in sorted(amounts)]
    return [row for row in rows if row.amount]
