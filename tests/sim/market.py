"""The whole replica in the world: requests, provers, and a chain that takes each batch once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from protocol import codec
from protocol.claims import CombineValues, SegmentValues, encode_combine, encode_segment
from protocol.claims import segment_hash_list as hash_list
from protocol.dispatch import JobClass, Tier
from protocol.effects import (
    CheckProof,
    Decided,
    Effect,
    Forget,
    KeepEvidence,
    KeepRound,
    StartProving,
    SubmitBatch,
    WatchEscrow,
)
from protocol.eip712 import batch_digest, digest, value_digest
from protocol.hashing import keccak
from protocol.inputs import (
    AnyInput,
    AskPolicy,
    BatchSettled,
    ClockJudged,
    EscrowBalance,
    InputHeld,
    ProgramRegistered,
    ProofChecked,
    Proved,
    SettleFailed,
    TableOpened,
)
from protocol.job import Stage
from protocol.messages import BuyBid, DecidedRound, Kind, ProofRequest, SealedBid
from protocol.params import ProtocolParams
from protocol.replica import Replica
from protocol.round import RoundContext, RoundState
from protocol.sealing import Offer, Terms, is_ask, is_share, open_bid, seal, threshold
from protocol.setup import Setup
from protocol.types import Address, Hash
from tests.sim.bidders import short, twisted
from tests.sim.crypto import Keys
from tests.sim.judge import ViolationError
from tests.sim.mischief import LATER_MARKET_HABITS, MARKET_HABITS
from tests.sim.run import DOMAIN, LIVENESS_VIEWS, PARAMS, Result, Run
from tests.sim.world import Shell, World, signed_envelope

PROGRAM, CLASS = keccak(b"program"), JobClass("groth16", Tier.S).class_id
PRICE = PARAMS.initial_price_wei
ESCROW = 10_000 * PRICE
REQUEST_VIEWS = (5, 6, 24, 24)
"""Views that a request has from its submission to its deadline, drawn: the short ones end about
when an accept timeout does, or before a round could admit them."""


class ReplicaPort:
    """A `Replica` as a `NodePort`; remembers what it decided across restarts by its effects."""

    def __init__(
        self,
        me: Address,
        params: ProtocolParams,
        keys: Keys,
        kept: dict[int, tuple[bytes, bytes]],
    ) -> None:
        self.address = me
        secret = bytes(me) + bytes(12)
        self.setup = Setup(me, DOMAIN, params, 0, secret, keys.checker, keys.cipher(me))
        self.replica = Replica(self.setup)
        self.kept = kept

    @property
    def round(self) -> RoundState:
        assert self.replica.state.round is not None
        return self.replica.state.round

    @property
    def ctx(self) -> RoundContext:
        return self.replica._context()

    def step(self, event: AnyInput, now_ms: int) -> Sequence[object]:
        return self._note(self.replica.step(event, now_ms))

    def resume(self, now_ms: int) -> Sequence[object]:
        return self._note(self.replica.resume(now_ms))

    def next_deadline_ms(self) -> int | None:
        return self.replica.next_deadline_ms()

    def snapshot(self) -> bytes:
        return self.replica.snapshot()

    def restore(self, raw: bytes) -> None:
        self.replica = Replica.restore(self.setup, raw)

    def decisions(self) -> list[tuple[bytes, bytes]]:
        return [self.kept[number] for number in sorted(self.kept)]

    def _note(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Decided):
                record = effect.record
                pair = (value_digest(DOMAIN, record.value), record.certificate.digest)
                if self.kept.setdefault(record.value.round, pair) != pair:
                    raise ViolationError(f"round {record.value.round} decided twice otherwise")
        return effects


@dataclass
class Chain:
    """The market's contract: one batch per sequence, each on the one before."""

    root: bytes = bytes(32)
    sequence: int = 0
    log: list[BatchSettled] = field(default_factory=list)
    debits: dict[bytes, int] = field(default_factory=dict)

    def settle(self, batch: SubmitBatch) -> BatchSettled | None:
        """The event of a batch that is accepted; None: reverted."""
        header = batch.header
        if batch.certificate.digest != batch_digest(DOMAIN, header):
            raise ViolationError("a certificate of another batch is submitted")
        if header.sequence != self.sequence + 1 or header.parent != self.root:
            return None
        if keccak(batch.debits) != header.debits_hash:
            raise ViolationError("debits that the header does not name are submitted")
        for start in range(0, len(batch.debits), 32):
            owner = batch.debits[start : start + 20]
            amount = int.from_bytes(batch.debits[start + 20 : start + 32], "big")
            self.debits[owner] = self.debits.get(owner, 0) + amount
        if any(amount > ESCROW for amount in self.debits.values()):
            raise ViolationError("more is debited than the escrow holds")
        self.sequence, self.root = header.sequence, header.root
        self.log.append(BatchSettled(self.sequence, self.root, keccak(header.root), 100_000))
        return self.log[-1]


