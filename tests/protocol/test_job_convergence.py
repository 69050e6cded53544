"""Four nodes, one request, a lossy network, one faulty operator: whatever happens, they agree."""

from __future__ import annotations

from enum import Enum
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.batch import ResultStatus
from protocol.claims import CombineValues, SegmentValues, encode_combine, encode_segment
from protocol.claims import segment_hash_list as hash_list
from protocol.duties import Check, Prove, Relay, SayUnavailable, SendAccept, todo, vouches
from protocol.errors import Rejection
from protocol.hashing import keccak
from protocol.job import new_job, step
from protocol.job_inputs import (
    AcceptSeen,
    Admitted,
    Awarded,
    Classified,
    Closed,
    InputHeld,
    ResultChecked,
    ResultSeen,
    Returned,
    Ticked,
    UnavailableSeen,
)
from protocol.lifecycle import CLOSED
from protocol.outcomes import outcome_id
from protocol.params import DEVNET
from tests.protocol.certified import OPERATORS, World, id_of, request_body

BODY = request_body(slots=4)
REQUEST = id_of(BODY)
STEP_MS = 500
ROUND_MS = 2_000
DEADLINE_MS = 400_000
QUORUM = 3


class Fault(Enum):
    NONE = "none"
    DEAD = "dead"
    DIES_LATER = "dies later"
    NEVER_PROVES = "accepts, never proves"
    INVALID = "invalid proofs"
    EQUIVOCATES = "a valid proof to some, an invalid one to the others"
    OTHER_INPUT = "valid proofs of another input"
    TWO_INPUTS = "valid proofs of two inputs, each to some"
    UNAVAILABLE = "says unavailable"


