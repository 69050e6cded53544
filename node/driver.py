"""Runs a deterministic machine: wait for an input or its deadline, journal, step, do the effects.

Everything the machine is told is on disk first, with the time it is told, so that a restart comes
to the same state. All inputs that wait are journalled in one fsync. After a restart: the snapshot,
the journal after it, own statements that missed the journal, then the machine's `resume`. A
machine that speaks before the guard is open is like one whose messages were lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from protocol.codec import decode_input, encode, encode_decided, encode_input
from protocol.effects import (
    Broadcast,
    Decided,
    Effect,
    Forget,
    KeepEvidence,
    KeepProof,
    KeepReceipt,
    KeepRound,
    Publish,
    Record,
    Report,
    SendTo,
)
from protocol.errors import LocalProtocolError
from protocol.inputs import AnyInput, Received, Tick

if TYPE_CHECKING:
    # The stubs that libp2p's dependency trio-typing installs hide trio.TaskStatus from mypy.
    from trio_typing import TaskStatus

    from node.guard import SigningGuard
    from node.ports import Clock
    from node.store import EventRow, Store

MAX_BATCH: Final = 256
"""Inputs journalled together."""
MAX_JOURNAL: Final = 2_000
"""Records after which a snapshot is taken even if no round was decided: bounds disk and restart."""
MIN_TICK_MS: Final = 10
"""A machine that asks to be woken at once is woken this much later, not in a hot loop."""
MAX_WAIT_MS: Final = 1_000
"""Longest wait without a look at the clock, which may have been set."""
KEPT_ROUNDS: Final = 10_000
"""Own statements of older rounds are forgotten, and the guard signs nothing there any more."""
PRUNE_EVERY: Final = 256
_TIME_SIZE: Final = 8
_KEPT: Final = (Decided, Forget, KeepEvidence, KeepProof, KeepReceipt, KeepRound, Report)
"""Done again in a replay: the machine may have no more of them. The rest is for it to resume."""


class Machine(Protocol):
    """A deterministic machine: the same inputs at the same times give the same effects."""

    def step(self, event: AnyInput, now_ms: int) -> list[Effect]:
        """Take in one input."""
        ...

    def next_deadline_ms(self) -> int | None:
        """When a Tick is due; None if only an input can change things."""
        ...

    def resume(self, now_ms: int) -> list[Effect]:
        """What may not have been done before a crash; doing it twice does no harm."""
        ...

    def snapshot(self) -> bytes:
        """All of its state."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An input in the inbox, and who waits for it to be on disk."""

    event: AnyInput
    journalled: trio.Event


Handler = Callable[[Any], Awaitable[None]]
"""Performs one effect. It must not wait for this driver's inbox: hand over and return."""


