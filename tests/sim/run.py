"""One simulated run: a seed draws network, faults and load; invariants judge."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from random import Random
from typing import Final, cast

from protocol import codec
from protocol.eip712 import Domain, body_digest
from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.inputs import ClockJudged, Operator, ProofChecked, Received
from protocol.messages import Cancel, DecidedRound, Envelope, Kind
from protocol.params import DEVNET, ProtocolParams
from protocol.rotation import OperatorTable, committee, tolerated
from protocol.round import context
from protocol.types import Address, Hash
from tests.sim.crypto import HASHED, REAL, Keys
from tests.sim.ingress import Ingress
from tests.sim.judge import Judge, ViolationError
from tests.sim.memo import remember
from tests.sim.mischief import HABITS, LATER_HABITS, Agreeing, Mischief
from tests.sim.toy import CheckItem, ToyMachine, toy_share
from tests.sim.world import Links, Shell, World, signed_envelope

PARAMS: ProtocolParams = DEVNET
VIEW_MS = PARAMS.view_ms
WIDE: Final = replace(
    DEVNET,
    view_ms=12_000,
    list_cutoff_ms=6_000,
    list_wait_ms=600,
    gossip_bound_ms=1_000,
    clock_bound_ms=500,
    resend_ms=3_000,
    relay_ms=18_000,
    accept_timeout_ms=48_000,
    segment_timeout_ms=120_000,
    settle_step_ms=18_000,
)
"""Bounds of a production network: clocks half a second apart are no fault there."""
MAX_SKEW_MS = 500
"""Clocks of the time of trouble, whatever the network's bound: they may cost liveness alone."""
REAL_EVERY = 8
"""Every so many seeds everything is signed and sealed as a node does it."""
LIVENESS_VIEWS = 16
"""After the network is good and the last id is known: views until everything is decided."""
QUIET_VIEWS = 8
"""Then: views until nobody says anything any more, and so many more of silence."""
DOMAIN = Domain(31337, Address(b"\x11" * 20))


FAILURES = (AssertionError, LocalProtocolError, LookupError, TypeError, ValueError)
"""A run that ends so has failed: an invariant, or a machine that gave up."""


@dataclass
class Result:
    seed: int
    crypto: str = ""
    """What was signed and sealed with."""
    nodes: int = 0
    rounds: int = 0
    views: int = 0
    """From the last id to the decision of everything, rounded up."""
    messages: int = 0
    faults: str = ""
    failure: str | None = None
    trace: list[str] = field(default_factory=list)


def keys_of(seed: int) -> Keys:
    """What a seed's run is signed and sealed with."""
    return HASHED if seed % REAL_EVERY else REAL


def make_table(weights: list[int], seed: bytes, keys: Keys = HASHED) -> OperatorTable:
    """Operators op0, op1 ... with these weights."""
    rows = []
    for place, weight in enumerate(weights):
        address = keys.address_of(f"op{place}")
        rows.append(
            Operator(
                operator=address,
                session=address,
                bls_key=keys.bls_key_of(address),
                sealing_key=keys.sealing_key_of(address),
                peer_id="",
                multiaddrs=(),
                weight=weight,
            )
        )
    return OperatorTable(1, Hash(seed), tuple(rows))


def toy_shells(
    table: OperatorTable, ingress: Ingress, faulty: frozenset[int], params: ProtocolParams = PARAMS
) -> list[Shell]:
    """One shell per operator of the table, over the toy application."""
    first = Address(table.operators[0].operator)
    shared = context(first, table, 0, params, ingress.domain, ingress.crypto)

    def shell(place: int) -> Shell:
        ctx = replace(shared, me=Address(table.operators[place].operator))
        return Shell(place, lambda: ToyMachine(ctx, ingress), honest=place not in faulty)

    return [shell(place) for place in range(len(table.operators))]


def item_frame(domain: Domain, item: bytes, keys: Keys = HASHED) -> bytes:
    """An id as its owner signs it."""
    body = Cancel(item)
    signed = body_digest(domain, Kind.CANCEL, body)
    owner = keys.address_of("owner")
    return codec.encode(signed_envelope(owner, Kind.CANCEL, body, signed, keys))


def answer_checks(world: World, shell: Shell, effect: object) -> None:
    """The toy's outside: a check of an outcome ends after a while, if the process still runs."""
    if isinstance(effect, CheckItem):
        answer = ProofChecked(effect.item, True, "")
        delay = world.rng.randint(1, 80)
        machine = shell.machine

        def done() -> None:
            if shell.machine is machine:
                world.deliver(shell.index, answer)

        world.at(world.now_ms + delay, done)


