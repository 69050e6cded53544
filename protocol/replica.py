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

from typing import TYPE_CHECKING, Final

from protocol import inputs as happened
from protocol import round as agreement
from protocol.accusations import Accusations
from protocol.application import ReplicaApplication, identity_of, pause_ms
from protocol.codec import decode, encode
from protocol.documents import round_document, table_json
from protocol.effects import (
    Effect,
    KeepReceipt,
    KeepRound,
    Publish,
    Record,
    SendTo,
    ServeBatches,
    WatchEscrow,
)
from protocol.eip712 import digest
from protocol.errors import LocalProtocolError, Rejection, RejectionReason
from protocol.jobs import Jobs
from protocol.ledger import genesis, unserved
from protocol.messages import (
    Batches,
    BidList,
    BidReceipt,
    Bodies,
    Envelope,
    Evidence,
    Fetch,
    FetchBatches,
    Kind,
    OutcomeBody,
    ProofRequest,
    SealedBid,
    Vote,
)
from protocol.offers import Offers
from protocol.pool import Pool
from protocol.receipts import Receipts
from protocol.replica_state import (
    MAX_EARLY_SETTLEMENTS,
    ReplicaState,
    decode_replica,
    empty_state,
    encode_replica,
)
from protocol.rotation import OperatorTable, committee, gateway
from protocol.rounds.context import Missing
from protocol.rounds.phases import Phase
from protocol.rounds.state import fresh, value_held
from protocol.sealing import is_ask
from protocol.settlements import Settlements
from protocol.types import Address, Epoch, Hash, TimestampMs, Wei

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.rounds.context import RoundContext
    from protocol.rounds.state import RoundState
    from protocol.setup import Setup

MAX_WANTED: Final = 256
"""Ids in one Fetch."""
MAX_REPLY: Final = 900 * 1_024
"""Bytes of bodies in one answer, below the frame limit of BODIES."""
_STATEMENTS: Final = frozenset({Kind.ACCEPT, Kind.RESULT, Kind.UNAVAILABLE, Kind.CANCEL})