class Driver:
    """The one task that owns a machine. `machine` may be read between steps by anyone."""

    machine: Machine

    def __init__(
        self,
        *,
        store: Store,
        guard: SigningGuard,
        clock: Clock,
        restore: Callable[[bytes | None], Machine],
        handlers: Mapping[type[Any], Handler],
        capacity: int = 1_024,
    ) -> None:
        self.dropped = 0
        self._store = store
        self._guard = guard
        self._clock = clock
        self._restore = restore
        self._handlers = handlers
        self._sender, self._inbox = trio.open_memory_channel[_Waiting](capacity)
        self._own: deque[Received] = deque()
        self._events: list[EventRow] = []
        self._now_ms = 0
        self._through = 0
        self._journalled = 0
        self._checkpoint_due = False
        self._ticked_ms = 0
        self._opening = False
        self._changed = trio.Event()

    async def put(self, event: AnyInput) -> None:
        """Hand in an input; waits while the inbox is full."""
        await self._sender.send(_Waiting(event, trio.Event()))

    async def submit(self, event: AnyInput) -> None:
        """Hand in an input that must not be lost: on return it is journalled."""
        waiting = _Waiting(event, trio.Event())
        await self._sender.send(waiting)
        await waiting.journalled.wait()

    def offer(self, event: AnyInput) -> bool:
        """Hand in an input that will come again; false, and counted, when the inbox is full."""
        try:
            self._sender.send_nowait(_Waiting(event, trio.Event()))
        except trio.WouldBlock:
            self.dropped += 1
            return False
        return True

    async def start_signing(self) -> None:
        """Open the guard and have the machine say again what it could not, after all that waits."""
        await self.submit(Tick())
        self._opening = True
        await self.put(Tick())

    async def wait_changed(self) -> None:
        """Return once the machine has taken in something more."""
        await self._changed.wait()

    async def run(self, task_status: TaskStatus[Machine] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover, then drive until cancelled; `started` tells that the machine is up to date.

        Raises:
            LocalProtocolError: a bug, or a journal that is not this machine's; the node must stop.
            StoreError: the database failed; nothing was done that is not on disk.
        """
        try:
            await self._recover()
            task_status.started(self.machine)
            while True:
                await self._take(await self._next_inputs())
                if self._opening and not self._own:
                    self._opening = False
                    self._guard.open()
                    await self._resume()
        finally:
            with trio.CancelScope(shield=True):
                await self._store.add_events(self._events)

    async def _recover(self) -> None:
        replay = await self._store.replay()
        self.machine = self._restore(replay.snapshot)
        for number, record in replay.records:
            self._now_ms, event = _unpack(record)
            self._through = number
            for effect in self.machine.step(event, self._now_ms):
                if isinstance(effect, _KEPT):
                    await self._perform(effect)
        self._own.extend(Received(frame) for frame in replay.statements)
        while self._own:
            await self._take(self._own_statements(), perform=False)
        await self._resume()

    async def _resume(self) -> None:
        effects = self.machine.resume(self._tell_time())
        # `resume` is no journalled input: what it changed is kept by this snapshot.
        await self._checkpoint()
        for effect in effects:
            await self._perform(effect)

    async def _next_inputs(self) -> list[_Waiting]:
        """Own statements first; else all that waits, or a Tick at the machine's deadline."""
        if self._own:
            return self._own_statements()
        while True:
            deadline_ms = self.machine.next_deadline_ms()
            now_ms = self._clock.now_ms()
            wait_ms = MAX_WAIT_MS
            if deadline_ms is not None:
                due_ms = max(deadline_ms, self._ticked_ms + MIN_TICK_MS)
                if due_ms <= now_ms:
                    self._ticked_ms = now_ms
                    return [*self._waiting(), _Waiting(Tick(), trio.Event())]
                # A clock that was set back must not put the machine to sleep.
                wait_ms = min(MAX_WAIT_MS, due_ms - now_ms)
                self._ticked_ms = min(self._ticked_ms, now_ms)
            with trio.move_on_after(wait_ms / 1_000):
                first = await self._inbox.receive()
                return [first, *self._waiting()]

    def _own_statements(self) -> list[_Waiting]:
        taken = [_Waiting(event, trio.Event()) for event in self._own]
        self._own.clear()
        return taken

    def _waiting(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        while len(taken) < MAX_BATCH:
            try:
                taken.append(self._inbox.receive_nowait())
            except trio.WouldBlock:
                break
        return taken

    async def _take(self, batch: Sequence[_Waiting], *, perform: bool = True) -> None:
        """Journal a batch, step through it, do what follows."""
        now_ms = self._tell_time()
        events, self._events = self._events, []
        records = [_pack(now_ms, waiting.event) for waiting in batch]
        self._through = await self._store.append(records, events)
        self._journalled += len(batch)
        for waiting in batch:
            waiting.journalled.set()
        for waiting in batch:
            for effect in self.machine.step(waiting.event, now_ms):
                if perform or isinstance(effect, _KEPT):
                    await self._perform(effect)
        if self._journalled >= MAX_JOURNAL:
            self._checkpoint_due = True
        # Only now has the machine taken every statement that the guard holds.
        if self._checkpoint_due and not self._own:
            await self._checkpoint()
        self._changed.set()
        self._changed = trio.Event()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Publish():
                envelope = await self._guard.sign(effect)
                if envelope is None:
                    return
                self._own.append(Received(encode(envelope)))
                if effect.to is None:
                    await self._hand_over(Broadcast(envelope, effect.reliable))
                else:
                    await self._hand_over(SendTo(effect.to, envelope))
                return
            case Decided():
                number = effect.record.value.round
                await self._store.save_decided(number, encode_decided(effect.record))
                if number % PRUNE_EVERY == 0:
                    await self._store.prune_statements(number - KEPT_ROUNDS)
                self._checkpoint_due = True
            case Record():
                self._events.append((effect.at_ms, effect.event, dict(effect.fields)))
            case _:
                pass
        await self._hand_over(effect)

    async def _hand_over(self, effect: Effect) -> None:
        handler = self._handlers.get(type(effect))
        if handler is None:
            raise LocalProtocolError(f"nobody performs {type(effect).__name__}")
        await handler(effect)

    async def _checkpoint(self) -> None:
        await self._store.checkpoint(self.machine.snapshot(), self._through)
        self._journalled = 0
        self._checkpoint_due = False

    def _tell_time(self) -> int:
        """The clock, but never earlier than what the machine was told before."""
        self._now_ms = max(self._now_ms, self._clock.now_ms())
        return self._now_ms


def _pack(now_ms: int, event: AnyInput) -> bytes:
    return now_ms.to_bytes(_TIME_SIZE, "big") + encode_input(event)


def _unpack(record: bytes) -> tuple[int, AnyInput]:
    return int.from_bytes(record[:_TIME_SIZE], "big"), decode_input(record[_TIME_SIZE:])
