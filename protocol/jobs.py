"""All requests that a node knows: feeds their jobs, and turns what they owe into effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from protocol import duties as owed
from protocol import inputs as happened
from protocol import job_inputs as learnt
from protocol.batch import Result, ResultStatus
from protocol.codec import decode, encode
from protocol.documents import bundle_of, document_of
from protocol.effects import (
    Broadcast,
    CheckProof,
    Effect,
    Forget,
    KeepProof,
    Publish,
    Record,
    Report,
    StartProving,
    StopProving,
)
from protocol.eip712 import digest as digest_of
from protocol.errors import LocalProtocolError, Rejection, RejectionReason
from protocol.hashing import keccak
from protocol.job import new_job
from protocol.job import step as step_job
from protocol.lifecycle import BEFORE_AWARD, CLOSED, JobState
from protocol.messages import (
    Accept,
    Body,
    Cancel,
    Envelope,
    Kind,
    OutcomeBody,
    SegmentResult,
    Unavailable,
)
from protocol.outcomes import Failed, FailReason, Outcome, OutcomeKind
from protocol.replica_state import (
    MAX_STATEMENTS,
    Ending,
    OpenedBid,
    Placed,
    SignedBid,
    SignedRequest,
)
from protocol.rotation import view_start_ms
from protocol.types import Address, Hash, TimestampMs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from protocol.eip712 import Domain
    from protocol.execution import Execution
    from protocol.job import Job
    from protocol.job_inputs import JobInput
    from protocol.messages import DecidedRound
    from protocol.params import ProtocolParams
    from protocol.replica_state import ReplicaState
    from protocol.rotation import OperatorTable
    from protocol.round_content import RoundContent

_UNPAID: Final = {
    ResultStatus.EXPIRED: RejectionReason.DEADLINE_PAST,
    ResultStatus.CANCELLED: RejectionReason.CANCELLED,
}
_FAILED: Final = {
    FailReason.WITHHELD: RejectionReason.INPUT_WITHHELD,
    FailReason.UNSATISFIABLE: RejectionReason.UNSATISFIABLE,
}
_LATEST: Final = b"\x01"
_EVIDENCE: Final[dict[int, Kind]] = {
    OutcomeKind.COMPLETED: Kind.RESULT,
    OutcomeKind.CANCELLED: Kind.CANCEL,
    OutcomeKind.FAILED: Kind.UNAVAILABLE,
}
"""Statements that bear an outcome out."""
_LOCAL: Final = (JobState.REQUESTED, JobState.CLASSIFIED)
"""States that no round knows of."""


class Jobs:
    """The jobs in a replica's state.

    What was told or done already is remembered here only: a restarted node does it again.
    """

    def __init__(
        self,
        me: Address,
        domain: Domain,
        params: ProtocolParams,
        genesis_ms: int,
        state: ReplicaState,
    ) -> None:
        self._me = me
        self._domain = domain
        self._params = params
        self._genesis_ms = genesis_ms
        self._state = state
        self._done: dict[Hash, frozenset[owed.Duty]] = {}
        self._seen: dict[Hash, tuple[Job, Ending | None, str | None, Hash | None]] = {}
        self._told: dict[Hash, Mapping[str, object]] = {}

    def forget_done(self) -> None:
        """After a restart everything owed is owed again."""
        self._done.clear()
        self._seen.clear()
        self._told.clear()

    def open(self, request_id: Hash, held: SignedRequest, now_ms: int) -> None:
        """Begin to follow a request of a known program."""
        request = held.body
        deadline = view_start_ms(request.deadline_view + 1, self._genesis_ms, self._params.view_ms)
        job = new_job(request_id, request, self._me, deadline, TimestampMs(now_ms))
        self._state.owners[request_id] = held
        self._state.jobs[request_id] = job
        self._feed(request_id, learnt.Classified(), now_ms)

    def hear(self, envelope: Envelope, now_ms: int) -> list[Effect]:
        """What a prover, or the owner, says of a request."""
        body = envelope.body
        if not isinstance(body, Accept | SegmentResult | Unavailable | Cancel):
            raise LocalProtocolError(f"{type(body).__name__} is no statement of a job")
        request_id = Hash(body.request_id)
        job = self._state.jobs.get(request_id)
        if job is None:
            return []
        frame = encode(envelope)
        try:
            what = self._learnt(envelope, Hash(keccak(frame)))
            self._feed(request_id, what, now_ms)
        except Rejection as exc:
            if exc.reason is RejectionReason.REPLAYED:
                return []
            fields = (("reason", exc.reason.code), ("request", request_id.hex()))
            return [Record("statement_refused", TimestampMs(now_ms), fields)]
        held = self._state.statements.setdefault(request_id, {})
        slot = _slot(envelope)
        # The first and the latest: two different results of one prover must both be relayed.
        if held.get(slot, frame) != frame:
            slot += _LATEST
        if slot in held or len(held) < MAX_STATEMENTS:
            held[slot] = frame
        return []

    def own_progress(
        self, event: happened.InputHeld | happened.Proved | happened.ProvingFailed, now_ms: int
    ) -> list[Effect]:
        """What this node's own prover reports."""
        request_id = Hash(event.request_id)
        job = self._state.jobs.get(request_id)
        if job is None or job.state in CLOSED:
            return []
        match event:
            case happened.InputHeld(segment=segment):
                self._try(request_id, learnt.InputHeld(segment), now_ms)
            case happened.Proved(segment=segment, publics=publics, proof=proof):
                if not job.segments or job.segments[segment].operator != self._me:
                    return []
                body = SegmentResult(request_id, segment, self._me, publics, proof)
                return [Publish(Kind.RESULT, body, _own_slot(Kind.RESULT, body), reliable=True)]
            case happened.ProvingFailed(segment=segment, reason=reason):
                if reason == RejectionReason.UNSATISFIABLE.code:
                    what = learnt.CannotProve(segment, FailReason.UNSATISFIABLE)
                    self._try(request_id, what, now_ms)
                fields = (("reason", reason), ("request", request_id.hex()), ("segment", segment))
                return [Record("proving_failed", TimestampMs(now_ms), fields)]
        return []

    def proof_checked(self, event: happened.ProofChecked, now_ms: int) -> list[Effect]:
        """A worker's verdict on a proof."""
        for request_id, job in self._state.jobs.items():
            for place, segment in enumerate(job.segments):
                if segment.result == event.digest:
                    what = learnt.ResultChecked(place, Hash(event.digest), event.valid)
                    self._try(request_id, what, now_ms)
                    if event.valid:
                        return []
                    fields = (
                        ("operator", segment.operator.hex()),
                        ("reason", event.reason),
                        ("request", request_id.hex()),
                        ("segment", place),
                    )
                    return [Record("proof_refused", TimestampMs(now_ms), fields)]
        return []

    def decided(
        self,
        record: DecidedRound,
        execution: Execution,
        content: RoundContent,
        gateway: bytes,
        table: OperatorTable,
        now_ms: int,
    ) -> list[Effect]:
        """Take in what a round decided, before what it no longer needs is let go."""
        state = self._state
        ledger = execution.ledger
        outcomes = content.outcomes.values()
        for request_id in execution.admitted:
            entry = ledger.open[request_id]
            if request_id not in state.jobs:
                self.open(request_id, self._request(request_id), now_ms)
            state.opened[request_id] = OpenedBid(
                self._sealed(entry.bid_id), content.buys[entry.bid_id].bid
            )
            self._feed(request_id, learnt.Admitted(), now_ms)
        for market, cleared in execution.clearings:
            for receipt in cleared.receipts[: len(market.buyers) + len(market.waiting)]:
                state.verdicts[Hash(receipt.bidder)] = receipt.verdict.code
        for request_id in execution.returned:
            state.placed.pop(request_id, None)
            self._feed(request_id, learnt.Returned(), now_ms)
        changed = (*execution.awarded, *(request_id for request_id, _ in execution.reassigned))
        for request_id in dict.fromkeys(changed):
            award = ledger.open[request_id].award if request_id in ledger.open else None
            if award is not None:
                placed = Placed(award.round, gateway)
                state.placed.setdefault(request_id, placed)
                self._feed(request_id, learnt.Awarded(award), now_ms)
        for request_id in execution.awarded:
            # A prover that has a segment again has signed what it had to say of it.
            for frame in state.statements.get(request_id, {}).values():
                self._try(request_id, self._learnt(decode(frame), Hash(keccak(frame))), now_ms)
        effects = [
            effect
            for request_id, reason in execution.refused
            for effect in self._refuse(request_id, reason, now_ms)
        ]
        voters = len(table.operators) - len(record.certificate.non_signers)
        for result in execution.closed:
            state.endings[result.request_id] = Ending(
                status=int(result.status),
                fee=result.fee,
                claim=result.claim,
                round=record.value.round,
                sequence=execution.header.sequence,
                gateway=gateway,
                voters=voters,
                operators=len(table.operators),
                reason=_reason(result, outcomes),
            )
            self._feed(result.request_id, learnt.Closed(result.status), now_ms)
            job = state.jobs[result.request_id]
            if job.claim and execution.settled is not None:
                bundle = bundle_of(
                    job,
                    state.owners[result.request_id],
                    state.opened[result.request_id],
                    [self._held_result(job, place) for place in range(len(job.segments))],
                    result,
                    execution.settled,
                    record.certificate,
                    state.tables[table.epoch],
                    self._domain,
                )
                effects.append(KeepProof(result.request_id, bundle))
        return effects

    def on_chain(self, request_id: Hash, transaction: bytes, gas_used: int, now_ms: int) -> None:
        """The batch with the request's result is final: this node is done with it."""
        ending = self._state.endings.get(request_id)
        if ending is not None and request_id in self._state.jobs:
            self._state.endings[request_id] = msgspec.structs.replace(
                ending, transaction=transaction, gas_used=gas_used
            )
            self._feed(request_id, learnt.OnChain(), now_ms)

    def advance(self, now_ms: int) -> list[Effect]:
        """Let time pass, then do what is owed and was not done yet, and tell what changed."""
        effects: list[Effect] = []
        bids = self._waiting_bids()
        for request_id, job in list(self._state.jobs.items()):
            due = owed.next_deadline_ms(job)
            if due is not None and due <= now_ms:
                self._feed(request_id, learnt.Ticked(), now_ms)
            effects += self._work(request_id)
            effects += self._tell(request_id, bids.get(request_id))
            current = self._state.jobs[request_id]
            over = current.state in {JobState.SETTLED, JobState.REFUNDED}
            if over or (current.expired and current.state in _LOCAL):
                self.drop(request_id)
        return effects

    def next_deadline_ms(self) -> int | None:
        """When time alone changes a job."""
        due = [owed.next_deadline_ms(job) for job in self._state.jobs.values()]
        return min((at for at in due if at is not None), default=None)

    def evidence(self, body: Body) -> list[bytes]:
        """Frames from which a peer can find the same outcome; none for anything else."""
        if not isinstance(body, OutcomeBody):
            return []
        wanted = _EVIDENCE.get(body.kind)
        held = self._state.statements.get(Hash(body.request_id), {})
        return [frame for slot, frame in held.items() if slot[0] == wanted]

    # ------------------------------------------------------------------ one job

    def _work(self, request_id: Hash) -> list[Effect]:
        job = self._state.jobs[request_id]
        now_owed = frozenset(owed.todo(job))
        before = self._done.get(request_id, frozenset())
        self._done[request_id] = now_owed
        ended = [duty for duty in before - now_owed if isinstance(duty, owed.Prove)]
        effects: list[Effect] = [StopProving(request_id, duty.segment) for duty in ended]
        for duty in sorted(now_owed - before, key=repr):
            effects += self._perform(job, duty)
        return effects

    def _perform(self, job: Job, duty: owed.Duty) -> list[Effect]:
        request_id = job.request_id
        last = len(job.input_hashes) - 1
        match duty:
            case owed.SendAccept(segment, input_hash):
                accept = Accept(request_id, segment, self._me, input_hash)
                return [Publish(Kind.ACCEPT, accept, _own_slot(Kind.ACCEPT, accept), reliable=True)]
            case owed.SayUnavailable(segment, reason):
                body = Unavailable(request_id, segment, self._me, int(reason))
                slot = _own_slot(Kind.UNAVAILABLE, body)
                return [Publish(Kind.UNAVAILABLE, body, slot, reliable=True)]
            case owed.Prove(segment):
                return [StartProving(request_id, segment, job.program_id, segment == last)]
            case owed.Check(segment, digest):
                result = self._held_result(job, segment)
                return [CheckProof(digest, job.program_id, segment == last, result)]
            case owed.Relay(segment):
                held = self._state.statements.get(request_id, {})
                frames = [frame for slot, frame in held.items() if _segment(slot) == segment]
                return [Broadcast(decode(frame), reliable=True) for frame in frames]
            case owed.Drop():
                return [Forget(request_id)]

    def _tell(self, request_id: Hash, waiting: Hash | None) -> list[Effect]:
        state = self._state
        job = state.jobs[request_id]
        ending = state.endings.get(request_id)
        sight = (job, ending, state.verdicts.get(request_id), waiting)
        if self._seen.get(request_id) == sight:
            return []
        self._seen[request_id] = sight
        document = self._document(request_id, waiting)
        if self._told.get(request_id) == document:
            return []
        self._told[request_id] = document
        return [Report(request_id, document)]

    def _document(self, request_id: Hash, waiting: Hash | None) -> dict[str, object]:
        """A request's document; `waiting` is its bid in the pool."""
        state = self._state
        opened = state.opened.get(request_id)
        return document_of(
            state.jobs[request_id],
            state.owners[request_id].body,
            waiting if opened is None else digest_of(self._domain, opened.sealed.body),
            None if opened is None else opened.bid,
            state.placed.get(request_id),
            state.endings.get(request_id),
            state.verdicts.get(request_id, ""),
            {row.operator: row.sealing_key for row in state.tables[max(state.tables)].operators},
        )

    def _waiting_bids(self) -> dict[Hash, Hash]:
        """Of each request that no round has admitted, the bid held that would count."""
        bids: dict[Hash, Hash] = {}
        for bid_id, held in self._state.bids.items():
            request_id = Hash(held.body.request_id)
            if request_id not in self._state.requests:
                continue  # an ask, or nobody knows yet whether it is the owner's
            bids[request_id] = min(bid_id, bids.get(request_id, bid_id))
        return bids

    def _refuse(self, request_id: Hash, reason: RejectionReason, now_ms: int) -> list[Effect]:
        """A decided bid was no good: tell its owner, and forget the request."""
        place = (("reason", reason.code), ("request", request_id.hex()))
        effects: list[Effect] = [Record("request_refused", TimestampMs(now_ms), place)]
        if request_id in self._state.jobs:
            ended = {"state": JobState.REFUNDED.value, "reason": reason.code}
            effects.append(Report(request_id, {**self._document(request_id, None), **ended}))
            self.drop(request_id)
        return effects

    def drop(self, request_id: Hash) -> None:
        """Forget a request that is over, or that no round knows of."""
        state = self._state
        job = state.jobs.pop(request_id, None)
        state.owners.pop(request_id, None)
        if job is not None and job.state in BEFORE_AWARD:
            state.requests.pop(request_id, None)
            state.bids = {
                bid: held for bid, held in state.bids.items() if held.body.request_id != request_id
            }
        for table in (
            state.opened,
            state.statements,
            state.placed,
            state.endings,
            state.verdicts,
            self._done,
            self._seen,
            self._told,
        ):
            table.pop(request_id, None)

    def _feed(self, request_id: Hash, what: JobInput, now_ms: int) -> None:
        job = self._state.jobs[request_id]
        self._state.jobs[request_id] = step_job(job, what, TimestampMs(now_ms), self._params)

    def _try(self, request_id: Hash, what: JobInput, now_ms: int) -> None:
        """Feed own news: what came too late has no effect."""
        try:
            self._feed(request_id, what, now_ms)
        except Rejection:
            return

    def _learnt(self, envelope: Envelope, digest: Hash) -> JobInput:
        sender = Address(envelope.sender)
        match envelope.body:
            case Accept(_, segment, operator, input_hash) if operator == sender:
                return learnt.AcceptSeen(segment, sender, Hash(input_hash))
            case SegmentResult(_, segment, prover, publics) if prover == sender:
                return learnt.ResultSeen(segment, sender, digest, publics)
            case Unavailable(_, segment, operator, reason) if operator == sender:
                if reason not in {int(known) for known in FailReason}:
                    raise Rejection(RejectionReason.MALFORMED, "reason")
                return learnt.UnavailableSeen(segment, sender, FailReason(reason))
            case Cancel(request_id) if (
                self._state.owners[Hash(request_id)].body.requester == sender
            ):
                return learnt.CancelSeen()
            case _:
                raise Rejection(RejectionReason.WRONG_SENDER)

    def _held_result(self, job: Job, place: int) -> SegmentResult:
        """The result that the segment's prover sent; it is held since it was heard."""
        segment = job.segments[place]
        held = self._state.statements[job.request_id]
        slot = _key(Kind.RESULT, place, segment.operator)
        for frame in (held[slot], held.get(slot + _LATEST, b"")):
            body = decode(frame).body if keccak(frame) == segment.result else None
            if isinstance(body, SegmentResult):
                return body
        raise LocalProtocolError("a result that was heard is not held")

    def _request(self, request_id: Hash) -> SignedRequest:
        """A decided request out of the pool, or of what came with the round."""
        held = self._state.requests.get(request_id)
        if held is not None:
            return held
        envelope = decode(self._state.archive[request_id])
        return SignedRequest(envelope.body, envelope.signature)  # type: ignore[arg-type]

    def _sealed(self, bid_id: Hash) -> SignedBid:
        held = self._state.bids.get(bid_id)
        if held is not None:
            return held
        envelope = decode(self._state.archive[bid_id])
        return SignedBid(envelope.body, envelope.signature)  # type: ignore[arg-type]


def _reason(result: Result, outcomes: Collection[Outcome]) -> str:
    """Code of why a request was refunded; empty if it was not."""
    for outcome in outcomes:
        if isinstance(outcome, Failed) and outcome.request_id == result.request_id:
            return _FAILED[outcome.reason].code
    known = _UNPAID.get(result.status)
    return "" if known is None else known.code


def _slot(envelope: Envelope) -> bytes:
    body = envelope.body
    segment = 0 if isinstance(body, Cancel) else body.segment  # type: ignore[union-attr]
    return _key(Kind(envelope.kind), segment, Address(envelope.sender))


def _key(kind: Kind, segment: int, operator: Address) -> bytes:
    return bytes([kind]) + segment.to_bytes(4, "big") + operator


def _segment(slot: bytes) -> int | None:
    return None if slot[0] == Kind.CANCEL else int.from_bytes(slot[1:5], "big")


def _own_slot(kind: Kind, body: Accept | SegmentResult | Unavailable) -> bytes:
    """One statement of a kind per segment: each operator has a segment once."""
    return bytes([kind]) + body.request_id + body.segment.to_bytes(4, "big")
