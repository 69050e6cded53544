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
from protocol.eip712 import body_digest, value_digest
from protocol.inputs import AnyInput, Received, Tick
from protocol.messages import (
    Batches,
    BidList,
    BidReceipt,
    BidShares,
    Body,
    Commit,
    DecidedRound,
    Envelope,
    Kind,
    Timeout,
    Vote,
)
from protocol.round import RoundState
from protocol.types import Address
from tests.sim.crypto import bls_key_of, bls_sign, session_sign
from tests.sim.ingress import BLS_KINDS, Ingress

SERVED_AT_ONCE = 8
TRACE = 400
MAX_SPINS = 50
"""Wakes of one node at one time, with nothing in between: more would be a busy loop."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


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
    skew_ms: int = 0
    alive: bool = True
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


def decided_on(machine: NodePort, number: int, value: bytes) -> bool:
    """Whether a machine holds the LockCert of this Value, or decided the round by it."""
    lock = machine.round.lock
    if machine.round.round == number:
        return lock is not None and lock.value == value
    history = machine.decisions()
    return number <= len(history) and history[number - 1][0] == value


Interference = Callable[["World", Shell, object], list[Effect] | None]


class World:
    """Runs shells until nothing happens any more, or until a time."""

    def __init__(
        self,
        nodes: list[Shell],
        ingress: Ingress,
        rng: Random,
        *,
        outside: Callable[[World, Shell, object], None] | None = None,
        watch: Callable[[Shell], None] | None = None,
        interfere: Interference | None = None,
    ) -> None:
        self.nodes = nodes
        self.ingress = ingress
        self.rng = rng
        self.links = Links()
        self.outside = outside
        self.watch = watch
        self.interfere = interfere
        self.committed: dict[int, bytes] = {}
        self.revealed: dict[int, bytes] = {}
        """Round -> the Value of which an honest member revealed a share."""
        self.now_ms = 0
        self.sent = 0
        self.promises = 0
        """Receipts that an honest list had to honour."""
        self.trace: deque[str] = deque(maxlen=TRACE)
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
            self.note(f"{index} <- {describe(envelope)}")
            self.deliver(index, Received(frame, peer))

    def crash(self, index: int) -> None:
        """Kill a process: what is not on disk is gone."""
        shell = self.nodes[index]
        shell.alive = False
        shell.crash_after = None
        shell.wake_ms = None
        self.note(f"{index} CRASH")

    def restart(self, index: int) -> None:
        """Rebuild from the snapshot, replay the journal, resume."""
        shell = self.nodes[index]
        if shell.alive:
            return
        shell.alive = True
        shell.machine = shell.make()
        if shell.base is not None:
            shell.machine.restore(shell.base)
        for now, event in shell.journal:
            for effect in shell.machine.step(event, now):
                if isinstance(effect, Decided):
                    self._keep(shell, effect.record)
        self.note(f"{index} RESTART after {len(shell.journal)} journalled inputs")
        self._perform(shell, shell.machine.resume(self.clock(shell)))

    def _perform(self, shell: Shell, effects: Sequence[object]) -> None:
        if self.watch is not None and shell.honest:
            self.watch(shell)
        for effect in effects:
            if shell.crash_after is not None:
                shell.crash_after -= 1
                if shell.crash_after < 0:
                    self.crash(shell.index)
                    return
            changed = (
                None
                if shell.honest or self.interfere is None
                else self.interfere(self, shell, effect)
            )
            for each in [effect] if changed is None else changed:
                self._do(shell, each)
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
                self.note(f"{shell.index} SAYS {describe(envelope)}")
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
                told = " ".join(f"{name}={value}" for name, value in effect.fields)
                self.note(f"{shell.index} {effect.event} {told}")
            case _:
                if self.outside is not None:
                    self.outside(self, shell, effect)

    def _keep(self, shell: Shell, record: DecidedRound) -> None:
        known = shell.store.setdefault(record.value.round, record)
        if shell.honest and known.value != record.value:
            raise ViolationError(f"node {shell.index} decided round {record.value.round} twice")
        value = value_digest(self.ingress.domain, record.value)
        if self.revealed.get(record.value.round, value) != value:
            raise ViolationError(f"round {record.value.round} decided what nobody revealed")

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
        if kind is Kind.LOCK and isinstance(body, Vote) and shell.honest:
            for _, said in shell.signed.values():
                if isinstance(said.body, Timeout) and (said.body.round, said.body.view) == (
                    body.round,
                    body.view,
                ):
                    raise ViolationError(f"node {shell.index} would LOCK after its Timeout")
        if isinstance(body, BidShares) and shell.honest:
            if not decided_on(shell.machine, body.round, body.value):
                raise ViolationError(f"node {shell.index} reveals before its LockCert")
            if self.revealed.setdefault(body.round, body.value) != body.value:
                raise ViolationError(f"bids of two Values of round {body.round} are revealed")
        if isinstance(body, BidList) and shell.honest:
            self._keeps_promises(shell, body)
        if isinstance(body, Commit) and shell.honest:
            first = self.committed.setdefault(body.round, digest)
            if first != digest:
                raise ViolationError(f"fork: two batches of round {body.round} are committed to")
        envelope = signed_envelope(shell.machine.address, kind, body, digest)
        shell.signed[slot] = (digest, envelope)
        return envelope

    def _keeps_promises(self, shell: Shell, body: BidList) -> None:
        """An honest list carries what receipts say, though a round before it decided the bid."""
        for _, said in shell.signed.values():
            promise = said.body
            place = (body.epoch, body.round)
            if isinstance(promise, BidReceipt) and (promise.epoch, promise.round) == place:
                self.promises += 1
                if promise.bid_id not in body.bids:
                    raise ViolationError(f"node {shell.index} breaks its receipt's promise")

    # ------------------------------------------------------------------ links

    def broadcast(self, source: int, envelope: Envelope) -> None:
        frame = codec.encode(envelope)
        for target in range(len(self.nodes)):
            if target != source:
                self._carry(source, target, envelope, frame)

    def send_to(self, source: int, operator: bytes, envelope: Envelope) -> None:
        for target, shell in enumerate(self.nodes):
            if shell.machine.address == operator and target != source:
                self._carry(source, target, envelope, codec.encode(envelope))

    def _carry(self, source: int, target: int, envelope: Envelope, frame: bytes) -> None:
        links, rng = self.links, self.rng
        self.sent += 1
        if not links.open(source, target) or rng.random() < links.drop:
            return
        if links.passes is not None and not links.passes(source, target, envelope):
            return
        copies = 2 if rng.random() < links.duplicate else 1
        peer = self.nodes[source].machine.address
        for _ in range(copies):
            at = self.now_ms + rng.randint(*links.delay_ms)
            self.at(at, lambda: self.receive(target, frame, peer))

    def note(self, line: str) -> None:
        self.trace.append(f"{self.now_ms:>7} {line}")


def signed_envelope(signer: bytes, kind: Kind, body: Body, digest: bytes) -> Envelope:
    """An envelope signed with the key that its kind asks for."""
    if kind in BLS_KINDS:
        return Envelope(kind, signer, body, bls_sign(bls_key_of(signer), digest))
    return Envelope(kind, signer, body, session_sign(signer, digest))


def describe(envelope: Envelope) -> str:
    """One short line about an envelope, for the trace."""
    body = envelope.body
    parts = [Kind(envelope.kind).name, "of", envelope.sender[:2].hex()]
    names = [name for name in ("round", "view") if hasattr(body, name)]
    parts += [f"{name[0]}{getattr(body, name)}" for name in names]
    value = getattr(body, "value", None)
    if isinstance(value, bytes):
        parts.append(value[:2].hex())
    return " ".join(parts)