class MarketRun(Run):
    """A run of the replica; the same faults, another load, and money to count."""

    # A request that is never worth its price ends with its deadline: expired, nothing paid.
    liveness_views = max(REQUEST_VIEWS) + LIVENESS_VIEWS

    views: tuple[int, ...] = REQUEST_VIEWS

    def __init__(self, seed: int, *, keys: Keys | None = None) -> None:
        self.chain = Chain()
        self.requests: dict[bytes, int] = {}
        """Request id -> when it was handed in, if every good network has the time to end it."""
        self.travelling = 0
        """Requests that are still to be made, or have not reached all whom they are sent to."""
        self.bodies: dict[bytes, tuple[bytes, bytes]] = {}
        """Request id -> frames of the request and of its bid."""
        self.ended: set[tuple[int, bytes]] = set()
        """Node and request: closed there, as its ledger says for a while, and its `Forget`."""
        self.inputs: set[tuple[int, int, bytes, int]] = set()
        """Node, its life, request, segment: inputs that were sent."""
        self.proven: Counter[str] = Counter()
        """Faults of which nodes hold evidence."""
        self.returned: set[str] = set()
        """Requests that went back to their market."""
        self.proving_from_ms = 0
        """Until then provers accept, and deliver nothing."""
        self.absent: set[bytes] = set()
        """Requests whose owner is gone before it delivers any input."""
        self.fees: dict[bytes, int] = {}
        """Id of an honest owner's bid -> what is in it."""
        self.short: set[bytes] = set()
        """Bids that too few members can list for anybody to have to end their request."""
        self.opened = 0
        """Honest owners' bids that a round decided, and that opened to what is in them."""
        super().__init__(seed, keys=keys)
        self.owner = self.keys.address_of("owner")
        self.mischief.habits |= {habit for habit in MARKET_HABITS if self.rng.random() < 0.5}
        self.mischief.habits |= {habit for habit in LATER_MARKET_HABITS if self.more.random() < 0.4}

    def _shells(self) -> list[Shell]:
        return [
            Shell(place, self._maker(place), honest=place not in self.faulty)
            for place in range(len(self.table.operators))
        ]

    def _maker(self, place: int) -> Callable[[], ReplicaPort]:
        me = Address(self.table.operators[place].operator)
        return partial(ReplicaPort, me, self.params, self.keys, {})

    def _plan(self) -> None:
        for shell in self.world.nodes:
            self._boot(shell)
        super()._plan()

    def _boot(self, shell: Shell) -> None:
        """What a node reads from the chain and its settings before anything else."""
        price = PRICE // self.rng.randint(1, 10)
        table = TableOpened(self.table.epoch, self.table.seed, self.table.operators)
        program = ProgramRegistered(PROGRAM, CLASS, 8)
        for event in (table, program, ClockJudged(True), AskPolicy(CLASS, 8, price)):
            self.world.deliver(shell.index, event)

    def _lose_disk(self, index: int) -> None:
        super()._lose_disk(index)
        self.world.nodes[index].make = self._maker(index)

    def _plan_item(self, at_ms: int) -> None:
        self.last_item_ms = max(self.last_item_ms, at_ms)
        self.world.at(at_ms, self._submit)
        self.travelling += 1
        self.world.at(at_ms + self.view_ms, self._arrive)

    def _arrive(self) -> None:
        self.travelling -= 1

    def _submit(self) -> None:
        """An owner signs a request and hands it to one or more nodes; it keeps a copy."""
        rng, now = self.rng, self.world.now_ms
        slots = rng.randint(2, 4)
        fee = slots * PRICE * rng.randint(1, 3)
        views = rng.choice(self.views)
        request = ProofRequest(
            program_id=PROGRAM,
            requester=self.owner,
            input_hashes=tuple(keccak(rng.randbytes(4)) for _ in range(slots)),
            copies=1,
            reserve=(fee + rng.randint(0, 2 * PRICE)).to_bytes(32, "big"),
            issued_at=now // 1_000,
            deadline_view=now // self.view_ms + views,
            allowlist=(),
            salt=rng.randbytes(32),
        )
        request_id = digest(DOMAIN, request)
        signed = signed_envelope(self.owner, Kind.REQUEST, request, request_id, self.keys)
        bids = self._bids(request_id, fee)
        listed = digest(DOMAIN, bids[0]) not in self.short
        if views == max(self.views) and listed:
            self.requests[request_id] = now
        frames = (codec.encode(signed), *map(self._bid_frame, bids))
        self.bodies[request_id] = frames
        if rng.random() < 0.2:
            self.absent.add(request_id)
        for shell in self.honest():
            if now >= self.gst_ms or rng.random() < 0.7:
                for each in frames:
                    self._hand_in(shell.index, each, now + rng.randint(1, 80))

    def _bids(self, request_id: bytes, fee: int) -> list[SealedBid]:
        """The owner's bid, sealed to all operators; some owners cheat, or bid twice."""
        sound, keys = self._bid(request_id, fee), [row.sealing_key for row in self.table.operators]
        how = self.more.random()
        if how < 0.1:
            dealt = short(sound, self.more)
            self.short.add(digest(DOMAIN, dealt))
            return [dealt]
        if how < 0.2 and threshold(len(keys)) < len(keys):
            return [twisted(DOMAIN, sound, keys, self.keys.cipher(), self.more)]
        bids = [sound]
        if how < 0.3:
            bids.append(self._bid(request_id, fee - 1))
        for place, bid in enumerate(bids):
            self.fees[digest(DOMAIN, bid)] = fee - place
        return bids

    def _bid(self, request_id: bytes, fee: int) -> SealedBid:
        """A bid dealt to all operators: each is on the committee."""
        rounds = [
            replica.state.round.round
            for replica in map(self._replica, self.honest())
            if replica.state.round is not None
        ]
        place = min(rounds, default=1)
        terms = Terms(self.table.epoch, place, CLASS, self.owner, request_id)
        keys = [row.sealing_key for row in self.table.operators]
        seed = self.rng.randbytes(32)
        return seal(DOMAIN, terms, Offer(fee), keys, seed, self.keys.cipher())

    def _bid_frame(self, bid: SealedBid) -> bytes:
        signed = digest(DOMAIN, bid)
        owner = self.owner
        return codec.encode(signed_envelope(owner, Kind.SEALED_BID, bid, signed, self.keys))

    def _spread(self) -> None:
        for frame in (frame for frames in self.bodies.values() for frame in frames):
            for shell in self.honest():
                self._hand_in(shell.index, frame, self.world.now_ms + self.rng.randint(1, 50))
        for shell in self.world.nodes:
            self._catch_up_with_chain(shell)

    # ------------------------------------------------------------------ outside the machines

    def _outside(self, world: World, shell: Shell, effect: object) -> None:
        match effect:
            case WatchEscrow(requester=owner):
                left = ESCROW - self.chain.debits.get(owner, 0)
                self._later(shell, EscrowBalance(owner, left), 30)
            case StartProving(request_id=request_id, segment=segment):
                if world.now_ms >= self.proving_from_ms:
                    self._later(shell, self._proof(shell, request_id, segment), 2_000)
            case CheckProof(digest=proof):
                self._later(shell, ProofChecked(proof, True, ""), 60)
            case Forget(request_id=request_id):
                self.ended.add((shell.index, request_id))
            case KeepEvidence(document=document) if shell.honest:
                self._judge_evidence(document)
            case KeepRound(document=document):
                self.returned.update(document["returned"])
            case SubmitBatch():
                self._later_settle(shell, effect)

    def _judge_evidence(self, document: Mapping[str, object]) -> None:
        """Only of operators that are faulty may anything ever be proven."""
        self.proven[str(document["fault"])] += 1
        accused = bytes.fromhex(str(document["accused"])[2:])
        for shell in self.honest():
            if shell.machine.address == accused:
                raise ViolationError(f"an honest node is proven guilty of {document['fault']}")

    def _later(self, shell: Shell, answer: AnyInput, within_ms: int) -> None:
        machine = shell.machine

        def deliver() -> None:
            if shell.machine is machine:
                self.world.deliver(shell.index, answer)

        self.world.at(self.world.now_ms + self.rng.randint(1, within_ms), deliver)

    def _later_settle(self, shell: Shell, batch: SubmitBatch) -> None:
        def mined() -> None:
            event = self.chain.settle(batch)
            if event is None:
                self._later(shell, SettleFailed(batch.header.sequence, "reverted"), 50)
                return
            for each in self.world.nodes:
                self._later(each, event, 500)

        self.world.at(self.world.now_ms + self.rng.randint(1, 1_000), mined)

    def _proof(self, shell: Shell, request_id: Hash, segment: int) -> Proved:
        job = self._replica(shell).state.jobs[request_id]
        me, last = shell.machine.address, len(job.input_hashes) - 1
        roots = [1 + place for place in range(last)]
        if segment == last:
            combined = CombineValues(request_id, me, 7, 1_000, hash_list(roots))
            return Proved(request_id, segment, encode_combine(combined), b"proof")
        values = SegmentValues(request_id, me, segment, 16, roots[segment])
        return Proved(request_id, segment, encode_segment(values), b"proof")

    def _watch(self, shell: Shell) -> None:
        if self._replica(shell).state.round is None:
            return
        super()._watch(shell)
        ledger = self._replica(shell).state.ledger
        if ledger is not None:
            self.ended.update((shell.index, request_id) for request_id in ledger.closed)
        for request_id, job in self._replica(shell).state.jobs.items():
            for place, segment in enumerate(job.segments):
                mine = segment.operator == shell.machine.address and not segment.input_held
                if mine and request_id not in self.absent and segment.stage is Stage.ASSIGNED:
                    # The owner sends the private input, and again to whoever says it lacks it.
                    key = (shell.index, shell.lives, request_id, place)
                    if key not in self.inputs:
                        self.inputs.add(key)
                        self._later(shell, InputHeld(request_id, place), 200)

    def _revive(self, index: int) -> None:
        super()._revive(index)
        self._catch_up_with_chain(self.world.nodes[index])

    def _catch_up_with_chain(self, shell: Shell) -> None:
        """The event cursor goes on where it was: what was missed is read again."""
        for event in self.chain.log:
            self._later(shell, event, 200)

    # ------------------------------------------------------------------ judgement

    def _decides(self, record: DecidedRound) -> None:
        """Every bid of a decided round opens, an honest owner's to what is in it."""
        places = {member: place for place, member in enumerate(self.members)}
        envelopes = map(codec.decode, record.envelopes)
        bids = {digest(DOMAIN, e.body): e.body for e in envelopes if e.kind == Kind.SEALED_BID}
        for at, bid_id in enumerate(record.value.bids):
            sealed = bids[Hash(bid_id)]
            assert isinstance(sealed, SealedBid)
            revealed = {places[Address(held.member)]: held.shares[at] for held in record.shares}
            good = {p: share for p, share in revealed.items() if is_share(sealed, p, share)}
            if len(good) < threshold(len(self.members)):
                raise ViolationError("a bid of a decided round does not open")
            if bid_id in self.fees and not is_ask(sealed):
                bid = open_bid(DOMAIN, sealed, good, self.keys.cipher())
                wanted = self.fees[bid_id].to_bytes(32, "big")
                if not isinstance(bid, BuyBid) or bid.max_fee != wanted:
                    raise ViolationError("a bid opens to something else than its owner sealed")
                self.opened += 1

    def _everything_decided(self) -> bool:
        arrived = not self.travelling
        return arrived and all(self._at_rest(shell) for shell in self.honest())

    def _at_rest(self, shell: Shell) -> bool:
        state = self._replica(shell).state
        idle = state.ledger is not None and not state.ledger.open and not state.unsettled
        ended = all((shell.index, request) in self.ended for request in self._owed())
        return idle and ended and not state.jobs

    def _owed(self) -> list[bytes]:
        """Requests that the good network has to end, served or expired."""
        return [request for request, at in self.requests.items() if at >= self.gst_ms]

    def _judge_state(self) -> None:
        ledgers = [self._replica(shell).state.ledger for shell in self.honest()]
        if any(ledger != ledgers[0] for ledger in ledgers):
            raise ViolationError("honest nodes differ in certified state")
        ledger = ledgers[0]
        assert ledger is not None
        debited = sum(self.chain.debits.values())
        if sum(ledger.credits.values()) + ledger.treasury != debited:
            raise ViolationError("credits and treasury are not what was debited")
        if self.chain.sequence != ledger.sequence:
            raise ViolationError("the chain does not hold every batch")

    def _replica(self, shell: Shell) -> Replica:
        assert isinstance(shell.machine, ReplicaPort)
        return shell.machine.replica


def run_market_seed(seed: int) -> Result:
    """Run one seed of the replica to its end."""
    return MarketRun(seed).go()