class Net:
    """Nodes' jobs around one ledger; the odds of a message are those of `loss`."""

    def __init__(self, seed, fault, *, loss=0.3, withheld=False, faulty=OPERATORS[0]):
        self.random = Random(seed)
        self.fault, self.faulty, self.loss, self.withheld = fault, faulty, loss, withheld
        self.dies_ms = self.random.randrange(0, 40_000)
        self.now = 0
        self.world = World()
        self.inbox = []
        self.done = {operator: set() for operator in OPERATORS}
        self.held = {operator: {} for operator in OPERATORS}
        self.status = None
        asks = self.world.asks()
        self.world.decide([BODY], asks)
        self.jobs = {}
        for me in OPERATORS:
            self.jobs[me] = new_job(REQUEST, BODY.request, me, DEADLINE_MS, 0)
            self.feed(me, Classified())
            self.feed(me, Admitted())
            self.feed(me, Awarded(self.world.award(BODY)))
        self.deliver_inputs()

    def lives(self, operator):
        if operator != self.faulty:
            return True
        return self.fault is not Fault.DEAD and not (
            self.fault is Fault.DIES_LATER and self.now >= self.dies_ms
        )

    def feed(self, me, what):
        try:
            self.jobs[me] = step(self.jobs[me], what, self.now, DEVNET)
        except Rejection:
            return

    def deliver_inputs(self):
        """The requester seals each segment to its prover as soon as it knows the award."""
        for place, operator in enumerate(self.world.award(BODY).provers):
            if not self.withheld and self.lives(operator):
                self.feed(operator, InputHeld(place))

    def publics(self, segment, prover, root=None):
        roots = (111, 222, 333)
        if segment == 3:
            hashes = roots if root is None else (root, *roots[1:])
            return encode_combine(CombineValues(REQUEST, prover, 999, 5, hash_list(hashes)))
        value = roots[segment] if root is None else root
        return encode_segment(SegmentValues(REQUEST, prover, segment, 16, value))

    def send(self, sender, place, *statements):
        """To everyone, each copy with its own luck; of two statements, each gets one."""
        for statement in statements:
            self.held[sender].setdefault(place, set()).add(statement)
        for receiver in OPERATORS:
            statement = self.random.choice(statements)
            if receiver == sender or self.random.random() > self.loss:
                delay = self.random.randrange(0, 3) * STEP_MS
                self.inbox.append((self.now + delay, receiver, place, statement))

    def prove(self, me, place):
        fault = self.fault if me == self.faulty else Fault.NONE
        if fault is Fault.NEVER_PROVES:
            return
        words = self.publics(place, me, 777 if fault is Fault.OTHER_INPUT else None)
        good, bad = (
            ResultSeen(place, me, keccak(kind + b"".join(words)), words) for kind in (b"y", b"n")
        )
        if fault is Fault.TWO_INPUTS:
            other = self.publics(place, me, 777)
            third = ResultSeen(place, me, keccak(b"y" + b"".join(other)), other)
            self.send(me, place, good, third)
        elif fault is Fault.INVALID:
            self.send(me, place, bad)
        elif fault is Fault.EQUIVOCATES:
            self.send(me, place, good, bad)
        else:
            self.send(me, place, good)

    def act(self, me):
        for duty in todo(self.jobs[me]):
            if duty in self.done[me] or self.jobs[me].state in CLOSED:
                continue
            self.done[me].add(duty)
            match duty:
                case SendAccept(place, input_hash):
                    if me == self.faulty and self.fault is Fault.UNAVAILABLE:
                        self.send(me, place, UnavailableSeen(place, me, 2))
                    else:
                        self.send(me, place, AcceptSeen(place, me, input_hash))
                case SayUnavailable(place, reason):
                    self.send(me, place, UnavailableSeen(place, me, reason))
                case Prove(place):
                    self.prove(me, place)
                case Check(place, digest):
                    valid = digest == keccak(b"y" + b"".join(self.jobs[me].segments[place].publics))
                    self.feed(me, ResultChecked(place, digest, valid))
                case Relay(place, _):
                    for statement in sorted(self.held[me].get(place, ()), key=repr):
                        self.send(me, place, statement)

    def receive(self):
        due = [mail for mail in self.inbox if mail[0] <= self.now]
        self.inbox = [mail for mail in self.inbox if mail[0] > self.now]
        self.random.shuffle(due)
        for _, receiver, place, statement in due:
            if self.lives(receiver):
                self.held[receiver].setdefault(place, set()).add(statement)
                self.feed(receiver, statement)

    def decide(self):
        """A round: what enough lists carry."""
        found, votes = {}, {}
        for me in OPERATORS:
            for outcome in vouches(self.jobs[me]) if self.lives(me) else ():
                found[outcome_id(outcome)] = outcome
                votes[outcome_id(outcome)] = votes.get(outcome_id(outcome), 0) + 1
        decided = [found[key] for key, count in votes.items() if count >= QUORUM]
        done = self.world.decide(asks=self.world.asks(), outcomes=decided)
        if done.closed:
            self.status = done.closed[0].status
        award = None if done.closed else self.world.award(BODY)
        for me in OPERATORS:
            if done.closed:
                self.feed(me, Closed(self.status))
                continue
            if done.returned:
                self.feed(me, Returned())
                self.done[me] = set()
            if award is not None and (done.reassigned or done.awarded):
                self.feed(me, Awarded(award))
            if done.awarded:
                for statements in self.held[me].values():
                    for statement in sorted(statements, key=repr):
                        self.feed(me, statement)
        if award is not None and (done.reassigned or done.awarded):
            self.deliver_inputs()

    def run(self):
        while self.status is None and self.now < DEADLINE_MS + 10 * ROUND_MS:
            self.now += STEP_MS
            self.receive()
            for me in OPERATORS:
                if self.lives(me):
                    self.feed(me, Ticked())
                    self.act(me)
            if self.now % ROUND_MS == 0:
                self.decide()
        return self.status


seeds = st.integers(0, 10**6)


@pytest.mark.parametrize("fault", Fault)
@given(seed=seeds, faulty=st.sampled_from(OPERATORS))
def test_one_faulty_operator_does_not_cost_the_proof(fault, seed, faulty):
    net = Net(seed, fault, faulty=faulty)
    assert net.run() is ResultStatus.SETTLED
    assert sum(net.world.ledger.credits.values()) == 4 * DEVNET.initial_price_wei
    assert net.now < DEADLINE_MS


@given(seed=seeds)
def test_without_loss_or_fault_the_first_award_completes_at_once(seed):
    net = Net(seed, Fault.NONE, loss=0.0)
    assert net.run() is ResultStatus.SETTLED
    assert net.now <= 4 * ROUND_MS


@given(seed=seeds)
def test_a_withheld_input_ends_the_request_and_costs_nobody(seed):
    net = Net(seed, Fault.NONE, withheld=True)
    assert net.run() is ResultStatus.FAILED
    assert net.world.ledger.credits == {}
    assert net.now >= 2 * DEVNET.accept_timeout_ms


@given(seed=seeds, fault=st.sampled_from(Fault), loss=st.sampled_from([0.6, 0.9, 1.0]))
def test_every_request_ends_however_bad_the_network(seed, fault, loss):
    net = Net(seed, fault, loss=loss)
    assert net.run() is not None
    assert len(net.world.ledger.open) == 0