class Run:
    """Draws everything from the seed, runs it, and judges."""

    liveness_views = LIVENESS_VIEWS
    world_type: type[World] = World

    def __init__(
        self,
        seed: int,
        table_type: type[OperatorTable] = OperatorTable,
        *,
        keys: Keys | None = None,
        size: int | None = None,
    ) -> None:
        remember()
        self.seed = seed
        self.keys = keys or keys_of(seed)
        self.rng = Random(seed)
        self.more = Random(f"more {seed}")
        """Draws of what was added later: the schedules of old seeds stay what they were."""
        rng = self.rng
        self.params = WIDE if self.more.random() < 0.1 else PARAMS
        self.view_ms = self.params.view_ms
        drawn_size = rng.choice((1, 2, 4, 4, 4, 4, 5, 5, 7, 7))
        size = size or drawn_size
        weights = [100 * PARAMS.slot_stake] * size
        if rng.random() < 0.3 and size >= 4:
            weights = [rng.randint(80, 120) * PARAMS.slot_stake for _ in range(size)]
        drawn = make_table(weights, keccak(b"seed" + seed.to_bytes(8, "big")), self.keys)
        self.table = table_type(drawn.epoch, drawn.seed, drawn.operators)
        self.members = committee(self.table, self.params)
        self.faulty = self._draw_faulty(size)
        self.ingress = Ingress(self.table, DOMAIN, self.keys)
        habits = {habit for habit in HABITS if rng.random() < 0.6}
        habits |= {habit for habit in LATER_HABITS if self.more.random() < 0.4}
        self.mischief = Mischief(frozenset(habits), rng, self.params)
        rows = self.table.operators
        honest = {row.operator for place, row in enumerate(rows) if place not in self.faulty}
        self.world = self.world_type(
            self._shells(),
            self.ingress,
            rng,
            Judge(DOMAIN, self.params, self.members, honest),
            boot=self._boot,
            decides=self._decides,
            outside=self._outside,
            watch=self._watch,
            interfere=self.mischief,
        )
        self.dead = frozenset(i for i in self.faulty if rng.random() < 0.3)
        self.wiped = self._draw_wiped()
        self.storm_loss = 0.0
        self.gst_ms = rng.choice((0, 4, 8, 12)) * self.view_ms
        self.items: set[bytes] = set()
        self.locked: dict[int, bytes] = {}
        self.storm: dict[tuple[int, int, int, int], bool] = {}
        self.last_item_ms = 0

    def _shells(self) -> list[Shell]:
        return toy_shells(self.table, self.ingress, self.faulty, self.params)

    def _boot(self, shell: Shell) -> None:
        """The toy needs nothing to begin with."""

    def _outside(self, world: World, shell: Shell, effect: object) -> None:
        answer_checks(world, shell, effect)

    def honest(self) -> list[Shell]:
        return self._honest

    @cached_property
    def _honest(self) -> list[Shell]:
        return [shell for shell in self.world.nodes if shell.honest]

    def go(self) -> Result:
        result = Result(self.seed, self.keys.name, len(self.world.nodes), faults=self._summary())
        try:
            self._plan()
            self._until_decided(result)
            self._until_quiet()
            self._judge()
        except FAILURES as exc:
            result.failure = f"{type(exc).__name__}: {exc}"
            result.trace = self.world.trace
        result.rounds = max(len(shell.machine.decisions()) for shell in self.honest())
        result.messages = self.world.sent
        return result

    # ------------------------------------------------------------------ plan

    def _draw_faulty(self, size: int) -> frozenset[int]:
        most = tolerated(size)
        count = self.rng.choice((0, most, most, most))
        chosen = frozenset(self.rng.sample(range(size), count))
        members = [place for place in sorted(chosen) if self._is_member(place)]
        # Of a drawn committee no more than its own f are faulty: the protocol promises no more.
        chosen -= frozenset(members[tolerated(len(self.members)) :])
        stake = sum(self.table.operators[i].weight for i in chosen)
        return chosen if 3 * stake < self.table.total else frozenset()

    def _is_member(self, place: int) -> bool:
        return self.table.operators[place].operator in self.members

    def _draw_wiped(self) -> frozenset[int]:
        """At most one faulty node is a forgetful one: its disk is lost, it comes back empty."""
        alive = sorted(self.faulty - self.dead)
        return frozenset(alive[:1] if self.more.random() < 0.2 else ())

    def _summary(self) -> str:
        return (
            f"N={len(self.world.nodes)} faulty={sorted(self.faulty)} dead={sorted(self.dead)} "
            f"wiped={sorted(self.wiped)} view={self.view_ms} "
            f"habits={sorted(self.mischief.habits)} gst={self.gst_ms}"
        )

    def _plan(self) -> None:
        world, rng = self.world, self.rng
        for shell in world.nodes:
            shell.skew_ms = rng.randint(0, self.params.clock_bound_ms)
            if shell.index in self.dead:
                shell.alive = False
        for index in self.wiped:
            self._plan_wipe(index)
        if self.gst_ms:
            self._plan_trouble()
        world.at(self.gst_ms, self._heal)
        for _ in range(rng.randint(1, 8)):
            self._plan_item(rng.randint(0, self.gst_ms + 3 * self.view_ms))
        # The last one makes a laggard hear that it is late.
        self._plan_item(self.gst_ms + 4 * self.view_ms)

    def _plan_item(self, at_ms: int) -> None:
        item = keccak(self.rng.randbytes(8))
        self.items.add(item)
        self.last_item_ms = max(self.last_item_ms, at_ms)
        frame = item_frame(DOMAIN, item, self.keys)
        late = at_ms >= self.gst_ms + 4 * self.view_ms
        honest = [shell.index for shell in self.honest()]
        at = honest if late else self.rng.sample(honest, self.rng.randint(1, len(honest)))
        for index in at:
            self._hand_in(index, frame, at_ms + self.rng.randint(0, 20))

    def _hand_in(self, index: int, frame: bytes, at_ms: int) -> None:
        """An owner keeps trying while the node is down."""

        def hand_in() -> None:
            if self.world.nodes[index].alive:
                self.world.deliver(index, Received(frame))
            else:
                self._hand_in(index, frame, self.world.now_ms + 200)

        self.world.at(at_ms, hand_in)

    def _plan_trouble(self) -> None:
        world, rng = self.world, self.rng
        scale = self.view_ms // VIEW_MS
        world.links.drop = rng.choice((0.0, 0.1, 0.3, 0.5))
        world.links.duplicate = rng.choice((0.0, 0.2))
        longest = rng.choice((90, 400, 1_500))
        world.links.delay_ms = (1, longest * scale)
        everyone = range(len(world.nodes))
        if rng.random() < 0.6:
            world.links.passes = self._storm_passes
            self.storm_loss = rng.choice((0.2, 0.4, 0.6))
        for _ in range(rng.randint(0, 3)):
            left = frozenset(i for i in everyone if rng.random() < 0.5)
            groups = (left, frozenset(everyone) - left)
            at = rng.randint(0, self.gst_ms - 1)
            world.at(at, lambda groups=groups: setattr(world.links, "groups", groups))
            until = min(self.gst_ms, at + rng.randint(200 * scale, 2 * self.view_ms))
            world.at(until, lambda: setattr(world.links, "groups", ()))
        for _ in range(rng.randint(0, 6)):
            index = rng.randrange(len(world.nodes))
            at = rng.randint(0, self.gst_ms - 1)
            back = min(self.gst_ms, at + rng.randint(1, 3_000 * scale))
            effects = rng.randint(0, 40)
            world.at(at, lambda i=index, e=effects: self._doom(i, e))
            world.at(back, lambda i=index: self._revive(i))
        if rng.random() < 0.2:
            index = rng.randrange(len(world.nodes))
            world.at(rng.randint(0, self.gst_ms), lambda: world.deliver(index, ClockJudged(False)))
            world.at(self.gst_ms, lambda: world.deliver(index, ClockJudged(True)))
        if self.more.random() < 0.4:
            self._plan_wrong_clocks()

    def _plan_wrong_clocks(self) -> None:
        """Clocks up to 500 ms late, set right before the network is good: never backwards, as a
        node's driver has it."""
        more = self.more
        for shell in self.world.nodes:
            right = shell.skew_ms
            shell.skew_ms = right - more.randint(0, MAX_SKEW_MS)
            self.world.at(
                more.randint(self.gst_ms // 2, self.gst_ms),
                partial(setattr, shell, "skew_ms", right),
            )

    def _plan_wipe(self, index: int) -> None:
        """A node that has worked a while loses its disk; it is empty when it is back."""
        self.world.nodes[index].forgetful = True
        at = self.more.randint(0, self.gst_ms + 3 * self.view_ms)
        self.world.at(at, partial(self._lose_disk, index))
        self.world.at(at + self.more.randint(1, self.view_ms), partial(self._revive, index))

    def _lose_disk(self, index: int) -> None:
        self.world.crash(index)
        self.world.lose_disk(index)

    def _storm_passes(self, source: int, target: int, envelope: Envelope) -> bool:
        """For a whole view a node hears one kind of message from all, from half, or from nobody."""
        key = (self.world.now_ms // self.view_ms, envelope.kind, target, source % 2)
        if key not in self.storm:
            self.storm[key] = self.rng.random() >= self.storm_loss
        return self.storm[key]

    def _watch(self, shell: Shell) -> None:
        """A LockCert decides: no two of one round may name different Values."""
        lock = cast(Agreeing, shell.machine).round.lock
        if lock is not None and self.locked.setdefault(lock.round, lock.value) != lock.value:
            raise ViolationError(f"fork: two Values of round {lock.round} have a LockCert")

    def _decides(self, record: DecidedRound) -> None:
        """f + 1 members revealed good shares of every id: whoever holds the record can open it."""
        for place, item in enumerate(record.value.bids):
            good = sum(held.shares[place] == toy_share(held.member, item) for held in record.shares)
            if good <= tolerated(len(self.members)):
                raise ViolationError("an id of a decided round does not open")

    def _doom(self, index: int, effects: int) -> None:
        if self.world.nodes[index].alive:
            self.world.nodes[index].crash_after = effects

    def _revive(self, index: int) -> None:
        self.world.nodes[index].crash_after = None
        if index not in self.dead:
            self.world.restart(index)

    def _heal(self) -> None:
        lossy = self.rng.random() < 0.3
        self.world.links = Links(
            delay_ms=(1, self.params.gossip_bound_ms), drop=0.03 if lossy else 0.0, duplicate=0.02
        )
        for shell in self.world.nodes:
            self._revive(shell.index)
        if self.gst_ms:
            # What the owners' nodes hold reaches everybody again; the toy does not gossip twice.
            self._spread()

    def _spread(self) -> None:
        for shell in self.honest():
            machine = shell.machine
            assert isinstance(machine, ToyMachine)
            for frame in machine.app.items.values():
                for index in range(len(self.world.nodes)):
                    self.world.at(
                        self.world.now_ms + self.rng.randint(1, 50),
                        lambda i=index, f=frame: self.world.receive(i, f),
                    )

    # ------------------------------------------------------------------ judgement

    def _until_decided(self, result: Result) -> None:
        limit = max(self.last_item_ms, self.gst_ms) + self.liveness_views * self.view_ms
        self.world.run(limit, self._everything_decided)
        if not self._everything_decided():
            raise ViolationError("not everything that honest nodes hold was decided in time")
        passed = self.world.now_ms - max(self.last_item_ms, self.gst_ms)
        result.views = -(-passed // self.view_ms)

    def _everything_decided(self) -> bool:
        for shell in self.honest():
            machine = shell.machine
            assert isinstance(machine, ToyMachine)
            if not self.items.issubset(machine.app.done):
                return False
        return True

    def _until_quiet(self) -> None:
        self.world.run(self.world.now_ms + QUIET_VIEWS * self.view_ms)
        sent = self.world.sent
        self.world.run(self.world.now_ms + QUIET_VIEWS * self.view_ms)
        if self.world.sent > sent and not self.faulty:
            raise ViolationError("the idle network is not silent")

    def _judge(self) -> None:
        histories = {shell.index: shell.machine.decisions() for shell in self.honest()}
        longest = max(histories.values(), key=len)
        for index, history in histories.items():
            if history != longest[: len(history)]:
                raise ViolationError(f"fork: node {index} decided something else")
            if len(history) != len(longest):
                raise ViolationError(f"node {index} stopped at round {len(history)}")
        for index in self.wiped:
            if self.world.nodes[index].machine.decisions() != longest:
                raise ViolationError(f"node {index} lost its disk and did not catch up")
        self._judge_state()

    def _judge_state(self) -> None:
        apps = []
        for shell in self.honest():
            machine = shell.machine
            assert isinstance(machine, ToyMachine)
            apps.append(machine.app.done)
        if any(done != apps[0] for done in apps):
            raise ViolationError("honest nodes differ in what was decided when")


def run_seed(seed: int) -> Result:
    """Run one seed to its end."""
    return Run(seed).go()