class Replica:
    """See the module. Between steps its state may be read, never changed."""

    def __init__(self, setup: Setup, state: ReplicaState | None = None) -> None:
        self.setup = setup
        self.state = empty_state() if state is None else state
        self._tables: dict[int, OperatorTable] = {}
        self._jobs = Jobs(setup.me, setup.domain, setup.params, setup.genesis_ms, self.state)
        self._pool = Pool(setup.me, setup.domain, setup.params, self.state, self._jobs)
        self._offers = Offers(setup, self.state)
        self._settlements = Settlements(setup.me, setup.params, self.state)
        self._receipts = Receipts(setup.me, self.state)
        self._accusations = Accusations(setup.me, setup.domain, self.state)
        self._app: ReplicaApplication | None = None
        self._effects: list[Effect] = []
        self._now_ms = 0

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
        self._offers.forget()
        self._accusations.forget()
        for request_id, held in self.state.requests.items():
            self._emit(WatchEscrow(Address(held.body.requester)))
            self._effects += self._pool.spread(request_id)
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
        due.append(self._pool.next_relay_ms())
        if state.round is not None:
            due.append(agreement.next_deadline_ms(state.round))
            # Once past, it is announced: from then on the round's own deadline counts.
            if state.round.phase is Phase.IDLE:
                due += [at for at in self._openings() if at > self._now_ms]
        return min((at for at in due if at is not None), default=None)

    def tables(self) -> dict[int, OperatorTable]:
        """Operator tables by epoch, as many as still matter."""
        return {epoch: self._table(epoch) for epoch in self.state.tables}

    def admission(self, body: ProofRequest, escrow: int, now_ms: int) -> RejectionReason | None:
        """Why a request would not be admitted now; changes nothing."""
        if self.state.ledger is None:
            return RejectionReason.TOO_EARLY
        self._begin(now_ms)
        return self._pool.refusal(body, Wei(escrow), self._application(), now_ms)

    def bid_refusal(self, body: SealedBid) -> RejectionReason | None:
        """Why a sealed bid would not enter the pool now; changes nothing."""
        if self.state.ledger is None:
            return RejectionReason.TOO_EARLY
        return self._pool.bid_refusal(body, self._application())

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
                requester = Address(event.requester)
                self._effects += self._pool.escrow(requester, event.amount, self._now_ms)
                self._receipts.changed(requester)
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
            case ProofRequest() | SealedBid() | BidReceipt() | Evidence():
                if self.state.ledger is not None:
                    self._hear_pooled(envelope, peer)
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

    def _hear_pooled(self, envelope: Envelope, peer: bytes) -> None:
        """What may come at any time, and what no round has to decide about."""
        app = self._application()
        match envelope.body:
            case ProofRequest() as body:
                self._effects += self._pool.hear_request(envelope, body, app, self._now_ms)
                self._receipts.changed(Address(body.requester))
            case SealedBid() as body:
                self._effects += self._pool.hear_bid(envelope, body, app, self._now_ms)
                if peer:
                    self._receipts.brought(digest(self.setup.domain, body), Address(peer))
            case BidReceipt() as body:
                receipt = self._pool.hear_receipt(envelope, body, app.members)
                if receipt is not None:
                    self._accusations.heard_receipt(receipt)
                    bid = self.state.bids[Hash(body.bid_id)].body
                    if not is_ask(bid):
                        self._emit(KeepReceipt(Hash(bid.request_id), envelope))
            case Evidence() as body if body.epoch in self.state.tables:
                ctx = self._context_of(body.epoch)
                self._effects += self._accusations.hear(envelope, body, ctx, self._now_ms)

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
            found: dict[Hash, bytes] = {}
            for frame in record.envelopes:
                envelope = decode(frame)
                try:
                    identity = identity_of(self.setup.domain, envelope)
                except Rejection:
                    continue
                if identity is not None:
                    found[identity] = frame
                if identity in named and isinstance(envelope.body, SealedBid):
                    named.add(envelope.body.request_id)
            self.state.archive.update(
                {identity: frame for identity, frame in found.items() if identity in named}
            )

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
        looked_up = (agreement.lookup(self.state.round, wanted) for wanted in body.ids)
        frames = [encode(found) for found in looked_up if found is not None]
        for frame in app.frames(body.ids).values():
            frames.append(frame)
            frames += self._jobs.evidence(decode(frame).body)
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
        own = decided.lists.get(decided.first_lists.get(self.setup.me, b""))
        listed = () if own is None else own.body.bids
        self._pool.decided(record.value.bids, listed, execution.ledger)
        self._receipts.changed()
        state.promised = {
            bid: place
            for bid, place in state.promised.items()
            if place > record.value.round and record.value.next_epoch == app.table.epoch
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

    def _context(self) -> RoundContext:
        if self.state.round is None:
            raise LocalProtocolError("no round before the first operator table")
        epoch = self.state.ledger.next_epoch if self.state.ledger else self.state.round.epoch
        return self._context_of(epoch)

    def _context_of(self, epoch: int) -> RoundContext:
        setup = self.setup
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
        self._effects += self._pool.relay(self._now_ms)
        self._agree(None)
        if self.state.ledger is not ledger:
            self._effects += self._jobs.advance(self._now_ms)
        self._effects += self._settlements.advance(self._now_ms)
        self._bid()

    def _bid(self) -> None:
        """Ask for the open round, give receipts for what its list will carry, report faults."""
        state = self.state
        if state.round is None or state.ledger is None:
            return
        ctx = self._context()
        if ctx.table.position_of(self.setup.me) is not None:
            self._effects += self._offers.due(state.round.round, state.ledger, ctx.table)
        self._effects += self._accusations.found(ctx)
        if state.round.phase is not Phase.DECIDED:
            self._effects += self._receipts.answers(
                self._application(),
                closed=agreement.list_is_closed(state.round, ctx),
                most=ctx.list_cap,
            )

    def _openings(self) -> Iterator[int]:
        """When this node may want a round though nothing comes in."""
        state, view_ms = self.state, self.setup.params.view_ms
        classes = {Hash(bid.body.class_id) for bid in state.bids.values() if is_ask(bid.body)}
        if state.ledger is not None and any(unserved(state.ledger, each) for each in classes):
            yield state.decided_ms + view_ms
        for times in state.left_out.values():
            yield state.decided_ms + pause_ms(times, view_ms)

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
