"""One operator's whole deterministic machine: agreement, certified state, jobs and pools.

    replica = Replica(setup)                      or Replica.restore(setup, snapshot)
    effects = replica.step(input, now_ms)         one journalled input; then its effects are done
    replica.next_deadline_ms()                    step(Tick(), now_ms) then, at the latest
    effects = replica.resume(now_ms)              once after a restart and its replay
    replica.snapshot()

It is pure: the same inputs at the same times give the same effects. Everything it says is a
Publish effect; what it said comes back as Received like anybody else's word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eth_hash.auto import keccak

from protocol import inputs as happened
from protocol import round as agreement
from protocol.application import (
    ReplicaApplication,
    bid_envelope,
    identity_of,
    request_envelope,
)
from protocol.codec import decode, encode
from protocol.dispatch import KNOWN_CLASSES
from protocol.documents import round_document, table_json
from protocol.effects import (
    Broadcast,
    Effect,
    KeepRound,
    Publish,
    Record,
    SendTo,
    ServeBatches,
    WatchEscrow,
)
from protocol.eip712 import Domain, digest
from protocol.errors import LocalProtocolError, Rejection, RejectionReason
from protocol.jobs import Jobs
from protocol.ledger import admissible, genesis, market_of, unserved, wei_of
from protocol.messages import (
    Batches,
    BidList,
    BidReceipt,
    Bodies,
    Envelope,
    Fetch,
    FetchBatches,
    Kind,
    OutcomeBody,
    ProofRequest,
    SealedBid,
    Vote,
)
from protocol.receipts import Receipts
from protocol.replica_state import (
    MAX_BIDS,
    MAX_BIDS_PER_REQUEST,
    MAX_EARLY_SETTLEMENTS,
    MAX_REQUESTS,
    MAX_REQUESTS_PER_OWNER,
    ReplicaState,
    SignedBid,
    SignedReceipt,
    SignedRequest,
    decode_replica,
    empty_state,
    encode_replica,
)
from protocol.rotation import OperatorTable, committee, gateway
from protocol.rounds.context import Missing
from protocol.rounds.phases import Phase
from protocol.rounds.state import fresh, value_held
from protocol.sealing import Offer, Terms, is_ask, seal
from protocol.settlements import Settlements
from protocol.types import Address, Epoch, Hash, TimestampMs, Wei

if TYPE_CHECKING:
    from protocol.crypto import Aggregator, BidCipher
    from protocol.ledger import Ledger
    from protocol.params import ProtocolParams
    from protocol.rounds.context import RoundContext
    from protocol.rounds.state import RoundState

MAX_WANTED: Final = 256
"""Ids in one Fetch."""
MAX_REPLY: Final = 900 * 1_024
"""Bytes of bodies in one answer, below the frame limit of BODIES."""
ENOUGH: Final = 1 << 128
"""An escrow that no reservation exhausts."""
_STATEMENTS: Final = frozenset({Kind.ACCEPT, Kind.RESULT, Kind.UNAVAILABLE, Kind.CANCEL})


@dataclass(frozen=True, slots=True)
class Setup:
    """Who this replica is and on which network."""

    me: Address
    domain: Domain
    params: ProtocolParams
    genesis_ms: int
    secret: bytes
    """32 bytes that only this node knows: all that is random in its asks follows from it."""
    aggregator: Aggregator
    cipher: BidCipher
    """Opens what was sealed to this node's keys."""


