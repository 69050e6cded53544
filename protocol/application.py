"""What the round machine decides on: one replica's answers, over its ledger, jobs and pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocol.codec import decode, encode
from protocol.duties import evident, vouches
from protocol.eip712 import Domain, digest, value_digest
from protocol.errors import RejectionReason
from protocol.execution import Execution, execute, missing
from protocol.ledger import listable, unserved
from protocol.messages import (
    AskBid,
    BidShares,
    BuyBid,
    Envelope,
    Kind,
    OutcomeBody,
    ProofRequest,
    SealedBid,
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
from protocol.round_content import Buy, RoundContent, Void
from protocol.rounds.context import Missing
from protocol.sealing import is_ask, is_share, open_bid, own_share, threshold
from protocol.types import ZERO_HASH, Address, Hash, View, Wei

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from protocol.batch import Batch
    from protocol.crypto import BidCipher
    from protocol.job import Job
    from protocol.ledger import Ledger
    from protocol.params import ProtocolParams
    from protocol.replica_state import ReplicaState, SignedBid, SignedRequest

PROMPT: Final = 3
"""Rounds that may leave out a listed bid before it has to wait for another."""
MAX_DOUBLINGS: Final = 12


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
    members: tuple[Address, ...]
    """The committee, in table order."""
    cipher: BidCipher
    shares: dict[Hash, bytes | None] = field(default_factory=dict)
    """Own shares by bid id; None: not good."""
    judged: dict[Hash, dict[tuple[int, bytes], bool]] = field(default_factory=dict)
    """By bid id: position and share, and whether it is what the bidder dealt."""
    opened: dict[Hash, BuyBid | AskBid | None] = field(default_factory=dict)
    """By bid id; None: void."""
    executions: dict[bytes, Execution] = field(default_factory=dict)
    """By Value digest: what was computed is not computed again."""
    vouchers: dict[Hash, tuple[Job, dict[Hash, Outcome]]] = field(default_factory=dict)
    """By request: what was found of this very job."""

    @property
    def view(self) -> View:
        """The view it is on this node's clock."""
        return view_at(self.now_ms, self.genesis_ms, self.params.view_ms)

    def listable(self) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        """What was promised, requests that fit, then asks; outcomes that this node found out."""
        promised = self.state.promised.items()
        due = sorted(bid for bid, place in promised if place == self._place)
        return tuple(dict.fromkeys((*due, *self._buys(), *self._asks()))), tuple(self.vouched())

    def would_list(self, bid_id: Hash, place: int) -> bool:
        """Whether this member's list of that round could carry a bid in its pool."""
        body = self.state.bids[bid_id].body
        if self.own_share(bid_id) is None:
            return False
        if is_ask(body):
            return body.round == place
        pool = self._fitting({bid_id: self.state.bids[bid_id]})
        return bool(listable(self.ledger, pool, self.escrow_of, self.view, self.params))

    def pending(self) -> bool:
        """A request to admit, an outcome to certify, a market to clear again, or a new epoch.

        Without the last an idle network would outlive the keys that its next certificate needs.
        """
        turned = self.next_epoch() > self.ledger.next_epoch
        return turned or self._bid_due() or bool(self.vouched()) or self._clear_again()

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
        lacking = self.lacking(value)
        if lacking:
            return Missing(lacking)
        unproven = tuple(
            identity
            for identity, outcome in self._outcomes(value).items()
            if isinstance(outcome, Completed | Cancelled | Failed) and not self._evident(outcome)
        )
        # Whoever is asked for an outcome answers with its evidence, too.
        return Missing(tuple(sorted(unproven))) if unproven else None

    def reveal(self, value: Value) -> tuple[bytes, ...] | Missing:
        """Own shares of the Value's bids; they are held before a quorum prepares it."""
        bids = [Hash(raw) for raw in value.bids]
        lacking = tuple(bid for bid in bids if self._sealed(bid) is None)
        if lacking:
            return Missing(lacking)
        return tuple(self.own_share(bid) or ZERO_HASH for bid in bids)

    def execute(self, value: Value, shares: Sequence[BidShares]) -> Batch | Missing:
        """The Batch that follows from a Value and what opens its bids."""
        execution = self.execution(value, shares)
        return execution if isinstance(execution, Missing) else execution.header

    def envelopes(self, value: Value) -> tuple[bytes, ...]:
        """Frames of the bodies that a Value names, each bid's request with it."""
        return tuple(self.frames((*value.bids, *value.outcomes)).values())

    def execution(self, value: Value, shares: Sequence[BidShares]) -> Execution | Missing:
        """All that follows from a Value, what opens its bids, and the certified state."""
        identity = value_digest(self.domain, value)
        if identity not in self.executions:
            lacking = self.lacking(value)
            if lacking:
                return Missing(lacking)
            content = self.content(value, shares)
            if missing(content):
                return Missing(())
            self.executions[identity] = execute(
                self.ledger, content, self.table, self.params, self.domain
            )
        return self.executions[identity]

    def lacking(self, value: Value) -> tuple[Hash, ...]:
        """Ids of bodies that the Value names, bids' requests and programs included."""
        lacking = {Hash(raw) for raw in value.outcomes} - self._outcomes(value).keys()
        for bid_id in (Hash(raw) for raw in value.bids):
            sealed = self._sealed(bid_id)
            if sealed is None:
                lacking.add(bid_id)
            elif not is_ask(sealed):
                request = self.request(Hash(sealed.request_id))
                named = sealed.request_id if request is None else request.program_id
                if request is None or named not in self.state.programs:
                    lacking.add(Hash(named))
        return tuple(sorted(lacking))

    def content(self, value: Value, shares: Sequence[BidShares]) -> RoundContent:
        """A Value with its outcomes, and its bids as far as these shares open them."""
        buys: dict[Hash, Buy] = {}
        asks: dict[Hash, AskBid] = {}
        void: dict[Hash, Void] = {}
        complete = [held for held in shares if len(held.shares) == len(value.bids)]
        for place, bid_id in enumerate(Hash(raw) for raw in value.bids):
            sealed = self._sealed(bid_id)
            if sealed is None or not self._open(
                bid_id, sealed, {held.member: held.shares[place] for held in complete}
            ):
                continue
            bid, request = self.opened[bid_id], self.request(Hash(sealed.request_id))
            if isinstance(bid, AskBid):
                asks[bid_id] = bid
            elif request is None or request.requester != sealed.bidder:
                # An ask that is void, or a bid for somebody else's request.
                theft = not is_ask(sealed)
                reason = RejectionReason.WRONG_SENDER if theft else RejectionReason.BAD_DEALING
                void[bid_id] = Void(ZERO_HASH, 0, reason)
            elif bid is None:
                refusal = (Hash(sealed.request_id), request.deadline_view)
                void[bid_id] = Void(*refusal, RejectionReason.BAD_DEALING)
            else:
                buys[bid_id] = Buy(request, bid)
        return RoundContent(value, buys, asks, void, self._outcomes(value), self.state.programs)

    def own_share(self, bid_id: Hash) -> bytes | None:
        """This member's share of a bid that it holds; None: it is not good, or no member's."""
        if bid_id not in self.shares:
            sealed = self._sealed(bid_id)
            share = None
            if sealed is not None and self.me in self.members and self._dealt_here(sealed):
                row = self.table.operators[self.table.position_of(self.me) or 0]
                place = self.members.index(self.me)
                share = own_share(self.domain, sealed, place, row.sealing_key, self.cipher)
            self.shares[bid_id] = share
        return self.shares[bid_id]

    def request(self, request_id: Hash) -> ProofRequest | None:
        """A request that no round has admitted, if it is held."""
        held = self.state.requests.get(request_id)
        body = self._archived(request_id) if held is None else held.body
        return body if isinstance(body, ProofRequest) else None

    def _dealt_here(self, sealed: SealedBid) -> bool:
        return sealed.epoch == self.table.epoch and len(sealed.boxes) == len(self.members)

    def _open(self, bid_id: Hash, sealed: SealedBid, shares: Mapping[bytes, bytes]) -> bool:
        """Open a bid if these shares, by member, suffice; whether it is open."""
        if bid_id not in self.opened and not self._dealt_here(sealed):
            self.opened[bid_id] = None
        if bid_id not in self.opened:
            # Shares come one member after the other, and none has to be checked twice.
            judged = self.judged.setdefault(bid_id, {})
            for place, member in enumerate(self.members):
                heard = (place, shares.get(member, b""))
                if heard[1] and heard not in judged:
                    judged[heard] = is_share(sealed, *heard)
            good = dict(heard for heard, is_good in judged.items() if is_good)
            if len(good) < threshold(len(self.members)):
                return False
            self.opened[bid_id] = open_bid(self.domain, sealed, good, self.cipher)
        return True

    def _outcomes(self, value: Value) -> dict[Hash, Outcome]:
        """The Value's outcomes as far as they are known."""
        vouched = self.vouched()
        named = {
            identity: vouched.get(identity) or self._archived_outcome(identity)
            for identity in (Hash(raw) for raw in value.outcomes)
        }
        return {identity: known for identity, known in named.items() if known is not None}

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
        lacking = []
        for bid_id in (Hash(raw) for raw in bids):
            sealed = self._sealed(bid_id)
            if sealed is None:
                lacking.append(bid_id)
            elif not is_ask(sealed) and self.request(Hash(sealed.request_id)) is None:
                lacking.append(Hash(sealed.request_id))
        lacking += [Hash(raw) for raw in outcomes if Hash(raw) not in vouched]
        return tuple(lacking)

    def frames(self, ids: Iterable[bytes]) -> dict[Hash, bytes]:
        """Frames of bids with their requests, and of outcomes, that are held: in the order asked.

        A request may be asked for by itself, too.
        """
        vouched = self.vouched()
        found: dict[Hash, bytes | None] = {}
        for identity in (Hash(raw) for raw in ids):
            sealed = self._sealed(identity)
            if sealed is not None and not is_ask(sealed):
                request_id = Hash(sealed.request_id)
                found[request_id] = self._frame(request_id, vouched)
            found[identity] = self._frame(identity, vouched)
        return {identity: frame for identity, frame in found.items() if frame is not None}

    def _frame(self, identity: Hash, vouched: dict[Hash, Outcome]) -> bytes | None:
        state = self.state
        if identity in state.requests:
            return encode(request_envelope(state.requests[identity]))
        if identity in state.bids:
            return encode(bid_envelope(state.bids[identity]))
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
        """Buyers' bids that this member may list."""
        pool = self._fitting(self.state.bids)
        return listable(self.ledger, pool, self.escrow_of, self.view, self.params)

    def _fitting(self, bids: Mapping[Hash, SignedBid]) -> dict[Hash, tuple[Hash, ProofRequest]]:
        """Buyers' bids with good shares that are for the request that they name, with it."""
        pool: dict[Hash, tuple[Hash, ProofRequest]] = {}
        for bid_id, held in bids.items():
            sealed, request_id = held.body, Hash(held.body.request_id)
            known = self.state.requests.get(request_id)
            if known is None or sealed.round > self._place or self.own_share(bid_id) is None:
                continue
            program = self.state.programs.get(Hash(known.body.program_id))
            if program is not None and (sealed.bidder, sealed.class_id) == (
                known.body.requester,
                program.class_id,
            ):
                pool[bid_id] = (request_id, known.body)
        return pool

    def _asks(self) -> tuple[Hash, ...]:
        """Asks of the open round that this member may list."""
        return tuple(
            bid_id
            for bid_id, held in sorted(self.state.bids.items())
            if is_ask(held.body)
            and held.body.round == self._place
            and self.own_share(bid_id) is not None
        )

    @property
    def _place(self) -> int:
        """The open round."""
        return self.ledger.round + 1

    def _bid_due(self) -> bool:
        """Whether a bid to list may open a round: dealt to few members, it would do so for ever."""
        waited, times = self.now_ms - self.state.decided_ms, self.state.left_out
        return any(
            waited >= pause_ms(times.get(bid, 0), self.params.view_ms) for bid in self._buys()
        )

    def _clear_again(self) -> bool:
        """Once a view: prices moved or provers came, so a request that waits may be served."""
        if self.now_ms < self.state.decided_ms + self.params.view_ms:
            return False
        classes = {Hash(self.state.bids[bid].body.class_id) for bid in self._asks()}
        return any(unserved(self.ledger, class_id) for class_id in classes)

    def _sealed(self, identity: Hash) -> SealedBid | None:
        held = self.state.bids.get(identity)
        body = self._archived(identity) if held is None else held.body
        return body if isinstance(body, SealedBid) else None

    def _archived_outcome(self, identity: Hash) -> Outcome | None:
        body = self._archived(identity)
        return decode_outcome(body) if isinstance(body, OutcomeBody) else None

    def _archived(self, identity: Hash) -> object:
        frame = self.state.archive.get(identity)
        return None if frame is None else decode(frame).body


def pause_ms(times: int, view_ms: int) -> int:
    """How long after a round a bid that so many rounds left out may open the next one.

    A few times at once, for it may have come late to some members; then after 1, 2, 4 ... views.
    """
    return view_ms << min(times - PROMPT, MAX_DOUBLINGS) if times >= PROMPT else 0


def identity_of(domain: Domain, envelope: Envelope) -> Hash | None:
    """Id under which a Value names this body; None for kinds that no Value names.

    Raises:
        Rejection: an outcome that is none.
    """
    match envelope.body:
        case ProofRequest() | SealedBid():
            return digest(domain, envelope.body)
        case OutcomeBody():
            return outcome_id(decode_outcome(envelope.body))
        case _:
            return None


def request_envelope(held: SignedRequest) -> Envelope:
    """A request as it crossed the wire."""
    return Envelope(Kind.REQUEST, held.body.requester, held.body, held.signature)


def bid_envelope(held: SignedBid) -> Envelope:
    """A sealed bid as it crossed the wire."""
    return Envelope(Kind.SEALED_BID, held.body.bidder, held.body, held.signature)
