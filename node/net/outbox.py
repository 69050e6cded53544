"""What waits for one operator, and the acknowledged stream that carries it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from libp2p.custom_types import TProtocol

from node.net.counters import NetCounters
from node.net.records import Ack, NetConfig
from node.net.streams import PeerStream, StreamBrokenError

FRAME_PROTOCOL = TProtocol("/provernet/1/frame")

PAUSE_FIRST = 0.02  # seconds before a frame goes again to a peer that was full
PAUSE_CAP = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A frame that must arrive before `expires_at` (trio time)."""

    frame: bytes
    expires_at: float


class Outbox:
    """Bounded by frames and bytes; when full the oldest frame goes, and is counted."""

    def __init__(self, config: NetConfig, counters: NetCounters) -> None:
        self._config = config
        self._counters = counters
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._wake = trio.Event()

    def put(self, frame: bytes, expires_at: float) -> None:
        """Queue a frame at the end."""
        self._items.append(Item(frame, expires_at))
        self._bytes += len(frame)
        self._shrink()
        self._wake.set()

    def put_back(self, items: list[Item]) -> None:
        """Queue unacknowledged items again, before all others."""
        self._items.extendleft(reversed(items))
        self._bytes += sum(len(item.frame) for item in items)
        self._shrink()
        self._wake.set()

    async def take(self) -> Item:
        """Wait for the next item that has not expired."""
        while True:
            while self._items:
                item = self._items.popleft()
                self._bytes -= len(item.frame)
                if item.expires_at > trio.current_time():
                    return item
                self._counters.drops["send_expired"] += 1
            self._wake = trio.Event()
            await self._wake.wait()

    def expire(self) -> None:
        """Drop what is too old, for an operator that is not connected."""
        now = trio.current_time()
        while self._items and self._items[0].expires_at <= now:
            self._bytes -= len(self._items.popleft().frame)
            self._counters.drops["send_expired"] += 1

    def __len__(self) -> int:
        return len(self._items)

    def _shrink(self) -> None:
        config = self._config
        while len(self._items) > config.outbox_frames or self._bytes > config.outbox_bytes:
            self._bytes -= len(self._items.popleft().frame)
            self._counters.drops["outbox_full"] += 1


class Pump:
    """Sends an outbox over one stream: several frames in flight, acknowledged in order."""

    def __init__(
        self, outbox: Outbox, stream: PeerStream, config: NetConfig, counters: NetCounters
    ) -> None:
        self._outbox = outbox
        self._stream = stream
        self._counters = counters
        self._in_flight: deque[Item] = deque()
        self._slots = trio.Semaphore(config.in_flight)
        self._sent, self._to_acknowledge = trio.open_memory_channel[None](config.in_flight)
        self._pause = 0.0

    async def run(self) -> None:
        """Until cancelled. Raises StreamBrokenError; what was not acknowledged is queued again."""
        self._stream.save_window_updates()
        failure: StreamBrokenError | None = None
        try:
            async with trio.open_nursery() as nursery:

                async def half(loop: Callable[[], Awaitable[None]]) -> None:
                    nonlocal failure
                    try:
                        await loop()
                    except StreamBrokenError as error:
                        failure = error
                        nursery.cancel_scope.cancel()

                nursery.start_soon(half, self._write)
                nursery.start_soon(half, self._acknowledge)
        finally:
            self._outbox.put_back(list(self._in_flight))
            self._in_flight.clear()
        if failure is not None:
            raise failure

    async def _write(self) -> None:
        while True:
            await self._slots.acquire()
            if self._pause:
                await trio.sleep(self._pause)
            item = await self._outbox.take()
            self._in_flight.append(item)
            self._sent.send_nowait(None)
            await self._stream.write_frame(item.frame)
            self._counters.frames_out["stream"] += 1
            self._counters.bytes_out["stream"] += len(item.frame)

    async def _acknowledge(self) -> None:
        async for _ in self._to_acknowledge:
            (code,) = await self._stream.read_exactly(1)
            item = self._in_flight.popleft()
            self._slots.release()
            if code in (Ack.FULL, Ack.RATE_LIMITED):
                self._counters.drops["send_deferred"] += 1
                self._pause = min(max(2 * self._pause, PAUSE_FIRST), PAUSE_CAP)
                self._outbox.put_back([item])
                continue
            self._pause = 0.0
            if code != Ack.OK:
                self._counters.drops["send_refused"] += 1