class Replica:
    """See the module. Between steps its state may be read, never changed."""

    def __init__(self, setup: Setup, state: ReplicaState | None = None) -> None:
        self.setup = setup
        self.state = empty_state() if state is None else state
        self._tables: dict[int, OperatorTable] = {}
        self._jobs = Jobs(setup.me, setup.domain, setup.params, setup.genesis_ms, self.state)
        self._settlements = Settlements(setup.me, setup.params, self.state)
        self._receipts = Receipts(setup.me, self.state)
        self._app: ReplicaApplication | None = None
        self._effects: list[Effect] = []
        self._now_ms = 0
        self._relayed_ms: dict[Hash, int] = {}
        """When a request that no round has admitted was spread last."""
        self._offered: set[tuple[int, Hash]] = set()
        """Own asks of the open round that are published but did not come back yet."""

    @classmethod
    def restore(cls, setup: Setup, snapshot: bytes) -> Replica:
        """The replica of a snapshot; raises LocalProtocolError if it is damaged."""
        return cls(setup, decode_replica(snapshot))

    def snapshot(self) -> bytes:
        """All of the state."""
        return encode_replica(self.state)

    def step(self, event: happened.AnyInput, now_ms: int) -> list[Effect]:
        """Take in one input."""
        self._begin(now_ms)
        self._take(event)
        self._advance()
        return self._end()

    def resume(self, now_ms: int) -> list[Effect]:
        """Do again what may not have been done before the crash; all of it is safe to do twice."""
        self._begin(now_ms)
        self._jobs.forget_done()
        self._offered.clear()
        for request_id, held in self.state.requests.items():
            self._emit(WatchEscrow(Address(held.body.requester)))
            self._spread(request_id)
        if self.state.round is not None and self.state.round.phase is not Phase.DECIDED:
            self.state.round, effects = agreement.resume(
                self.state.round, self._application(), self._context(), now_ms
            )
            self._stand_by(effects)
        self._advance()
        return self._end()

    def next_deadline_ms(self) -> int | None:
        """When a Tick is due; None if only an input can change things."""
        state = self.state
        due = [self._jobs.next_deadline_ms(), self._settlements.next_deadline_ms()]
        due += [at_ms + self.setup.params.relay_ms for at_ms in self._relayed_ms.values()]
        if state.round is not None:
            due.append(agreement.next_deadline_ms(state.round))
            again = state.decided_ms + self.setup.params.view_ms
            # Once past, it is announced: from then on the round's own deadline counts.
            if state.round.phase is Phase.IDLE and again > self._now_ms and self._waiting():
                due.append(again)
        return min((at for at in due if at is not None), default=None)

    def tables(self) -> dict[int, OperatorTable]:
        """Operator tables by epoch, as many as still matter."""
        return {epoch: self._table(epoch) for epoch in self.state.tables}

    def admission(self, body: ProofRequest, escrow: int, now_ms: int) -> RejectionReason | None:
        """Why a request would not be admitted now; changes nothing."""
        if self.state.ledger is None:
            return RejectionReason.TOO_EARLY
        self._begin(now_ms)
        return self._refusal(body, Wei(escrow), self._application())

    def bid_refusal(self, body: SealedBid) -> RejectionReason | None:
        """Why a sealed bid would not enter the pool now; changes nothing."""
        if self.state.round is None or self.state.ledger is None:
            return RejectionReason.TOO_EARLY
        return self._bid_refusal(body, self.state.ledger, self.state.round.round)

    # ------------------------------------------------------------------ inputs

    def _take(self, event: happened.AnyInput) -> None:
        state = self.state
        match event:
            case happened.Received(frame=frame, peer=peer):
                self._hear(decode(frame), peer)
            case happened.TableOpened():
                self._open_table(event)
            case happened.ProgramRegistered():
                state.programs[Hash(event.program_id)] = event
            case happened.ClockJudged():
                state.clock_ok = event.within_bounds
            case happened.EscrowBalance():
                self._refresh_escrow(Address(event.requester), event.amount)
            case happened.BatchSettled():
                self._settled(event)
            case happened.SettleFailed():
                self._settlements.failed(event.sequence, self._now_ms)
            case happened.InputHeld() | happened.Proved() | happened.ProvingFailed():
                self._effects += self._jobs.own_progress(event, self._now_ms)
            case happened.ProofChecked():
                self._effects += self._jobs.proof_checked(event, self._now_ms)
            case happened.AskPolicy():
                state.policies[Hash(event.class_id)] = event
            case happened.Tick():
                pass

    def _open_table(self, event: happened.TableOpened) -> None:
        state = self.state
        if event.epoch in state.tables:
            return
        state.tables[event.epoch] = event
        self._app = None
        if state.ledger is None:
            state.ledger = genesis(Epoch(event.epoch))
            state.round = fresh(event.epoch, 1, state.ledger.batch, self._now_ms)
            # The others may have decided many rounds: ask, an idle network would not tell.
            state.round, effects = agreement.resume(
                state.round, self._application(), self._context(), self._now_ms
            )
            self._stand_by(effects)

    def _refresh_escrow(self, requester: Address, amount: int) -> None:
        """Note an escrow, and forget requests that it could never back: they fill the pool."""
        state = self.state
        state.escrow[requester] = amount
        state.unrefreshed.pop(requester, None)
        for request_id, held in list(state.requests.items()):
            if held.body.requester == requester and wei_of(held.body.reserve) > amount:
                self._jobs.drop(request_id)
                reason = RejectionReason.ESCROW_TOO_LOW.code
                self._record("request_refused", request=request_id.hex(), reason=reason)

    def _settled(self, event: happened.BatchSettled) -> None:
        if self.state.ledger is not None and event.sequence <= self.state.ledger.sequence:
            self._final(event)
        elif len(self.state.settled_early) < MAX_EARLY_SETTLEMENTS:
            self.state.settled_early[event.sequence] = event

    def _final(self, event: happened.BatchSettled) -> None:
        requests, effects = self._settlements.on_chain(event, self._now_ms)
        self._effects += effects
        for request_id in requests:
            self._jobs.on_chain(request_id, event.transaction, event.gas_used, self._now_ms)

    def _hear(self, envelope: Envelope, peer: bytes) -> None:
        body = envelope.body
        self._keep_asked(envelope)
        match body:
            case ProofRequest():
                self._hear_request(envelope, body)
            case SealedBid():
                self._hear_bid(envelope, body, peer)
            case BidReceipt():
                self._hear_receipt(envelope, body)
            case OutcomeBody():
                pass  # anyone can make up outcomes: only what was asked for is kept
            case Fetch():
                self._serve(Address(envelope.sender), body)
            case FetchBatches():
                self._emit(ServeBatches(Address(envelope.sender), body.from_round))
            case Bodies():
                for frame in body.envelopes:
                    self._hear(decode(frame), b"")
            case Batches():
                self._archive(body)
                self._agree(envelope)
            case _ if Kind(envelope.kind) in _STATEMENTS:
                self._effects += self._jobs.hear(envelope, self._now_ms)
            case BidList():
                self._ask_for_unknown(envelope, body)
                self._agree(envelope)
            case _:
                self._agree(envelope)

    def _hear_request(self, envelope: Envelope, body: ProofRequest) -> None:
        state = self.state
        request_id = Hash(identity_of(self.setup.domain, envelope) or b"")
        if state.ledger is None or request_id in state.jobs:
            return
        owner = Address(body.requester)
        # The escrow is asked for now and judged whenever a list is signed.
        reason = self._refusal(body, Wei(ENOUGH), self._application())
        mine = sum(held.body.requester == owner for held in state.requests.values())
        if reason is None and (
            len(state.requests) >= MAX_REQUESTS or mine >= MAX_REQUESTS_PER_OWNER
        ):
            reason = RejectionReason.QUEUE_FULL
        if reason is not None:
            self._record("request_refused", request=request_id.hex(), reason=reason.code)
            return
        held = SignedRequest(body, envelope.signature)
        state.requests[request_id] = held
        self._jobs.open(request_id, held, self._now_ms)
        self._emit(WatchEscrow(owner))

    def _refusal(
        self, body: ProofRequest, escrow: Wei, app: ReplicaApplication
    ) -> RejectionReason | None:
        return admissible(
            app.ledger,
            digest(self.setup.domain, body),
            body,
            self.state.programs.get(Hash(body.program_id)),
            escrow,
            app.view,
            TimestampMs(self._now_ms),
            [row.operator for row in app.table.operators],
            self.setup.params,
        )

    def _hear_bid(self, envelope: Envelope, body: SealedBid, peer: bytes) -> None:
        state = self.state
        bid_id = Hash(identity_of(self.setup.domain, envelope) or b"")
        if state.round is None or state.ledger is None:
            return
        if bid_id not in state.bids:
            reason = self._bid_refusal(body, state.ledger, state.round.round)
            if reason is not None:
                self._record("bid_refused", bid=bid_id.hex(), reason=reason.code)
                return
            state.bids[bid_id] = SignedBid(body, envelope.signature)
        if peer:
            self._receipts.brought(bid_id, Address(peer))

    def _hear_receipt(self, envelope: Envelope, body: BidReceipt) -> None:
        """Keep what a member promised of a bid in the pool."""
        bid_id = Hash(body.bid_id)
        if bid_id in self.state.bids and body.member in self._context().members:
            held = self.state.receipts.setdefault(bid_id, {})
            held.setdefault(Address(body.member), SignedReceipt(body, envelope.signature))

    def _bid_refusal(
        self, body: SealedBid, ledger: Ledger, open_round: int
    ) -> RejectionReason | None:
        """Why a sealed bid may not enter this node's pool.

        Whether its dealing is good is judged when a list is signed: not every node has a share.
        """
        bids = [held.body for held in self.state.bids.values()]
        if body.round > open_round + 1 or body.epoch > ledger.next_epoch + 1:
            return RejectionReason.TOO_EARLY
        if not is_ask(body):
            if body.epoch < ledger.next_epoch:
                return RejectionReason.STALE
            request_id = Hash(body.request_id)
            if request_id in ledger.open or request_id in ledger.closed:
                return RejectionReason.ALREADY_KNOWN
            same = [other for other in bids if other.request_id == request_id]
            mine = [other for other in bids if other.bidder == body.bidder and not is_ask(other)]
            most = MAX_BIDS_PER_REQUEST * MAX_REQUESTS_PER_OWNER
            if len(same) >= MAX_BIDS_PER_REQUEST:
                return RejectionReason.SECOND_BID
            full = len(bids) >= MAX_BIDS or len(mine) >= most
            return RejectionReason.QUEUE_FULL if full else None
        if body.round < open_round:
            return RejectionReason.STALE
        if not self._is_operator(body.bidder):
            return RejectionReason.NOT_A_MEMBER
        if body.class_id not in KNOWN_CLASSES:
            return RejectionReason.UNKNOWN_CLASS
        slot = (body.round, body.class_id, body.bidder)
        if any((other.round, other.class_id, other.bidder) == slot for other in bids):
            return RejectionReason.SECOND_BID
        return None

    def _keep_asked(self, envelope: Envelope) -> None:
        """Keep what this node asked for, though its pools would refuse it: a Value names it."""
        if self.state.round is None or not self.state.round.asked:
            return
        try:
            identity = identity_of(self.setup.domain, envelope)
        except Rejection:
            return  # an outcome that is none
        if identity is not None and identity in self.state.round.asked:
            self.state.archive[identity] = encode(envelope)

    def _archive(self, body: Batches) -> None:
        """Keep the bodies of decided rounds until they are adopted, the bids' requests too.

        Its pools may refuse them: whoever was away longer than a request runs needs them still.
        """
        for record in body.rounds:
            named = {*record.value.bids, *record.value.outcomes}
            held: dict[bytes, bytes] = {}
            for frame in record.envelopes:
                try:
                    envelope = decode(frame)
                    identity = identity_of(self.setup.domain, envelope)
                except Rejection:
                    continue
                if identity is not None:
                    held[identity] = frame
                if identity in named and isinstance(envelope.body, SealedBid):
                    named.add(envelope.body.request_id)
            self.state.archive.update((Hash(at), held[at]) for at in held if at in named)

    def _ask_for_unknown(self, envelope: Envelope, body: BidList) -> None:
        """Gossip is lossy: what a member lists and this node lacks, the member is asked for."""
        state = self.state
        if state.round is None or state.ledger is None or body.round != state.round.round:
            return
        if envelope.sender == self.setup.me or body.member in state.round.first_lists:
            return
        wanted = self._application().unknown(body.bids, body.outcomes)[:MAX_WANTED]
        if wanted:
            request = Envelope(Kind.FETCH, self.setup.me, Fetch(wanted), b"")
            self._emit(SendTo(Address(envelope.sender), request))

    def _serve(self, asker: Address, body: Fetch) -> None:
        """Answer with the bodies held, and with the evidence of outcomes."""
        app = self._application() if self.state.ledger is not None else None
        if app is None or self.state.round is None:
            return
        frames: list[bytes] = []
        held = app.frames(body.ids)
        for wanted in (Hash(raw) for raw in body.ids):
            found = agreement.lookup(self.state.round, wanted)
            if found is not None:
                frames.append(encode(found))
            elif wanted in held:
                frames.append(held[wanted])
                frames += self._jobs.evidence(decode(held[wanted]).body)
        reply: list[bytes] = []
        for frame in dict.fromkeys(frames):
            if sum(map(len, reply)) + len(frame) > MAX_REPLY:
                break
            reply.append(frame)
        if reply:
            self._emit(
                SendTo(asker, Envelope(Kind.BODIES, self.setup.me, Bodies(tuple(reply)), b""))
            )

    # ------------------------------------------------------------------ agreement

    def _agree(self, envelope: Envelope | None) -> None:
        """Step the round; begin the next one as often as rounds are decided."""
        state = self.state
        if state.round is None:
            return
        if state.round.phase is not Phase.DECIDED:
            state.round, effects = agreement.step(
                state.round, envelope, self._application(), self._context(), self._now_ms
            )
            self._stand_by(effects)
        while state.round.phase is Phase.DECIDED and self._apply(state.round):
            state.round, effects = agreement.next_round(
                state.round, self._application(), self._context(), self._now_ms
            )
            self._stand_by(effects)

    def _stand_by(self, effects: list[Effect]) -> None:
        """Do what the round asks for, and keep until its end what the own list or PREPARE names.

        A request may run out or lose its escrow, a late prover may deliver, before the round is
        decided: what no node held any more, nobody could execute, and no round would follow.
        """
        self._effects += effects
        round_state = self.state.round
        for effect in effects:
            named: tuple[bytes, ...] = ()
            match effect:
                case Publish(body=BidList() as body):
                    named = (*body.bids, *body.outcomes)
                case Publish(kind=Kind.PREPARE, body=Vote() as vote) if round_state is not None:
                    value = value_held(round_state, vote.value)
                    named = () if value is None else (*value.bids, *value.outcomes)
                case _:
                    continue
            self.state.archive.update(self._application().frames(named))

    def _apply(self, decided: RoundState) -> bool:
        """Make the decided round certified state; False while the next table is not known yet."""
        record = decided.outcome
        if record is None or record.value.next_epoch not in self.state.tables:
            return False
        app = self._application()
        execution = app.execution(record.value, record.shares)
        if isinstance(execution, Missing):
            raise LocalProtocolError("a decided round can not be executed")
        content = app.content(record.value, record.shares)
        ctx = self._context()
        leader = b"" if decided.lock is None else gateway(ctx.table, ctx.members, decided.lock.view)
        state = self.state
        state.ledger = execution.ledger
        state.decided_ms = self._now_ms
        self._effects += self._jobs.decided(
            record, execution, content, leader, app.table, self._now_ms
        )
        document = round_document(record, execution, leader, self._now_ms)
        self._emit(
            KeepRound(record.value.round, document, table_json(state.tables[app.table.epoch]))
        )
        for skip in execution.skipped:
            self._record("bid_refused", bid=skip.identity.hex(), reason=skip.reason.code)
        self._settlements.certified(record, execution, app.table, self._now_ms)
        over = set(execution.ledger.open) | set(execution.ledger.closed)
        state.requests = {key: held for key, held in state.requests.items() if key not in over}
        decided_bids = set(record.value.bids)
        state.bids = {
            bid: held
            for bid, held in state.bids.items()
            if bid not in decided_bids and self._goes_on(held.body, execution.ledger)
        }
        state.promised = {
            bid: place
            for bid, place in state.promised.items()
            if place > record.value.round
            and bid not in decided_bids
            and record.value.next_epoch == app.table.epoch
        }
        if not any(number > record.value.round for number in decided.catch_up):
            state.archive = app.frames(state.promised)
        for sequence in sorted(state.settled_early):
            if sequence <= execution.ledger.sequence:
                self._final(state.settled_early.pop(sequence))
        for epoch in [epoch for epoch in state.tables if epoch + 1 < record.value.next_epoch]:
            del state.tables[epoch]
            self._tables.pop(epoch, None)
        self._app = None
        return True

    def _goes_on(self, bid: SealedBid, ledger: Ledger) -> bool:
        """Whether a bid that was not decided can be so in a later round."""
        if is_ask(bid):
            return bid.round > ledger.round
        over = bid.request_id in ledger.open or bid.request_id in ledger.closed
        return bid.epoch >= ledger.next_epoch and not over

    def _context(self) -> RoundContext:
        if self.state.round is None:
            raise LocalProtocolError("no round before the first operator table")
        setup = self.setup
        epoch = self.state.ledger.next_epoch if self.state.ledger else self.state.round.epoch
        return agreement.context(
            setup.me,
            self._table(epoch),
            setup.genesis_ms,
            setup.params,
            setup.domain,
            setup.aggregator,
        )

    def _table(self, epoch: int) -> OperatorTable:
        if epoch not in self._tables:
            opened = self.state.tables[epoch]
            self._tables[epoch] = OperatorTable(epoch, Hash(opened.seed), opened.operators)
        return self._tables[epoch]

    def _is_operator(self, address: bytes) -> bool:
        return self._context().table.position_of(address) is not None

    def _application(self) -> ReplicaApplication:
        ledger = self.state.ledger
        if ledger is None:
            raise LocalProtocolError("no market before the first operator table")
        if self._app is None or self._app.ledger is not ledger:
            table = self._table(ledger.next_epoch)
            self._app = ReplicaApplication(
                state=self.state,
                ledger=ledger,
                table=table,
                members=committee(table, self.setup.params),
                cipher=self.setup.cipher,
                me=self.setup.me,
                domain=self.setup.domain,
                params=self.setup.params,
                genesis_ms=self.setup.genesis_ms,
                now_ms=self._now_ms,
            )
        self._app.now_ms = self._now_ms
        return self._app

    # ------------------------------------------------------------------ own initiative

    def _advance(self) -> None:
        """What is due after any input: jobs, agreement, the ask of the open round."""
        ledger = self.state.ledger
        if ledger is None:
            return
        self._effects += self._jobs.advance(self._now_ms)
        self._relay()
        self._agree(None)
        if self.state.ledger is not ledger:
            self._effects += self._jobs.advance(self._now_ms)
        self._effects += self._settlements.advance(self._now_ms)
        self._offer()
        self._answer()

    def _relay(self) -> None:
        """Spread again what f + 1 members have to know before a round can open for it."""
        pool = self.state.requests
        self._relayed_ms = {
            request: self._relayed_ms.get(request, self._now_ms) for request in pool
        }
        for request_id, at_ms in self._relayed_ms.items():
            if self._now_ms >= at_ms + self.setup.params.relay_ms:
                self._relayed_ms[request_id] = self._now_ms
                self._spread(request_id)

    def _spread(self, request_id: Hash) -> None:
        """A request and what was bid for it."""
        self._emit(Broadcast(request_envelope(self.state.requests[request_id]), reliable=True))
        for held in self.state.bids.values():
            if held.body.request_id == request_id:
                self._emit(Broadcast(bid_envelope(held), reliable=True))

    def _offer(self) -> None:
        """Ask for the open round, once, when it begins: a request then finds the asks there."""
        state = self.state
        if state.round is None or state.ledger is None or not self._is_operator(self.setup.me):
            return
        place = state.round.round
        asked = {
            held.body.class_id
            for held in state.bids.values()
            if held.body.round == place and held.body.bidder == self.setup.me
        }
        for class_id, policy in sorted(state.policies.items()):
            if policy.slots < 1 or class_id in asked or (place, class_id) in self._offered:
                continue
            announced = market_of(state.ledger, class_id, self.setup.params).announced
            slots = announced.get(self.setup.me, policy.slots)
            body = self._sealed_ask(state.round.epoch, place, class_id, slots, Wei(policy.price))
            self._offered = {(place, class_id), *(at for at in self._offered if at[0] == place)}
            slot = bytes([Kind.SEALED_BID]) + place.to_bytes(8, "big") + class_id
            self._emit(Publish(Kind.SEALED_BID, body, slot, True))

    def _answer(self) -> None:
        """Give receipts for bids that this member's next list will carry."""
        if self.state.round is not None and self.state.round.phase is not Phase.DECIDED:
            ctx = self._context()
            self._effects += self._receipts.answers(
                self._application(),
                closed=agreement.list_is_closed(self.state.round, ctx),
                most=ctx.list_cap,
            )

    def _sealed_ask(
        self, epoch: int, number: int, class_id: Hash, slots: int, price: Wei
    ) -> SealedBid:
        setup, table = self.setup, self._table(epoch)
        members = committee(table, setup.params)
        keys = {row.operator: row.sealing_key for row in table.operators}
        terms = Terms(epoch, number, class_id, setup.me)
        offer = Offer(price, slots)
        # All that is sealed, and to whom, is in the seed: no key is used for two texts.
        text = f"{epoch} {number} {class_id.hex()} {slots} {price} {table.seed.hex()}"
        seed = keccak(setup.secret + b"ask" + text.encode())
        dealt_to = [keys[member] for member in members]
        return seal(setup.domain, terms, offer, dealt_to, seed, setup.cipher)

    def _waiting(self) -> bool:
        """Whether a request is left in a market in which somebody asks."""
        ledger = self.state.ledger
        classes = {Hash(bid.body.class_id) for bid in self.state.bids.values() if is_ask(bid.body)}
        return ledger is not None and any(unserved(ledger, class_id) for class_id in classes)

    def _begin(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._effects = []

    def _end(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _record(self, event: str, **fields: str | int) -> None:
        self._emit(Record(event, TimestampMs(self._now_ms), tuple(sorted(fields.items()))))
