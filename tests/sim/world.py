"""A deterministic world: virtual time, one event heap, links that lose, delay, double and reorder.

`World` knows machines by `NodePort` alone: any machine that takes inputs and gives effects. Each is
run by a `Shell` that does what a node's driver does: journal the input, step, perform the effects;
sign through a guard; after a crash rebuild from snapshot and journal, then resume.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from protocol import codec
from protocol.effects import (
    Broadcast,
    Decided,
    Effect,
    Publish,
    Record,
    SendTo,
    ServeBatches,
)
from protocol.eip712 import body_digest
from protocol.inputs import AnyInput, Received, Tick
from protocol.messages import (
    Batches,
    Body,
    DecidedRound,
    Envelope,
    Kind,
)
from protocol.round import RoundState
from protocol.types import Address
from tests.sim.crypto import HASHED, Keys
from tests.sim.ingress import BLS_KINDS, Ingress
from tests.sim.judge import Judge, ViolationError

SERVED_AT_ONCE = 8
TRACE = 400
FRAMES = 256
MAX_SPINS = 50
"""Wakes of one node at one time, with nothing in between: more would be a busy loop."""


class NodePort(Protocol):
    """A machine as the world sees it."""

    address: Address

    def step(self, event: AnyInput, now_ms: int) -> Sequence[object]:
        """Effects; those that the world does not know go to its `outside`."""
        ...

    def next_deadline_ms(self) -> int | None: ...
    def resume(self, now_ms: int) -> Sequence[object]: ...
    def snapshot(self) -> bytes: ...
    def restore(self, raw: bytes) -> None: ...
    def decisions(self) -> list[tuple[bytes, bytes]]:
        """Value digest and batch digest of every round decided, from round 1 on."""
        ...

    @property
    def round(self) -> RoundState: ...


@dataclass
class Links:
    """How messages travel; changed by the plan as time goes on."""

    delay_ms: tuple[int, int] = (1, 60)
    drop: float = 0.0
    duplicate: float = 0.0
    groups: tuple[frozenset[int], ...] = ()
    """Nodes in different groups do not hear each other; no groups: everyone hears everyone."""
    passes: Callable[[int, int, Envelope], bool] | None = None
    """A schedule written by hand: tells whether an envelope goes from one node to another."""

    def open(self, source: int, target: int) -> bool:
        return not self.groups or any(source in group and target in group for group in self.groups)


@dataclass
class Shell:
    """What a driver keeps on disk for one machine, and whether the process runs."""

    index: int
    make: Callable[[], NodePort]
    honest: bool = True
    forgetful: bool = False
    """Faulty by losing its disk alone: nothing it says is tampered with."""
    skew_ms: int = 0
    alive: bool = True
    lives: int = 1
    crash_after: int | None = None
    """Effects left until this process dies in the middle of performing them."""
    machine: NodePort = field(init=False)
    base: bytes | None = None
    journal: list[tuple[int, AnyInput]] = field(default_factory=list)
    signed: dict[bytes, tuple[bytes, Envelope]] = field(default_factory=dict)
    store: dict[int, DecidedRound] = field(default_factory=dict)
    wake_ms: int | None = None
    snapshot_due: bool = False

    def __post_init__(self) -> None:
        self.machine = self.make()


Interference = Callable[["World", Shell, object], list[Effect] | None]


class World:
    """Runs shells until nothing happens any more, or until a time."""

    def __init__(
        self,
        nodes: list[Shell],
        ingress: Ingress,
        rng: Random,
        judge: Judge,
        *,
        boot: Callable[[Shell], None] | None = None,
        decides: Callable[[DecidedRound], None] | None = None,
        outside: Callable[[World, Shell, object], None] | None = None,
        watch: Callable[[Shell], None] | None = None,
        interfere: Interference | None = None,
    ) -> None:
        self.nodes = nodes
        self.places = {shell.machine.address: shell.index for shell in nodes}
        self.ingress = ingress
        self.rng = rng
        self.links = Links()
        self.boot = boot
        """What a node with an empty disk reads before anything else."""
        self.decides = decides
        self.outside = outside
        self.watch = watch
        self.interfere = interfere
        self.judge = judge
        self.now_ms = 0
        self.sent = 0
        self.frames: deque[bytes] = deque(maxlen=FRAMES)
        """What was said last: replays are drawn from it."""
        self._trace: deque[tuple[int, int, str, Envelope | Record | None]] = deque(maxlen=TRACE)
        self.records: list[tuple[int, Record]] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self._woken = (0, 0)
        self._spins = 0

    # ------------------------------------------------------------------ time

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        """Have something done at a time; equal times in the order of asking."""
        self._serial += 1
        heapq.heappush(self._heap, (max(time_ms, self.now_ms), self._serial, action))

    def run(self, until_ms: int, done: Callable[[], bool] | None = None) -> None:
        """Go on until a time, an empty heap, or until `done`."""
        while self._heap and self._heap[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(self._heap)
            action()
            if done is not None and done():
                return
        if done is None:
            self.now_ms = max(self.now_ms, until_ms)

    @property
    def quiet(self) -> bool:
        """Nothing will ever happen again by itself."""
        return not self._heap

    def clock(self, shell: Shell) -> int:
        return self.now_ms + shell.skew_ms

    # ------------------------------------------------------------------ a node's driver

    def deliver(self, index: int, event: AnyInput) -> None:
        """Hand an input to a node: journal, step, perform."""
        shell = self.nodes[index]
        if not shell.alive:
            return
        now = self.clock(shell)
        shell.journal.append((now, event))
        self._perform(shell, shell.machine.step(event, now))

    def receive(self, index: int, frame: bytes, peer: bytes = b"") -> None:
        """A frame off the wire: what ingress refuses never reaches the machine."""
        envelope = self.ingress.admit(frame)
        if envelope is not None and self.nodes[index].alive:
            shell = self.nodes[index]
            self.note(index, "<-", envelope)
            self.judge.hears(shell, envelope, self.clock(shell))
            self.deliver(index, Received(frame, peer))

    def crash(self, index: int) -> None:
        """Kill a process: what is not on disk is gone."""
        shell = self.nodes[index]
        shell.alive = False
        shell.crash_after = None
        shell.wake_ms = None
        self.note(index, "CRASH")

    def lose_disk(self, index: int) -> None:
        """What a process that does not run had on disk is gone too: guard, snapshot, all."""
        shell = self.nodes[index]
        shell.base = None
        for kept in (shell.journal, shell.signed, shell.store):
            kept.clear()
        self.note(index, "LOSES ITS DISK")

    def restart(self, index: int) -> None:
        """Rebuild from the snapshot, replay the journal, resume."""
        shell = self.nodes[index]
        if shell.alive:
            return
        shell.alive = True
        shell.lives += 1
        shell.machine = shell.make()
        if shell.base is not None:
            shell.machine.restore(shell.base)
        for now, event in shell.journal:
            for effect in shell.machine.step(event, now):
                if isinstance(effect, Decided):
                    self._keep(shell, effect.record)
        if self.boot is not None and shell.base is None and not shell.journal:
            self.boot(shell)
        self.note(index, f"RESTART after {len(shell.journal)} journalled inputs")
        self._perform(shell, shell.machine.resume(self.clock(shell)))

    def _perform(self, shell: Shell, effects: Sequence[object]) -> None:
        if self.watch is not None and shell.honest:
            self.watch(shell)
            self.judge.steps(shell)
        for effect in effects:
            if shell.crash_after is not None:
                shell.crash_after -= 1
                if shell.crash_after < 0:
                    self.crash(shell.index)
                    return
            changed = (
                None
                if shell.honest or shell.forgetful or self.interfere is None
                else self.interfere(self, shell, effect)
            )
            for each in [effect] if changed is None else changed:
                self._do(shell, each)
            if not shell.alive:
                return
        if shell.snapshot_due:
            shell.snapshot_due = False
            shell.base = shell.machine.snapshot()
            shell.journal.clear()
        self._schedule(shell)

    def _do(self, shell: Shell, effect: object) -> None:
        match effect:
            case Publish():
                envelope = self.sign(shell, effect.kind, effect.body, effect.slot)
                frame = codec.encode(envelope)
                self.note(shell.index, "SAYS", envelope)
                self.at(self.now_ms, lambda: self.receive(shell.index, frame))
                if effect.to is None:
                    self.broadcast(shell.index, envelope)
                else:
                    self.send_to(shell.index, effect.to, envelope)
            case Broadcast():
                self.broadcast(shell.index, effect.envelope)
            case SendTo():
                self.send_to(shell.index, effect.operator, effect.envelope)
            case ServeBatches():
                rounds = [
                    shell.store[number]
                    for number in range(effect.from_round, effect.from_round + SERVED_AT_ONCE)
                    if number in shell.store
                ]
                if rounds:
                    body = Batches(tuple(rounds))
                    envelope = Envelope(Kind.BATCHES, shell.machine.address, body, b"")
                    self.send_to(shell.index, effect.operator, envelope)
            case Decided():
                self._keep(shell, effect.record)
                shell.snapshot_due = True
            case Record():
                self.records.append((shell.index, effect))
                self.note(shell.index, effect.event, effect)
            case _:
                if self.outside is not None:
                    self.outside(self, shell, effect)

    def _keep(self, shell: Shell, record: DecidedRound) -> None:
        known = shell.store.setdefault(record.value.round, record)
        if shell.honest and known.value != record.value:
            raise ViolationError(f"node {shell.index} decided round {record.value.round} twice")
        if shell.honest and self.judge.decides(record) and self.decides is not None:
            self.decides(record)

    def _schedule(self, shell: Shell) -> None:
        due = shell.machine.next_deadline_ms()
        if due is None or not shell.alive:
            shell.wake_ms = None
            return
        at = max(due - shell.skew_ms, self.now_ms)
        if shell.wake_ms is not None and shell.wake_ms <= at:
            return
        shell.wake_ms = at
        machine = shell.machine

        def wake() -> None:
            if shell.machine is not machine or shell.wake_ms != at or not shell.alive:
                return
            shell.wake_ms = None
            self._spins = self._spins + 1 if self._woken == (at, shell.index) else 0
            self._woken = (at, shell.index)
            if self._spins > MAX_SPINS:
                raise ViolationError(f"node {shell.index} wants to be woken at once, for ever")
            wanted = machine.next_deadline_ms()
            if wanted is not None and wanted <= self.clock(shell):
                self.deliver(shell.index, Tick())
            else:
                self._schedule(shell)

        self.at(at, wake)

    # ------------------------------------------------------------------ signing

    def sign(self, shell: Shell, kind: Kind, body: Body, slot: bytes) -> Envelope:
        """The signing guard: one statement per slot, whatever happens in between."""
        digest = body_digest(self.ingress.domain, kind, body)
        known = shell.signed.get(slot)
        if known is not None:
            if known[0] != digest and shell.honest:
                raise ViolationError(
                    f"node {shell.index} would sign a second {kind.name} for a slot"
                )
            return known[1]
        if shell.honest:
            self.judge.signs(shell, kind, body, digest)
        envelope = signed_envelope(shell.machine.address, kind, body, digest, self.ingress.keys)
        shell.signed[slot] = (digest, envelope)
        return envelope

    # ------------------------------------------------------------------ links

    def broadcast(self, source: int, envelope: Envelope) -> None:
        self._carry(source, [at for at in range(len(self.nodes)) if at != source], envelope)

    def send_to(self, source: int, operator: bytes, envelope: Envelope) -> None:
        target = self.places.get(operator, source)
        if target != source:
            self._carry(source, [target], envelope)

    def _carry(self, source: int, targets: Sequence[int], envelope: Envelope) -> None:
        """What arrives at one time is one thing to do, however many hear it."""
        links, rng = self.links, self.rng
        frame = codec.encode(envelope)
        self.frames.append(frame)
        self.sent += len(targets)
        arrivals: dict[int, list[int]] = {}
        for target in targets:
            if not links.open(source, target) or rng.random() < links.drop:
                continue
            if links.passes is not None and not links.passes(source, target, envelope):
                continue
            for _ in range(2 if rng.random() < links.duplicate else 1):
                arrivals.setdefault(rng.randint(*links.delay_ms), []).append(target)
        peer = self.nodes[source].machine.address
        for delay, hearers in arrivals.items():
            self.at(self.now_ms + delay, partial(self._receive_all, hearers, frame, peer))

    def _receive_all(self, hearers: Sequence[int], frame: bytes, peer: bytes) -> None:
        for index in hearers:
            self.receive(index, frame, peer)

    # ------------------------------------------------------------------ what happened

    def note(self, index: int, what: str, about: Envelope | Record | None = None) -> None:
        self._trace.append((self.now_ms, index, what, about))

    @property
    def trace(self) -> list[str]:
        """The last things that happened, one line each; written only when somebody looks."""
        return [
            f"{at:>7} {index} {what} {describe(about)}".rstrip()
            for at, index, what, about in self._trace
        ]


def signed_envelope(
    signer: bytes, kind: Kind, body: Body, digest: bytes, keys: Keys = HASHED
) -> Envelope:
    """An envelope signed with the key that its kind asks for."""
    sign = keys.vote_sign if kind in BLS_KINDS else keys.session_sign
    return Envelope(kind, signer, body, sign(signer, digest))


def describe(about: Envelope | Record | None) -> str:
    """One short line about an envelope or a record, for the trace."""
    if about is None:
        return ""
    if isinstance(about, Record):
        return " ".join(f"{name}={value}" for name, value in about.fields)
    envelope, body = about, about.body
    parts = [Kind(envelope.kind).name, "of", envelope.sender[:2].hex()]
    names = [name for name in ("round", "view") if hasattr(body, name)]
    parts += [f"{name[0]}{getattr(body, name)}" for name in names]
    value = getattr(body, "value", None)
    if isinstance(value, bytes):
        parts.append(value[:2].hex())
    return " ".join(parts)
