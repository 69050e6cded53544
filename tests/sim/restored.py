"""Nodes whose disks are old copies, in the world of the whole replica.

Every restarted node listens before it signs, as `node/services/listening.py` does: it asks all
others (Recall), takes what they heard it say, and then resumes. The world notes every statement
that another node hears, over all lives of its operator, and fails at a second one for its slot.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

from node.services.listening import enough, round_told
from protocol import codec
from protocol.effects import Publish
from protocol.eip712 import signed_digest
from protocol.inputs import AnyInput, Received
from protocol.messages import DecidedRound, Envelope, Kind, Recall, Recalled
from protocol.recall import recalled
from protocol.replica_state import ReplicaState
from protocol.slots import slot_named
from tests.sim.market import MarketRun, ReplicaPort
from tests.sim.run import DOMAIN, PARAMS, VIEW_MS
from tests.sim.world import Shell, ViolationError, World

ANSWER_MS = 2 * PARAMS.gossip_bound_ms


@dataclass
class Listener:
    """One starting node: its question and what came back."""

    began_view: int
    nonce: bytes = b""
    asked_ms: int = 0
    answers: dict[bytes, int] = field(default_factory=dict)
    signs: bool = False


@dataclass(frozen=True)
class Disk:
    """A copy of what a node had on disk."""

    base: bytes | None
    journal: list[tuple[int, AnyInput]]
    signed: dict[bytes, tuple[bytes, Envelope]]
    store: dict[int, DecidedRound]


def copied(shell: Shell) -> Disk:
    return Disk(shell.base, list(shell.journal), dict(shell.signed), copy(shell.store))


def put_back(shell: Shell, disk: Disk) -> None:
    shell.base, shell.journal = disk.base, list(disk.journal)
    shell.signed, shell.store = dict(disk.signed), copy(disk.store)


def _state(shell: Shell) -> ReplicaState:
    assert isinstance(shell.machine, ReplicaPort)
    return shell.machine.replica.state


def _round(shell: Shell) -> int:
    state = _state(shell).round
    return 0 if state is None else state.round


class ListeningWorld(World):
    """A world whose restarted nodes listen first; `listens` off shows what that is good for."""

    listens = True

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.listeners: dict[int, Listener] = {}
        self.said: dict[tuple[bytes, bytes], bytes] = {}
        """(operator, slot) -> digest, as another node heard it."""
        self.waited_ms: list[int] = []
        """How long each restarted node listened."""

    # ------------------------------------------------------------------ the guard

    def _do(self, shell: Shell, effect: object) -> None:
        listener = self.listeners.get(shell.index)
        if isinstance(effect, Publish) and listener is not None:
            if effect.slot in shell.signed:
                # What the guard holds stands, whatever a machine with an old state would say now.
                self._repeat(shell, shell.signed[effect.slot][1])
                return
            if not listener.signs or getattr(effect.body, "view", listener.began_view + 1) <= (
                listener.began_view
            ):
                return
        super()._do(shell, effect)

    def _repeat(self, shell: Shell, envelope: Envelope) -> None:
        frame = codec.encode(envelope)
        self.at(self.now_ms, lambda: self.receive(shell.index, frame))
        self.broadcast(shell.index, envelope)

    def receive(self, index: int, frame: bytes, peer: bytes = b"") -> None:
        envelope = self.ingress.admit(frame)
        shell = self.nodes[index]
        if envelope is None or not shell.alive:
            return
        me = shell.machine.address
        match envelope.body:
            case Recall(nonce=nonce):
                body = recalled(_state(shell), me, envelope.sender, nonce)
                self.send_to(index, envelope.sender, Envelope(Kind.RECALLED, me, body, b""))
            case Recalled():
                self._answered(shell, envelope.sender, envelope.body)
            case _:
                self._heard(shell, envelope)
                super().receive(index, frame, peer)

    def _heard(self, shell: Shell, envelope: Envelope) -> None:
        slot = slot_named(Kind(envelope.kind), envelope.body)
        if slot is None:
            return
        digest = signed_digest(DOMAIN, envelope)
        if envelope.sender == shell.machine.address:
            if envelope.kind != Kind.COMMIT:
                shell.signed.setdefault(slot, (digest, envelope))
            return
        first = self.said.setdefault((envelope.sender, slot), digest)
        signer = next(each for each in self.nodes if each.machine.address == envelope.sender)
        if first != digest and signer.honest:
            kind = Kind(envelope.kind).name
            raise ViolationError(f"node {signer.index} was heard to say a second {kind}")

    # ------------------------------------------------------------------ listening

    def restart(self, index: int) -> None:
        shell = self.nodes[index]
        if shell.alive or not self.listens:
            super().restart(index)
            return
        began_view = (self.clock(shell) + PARAMS.clock_bound_ms) // VIEW_MS
        listener = self.listeners[index] = Listener(began_view)
        super().restart(index)
        started_ms = self.now_ms

        def ask() -> None:
            if self._gone(shell, listener):
                return
            listener.nonce = self.rng.randbytes(16)
            listener.asked_ms, listener.answers = self.now_ms, {}
            again()

        def again() -> None:
            if self._gone(shell, listener):
                return
            message = Envelope(Kind.RECALL, shell.machine.address, Recall(listener.nonce), b"")
            for other in self.nodes:
                if other is not shell and other.machine.address not in listener.answers:
                    self.send_to(index, other.machine.address, message)
            self.at(self.now_ms + ANSWER_MS, judge)

        def judge() -> None:
            if self._gone(shell, listener):
                return
            everybody = len(listener.answers) == len(self.nodes) - 1
            patient = self.now_ms >= listener.asked_ms + VIEW_MS
            asked_enough = enough(self.ingress.table, shell.machine.address, listener.answers)
            if not everybody and not (patient and asked_enough):
                again()
            elif _round(shell) < round_told(self.ingress.table, listener.answers):
                self.at(self.now_ms + ANSWER_MS, ask)
            else:
                self.waited_ms.append(self.now_ms - started_ms)
                self._open(shell, listener)

        ask()

    def _gone(self, shell: Shell, listener: Listener) -> bool:
        return not shell.alive or self.listeners.get(shell.index) is not listener

    def _answered(self, shell: Shell, peer: bytes, body: Recalled) -> None:
        listener = self.listeners.get(shell.index)
        if listener is None or listener.signs or body.nonce != listener.nonce:
            return
        for frame in body.envelopes:
            envelope = self.ingress.admit(frame)
            if envelope is not None:
                self._heard(shell, envelope)
                self.deliver(shell.index, Received(frame))
        listener.answers[peer] = body.round

    def _open(self, shell: Shell, listener: Listener) -> None:
        listener.signs = True
        effects = shell.machine.resume(self.clock(shell))
        shell.snapshot_due = True
        self._perform(shell, effects)


class RestoredRun(MarketRun):
    """After the network is good one node dies, and comes back with the disk of some views before.

    It is the faulty one that the bound allows, so everybody else is honest.
    """

    world_type = ListeningWorld
    victims = 1

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.disks: dict[int, Disk] = {}

    def _draw_faulty(self, size: int) -> frozenset[int]:
        return frozenset()

    def _plan(self) -> None:
        super()._plan()
        rng, good_ms = self.rng, self.gst_ms
        for _ in range(8):
            self._plan_item(good_ms + rng.randint(0, 10 * VIEW_MS))
        for index in rng.sample(range(len(self.world.nodes)), self.victims):
            copied_ms = good_ms + rng.randint(0, 5 * VIEW_MS)
            died_ms = copied_ms + rng.randint(1, 4 * VIEW_MS)
            self.world.at(copied_ms, lambda i=index: self._copy(i))
            self.world.at(died_ms, lambda i=index: self.world.crash(i))
            back_ms = died_ms + rng.randint(ANSWER_MS, 3_000)
            self.world.at(back_ms, lambda i=index: self._come_back(i))

    def _copy(self, index: int) -> None:
        self.disks[index] = copied(self.world.nodes[index])

    def _come_back(self, index: int) -> None:
        put_back(self.world.nodes[index], self.disks[index])
        self._revive(index)


class PowerLossRun(RestoredRun):
    """All nodes die at once, with their disks as they were, and start within a few seconds."""

    victims = 0

    def _plan(self) -> None:
        super()._plan()
        died_ms = self.gst_ms + self.rng.randint(0, 6 * VIEW_MS)
        for index in range(len(self.world.nodes)):
            self.world.at(died_ms, lambda i=index: self.world.crash(i))
            back_ms = died_ms + self.rng.randint(ANSWER_MS, 5_000)
            self.world.at(back_ms, lambda i=index: self._revive(i))
