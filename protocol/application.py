"""What the round machine decides on: one replica's answers, over its ledger, jobs and pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from protocol.codec import decode, encode
from protocol.duties import evident, vouches
from protocol.eip712 import Domain, digest, value_digest
from protocol.errors import RejectionReason
from protocol.execution import Execution, execute, missing
from protocol.ledger import listable, unserved
from protocol.messages import (
    AskBid,
    Envelope,
    Kind,
    OutcomeBody,
    RequestBody,
    Value,
)
from protocol.outcomes import (
    Cancelled,
    Completed,
    Failed,
    Outcome,
    decode_outcome,
    encode_outcome,
    outcome_id,
)
from protocol.rotation import OperatorTable, view_at
from protocol.round_content import RoundContent
from protocol.rounds.context import Missing
from protocol.types import Address, Hash, View, Wei

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.job import Job
    from protocol.ledger import Ledger
    from protocol.params import ProtocolParams
    from protocol.replica_state import ReplicaState


@dataclass(slots=True)
class ReplicaApplication:
    """An `Application` over a replica's state at one time; made anew for each step."""

    state: ReplicaState
    ledger: Ledger
    table: OperatorTable
    me: Address
    domain: Domain
    params: ProtocolParams
    genesis_ms: int
    now_ms: int
    executions: dict[bytes, Execution] = field(default_factory=dict)
    """By Value digest: what was computed is not computed again."""
    vouchers: dict[Hash, tuple[Job, dict[Hash, Outcome]]] = field(default_factory=dict)
    """By request: what was found of this very job."""

    @property
    def view(self) -> View:
        """The view it is on this node's clock."""
        return view_at(self.now_ms, self.genesis_ms, self.params.view_ms)

    def listable(self) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        """Requests that fit, then asks; outcomes that this node found out itself."""
        return (*self._buys(), *self._asks()), tuple(self.vouched())

    def pending(self) -> bool:
        """A request to admit, an outcome to certify, a market to clear again, or a new epoch.

        Without the last an idle network would outlive the keys that its next certificate needs.
        """
        turned = self.next_epoch() > self.ledger.next_epoch
        return turned or bool(self._buys()) or bool(self.vouched()) or self._clear_again()

    def next_epoch(self) -> int:
        """The newest table that this node knows."""
        return max(self.state.tables)

    def may_vote(self) -> RejectionReason | None:
        """Not with a clock that is off."""
        return None if self.state.clock_ok else RejectionReason.CLOCK_OFF

    def judge(self, value: Value) -> Missing | RejectionReason | None:
        """Bodies held, and what can be checked here was: see `protocol/rounds/context.py`.

        That a deadline is over or a prover silent is for the members to say, by their clocks: their
        lists compel it. A completion, cancellation or failure is believed only on own evidence.
        """
        if value.next_epoch not in self.state.tables:
            return RejectionReason.BODY_MISSING
        content = self.content(value)
        lacking = missing(content)
        if lacking:
            return Missing(tuple(sorted(lacking)))
        unproven = tuple(
            identity
            for identity, outcome in content.outcomes.items()
            if isinstance(outcome, Completed | Cancelled | Failed) and not self._evident(outcome)
        )
        # Whoever is asked for an outcome answers with its evidence, too.
        return Missing(tuple(sorted(unproven))) if unproven else None

    def execute(self, value: Value) -> Hash | Missing:
        """Digest of the Batch that follows from a Value."""
        execution = self.execution(value)
        return execution if isinstance(execution, Missing) else execution.ledger.batch

    def envelopes(self, value: Value) -> tuple[bytes, ...]:
        """Frames of the bodies that a Value names."""
        return tuple(self.frames((*value.bids, *value.outcomes)).values())

    def execution(self, value: Value) -> Execution | Missing:
        """All that follows from a Value and the certified state."""
        identity = value_digest(self.domain, value)
        if identity not in self.executions:
            content = self.content(value)
            lacking = missing(content)
            if lacking:
                return Missing(tuple(sorted(lacking)))
            self.executions[identity] = execute(
                self.ledger, content, self.table, self.params, self.domain
            )
        return self.executions[identity]

    def content(self, value: Value) -> RoundContent:
        """A Value with all that is held of what it names."""
        buys: dict[Hash, RequestBody] = {}
        asks: dict[Hash, AskBid] = {}
        outcomes: dict[Hash, Outcome] = {}
        for identity in (Hash(raw) for raw in value.bids):
            body = self._body(identity)
            if isinstance(body, RequestBody):
                buys[identity] = body
            elif isinstance(body, AskBid):
                asks[identity] = body
        vouched = self.vouched()
        for identity in (Hash(raw) for raw in value.outcomes):
            known = vouched.get(identity) or self._archived_outcome(identity)
            if known is not None:
                outcomes[identity] = known
        return RoundContent(value, buys, asks, outcomes, self.state.programs)

    def vouched(self) -> dict[Hash, Outcome]:
        """Outcomes that this node found out itself, by id."""
        found: dict[Hash, Outcome] = {}
        for request_id, job in self.state.jobs.items():
            known = self.vouchers.get(request_id)
            if known is None or known[0] is not job:
                # Ids are hashes, and the round machine asks often.
                known = (job, {outcome_id(outcome): outcome for outcome in vouches(job)})
                self.vouchers[request_id] = known
            found.update(known[1])
        return dict(sorted(found.items()))

    def unknown(self, bids: Iterable[bytes], outcomes: Iterable[bytes]) -> tuple[Hash, ...]:
        """Ids of somebody's list that this node can not vouch for: their bodies may be lacking."""
        vouched = self.vouched()
        lacking = [Hash(raw) for raw in bids if self._body(Hash(raw)) is None]
        lacking += [Hash(raw) for raw in outcomes if Hash(raw) not in vouched]
        return tuple(lacking)

    def frames(self, ids: Iterable[bytes]) -> dict[Hash, bytes]:
        """Frames of the bids and outcomes that are held, by id, in the order asked for."""
        vouched = self.vouched()
        found = {Hash(raw): self._frame(Hash(raw), vouched) for raw in ids}
        return {identity: frame for identity, frame in found.items() if frame is not None}

    def _frame(self, identity: Hash, vouched: dict[Hash, Outcome]) -> bytes | None:
        state = self.state
        if identity in state.requests:
            held = state.requests[identity]
            owner = held.body.request.requester
            return encode(Envelope(Kind.REQUEST, owner, held.body, held.signature))
        if identity in state.asks:
            ask = state.asks[identity]
            return encode(Envelope(Kind.ASK_BID, ask.body.operator, ask.body, ask.signature))
        if identity in vouched:
            return encode(Envelope(Kind.OUTCOME, self.me, encode_outcome(vouched[identity]), b""))
        return state.archive.get(identity)

    def escrow_of(self, requester: Address) -> Wei:
        """Escrow last read, less what certified batches will take from it."""
        free = self.state.escrow.get(requester, 0) - self.state.unrefreshed.get(requester, 0)
        charged = sum(row.charged.get(requester, 0) for row in self.state.unsettled.values())
        return Wei(max(0, free - charged))

    def _evident(self, outcome: Completed | Cancelled | Failed) -> bool:
        job = self.state.jobs.get(outcome.request_id)
        return job is not None and evident(job, outcome)

    def _buys(self) -> tuple[Hash, ...]:
        pool = {bid: held.body for bid, held in self.state.requests.items()}
        return listable(self.ledger, pool, self.escrow_of, self.view, self.params)

    def _asks(self) -> tuple[Hash, ...]:
        place = (self.ledger.next_epoch, self.ledger.round + 1)
        return tuple(
            bid
            for bid, ask in sorted(self.state.asks.items())
            if (ask.body.epoch, ask.body.round) == place
        )

    def _clear_again(self) -> bool:
        """Once a view: prices moved or provers came, so a request that waits may be served."""
        if self.now_ms < self.state.decided_ms + self.params.view_ms:
            return False
        classes = {Hash(self.state.asks[bid].body.class_id) for bid in self._asks()}
        return any(unserved(self.ledger, class_id) for class_id in classes)

    def _body(self, identity: Hash) -> RequestBody | AskBid | None:
        state = self.state
        if identity in state.requests:
            return state.requests[identity].body
        if identity in state.asks:
            return state.asks[identity].body
        body = self._archived(identity)
        return body if isinstance(body, RequestBody | AskBid) else None

    def _archived_outcome(self, identity: Hash) -> Outcome | None:
        body = self._archived(identity)
        return decode_outcome(body) if isinstance(body, OutcomeBody) else None

    def _archived(self, identity: Hash) -> object:
        frame = self.state.archive.get(identity)
        return None if frame is None else decode(frame).body


def identity_of(domain: Domain, envelope: Envelope) -> Hash | None:
    """Id under which a Value names this body; None for kinds that no Value names.

    Raises:
        Rejection: an outcome that is none.
    """
    match envelope.body:
        case RequestBody() | AskBid():
            return digest(domain, envelope.body)
        case OutcomeBody():
            return outcome_id(decode_outcome(envelope.body))
        case _:
            return None
