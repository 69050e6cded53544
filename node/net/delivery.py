"""The way of a frame from the wire to the application: bounded, counted, each copy once."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, deque
from typing import Literal

import trio

from node.net.counters import NetCounters
from node.net.records import Inbound, NetConfig

TWIN_SECONDS = 30.0
TWINS = 8192
SHARES = 4  # an operator holds at most one of so many parts of the queue


class Delivery:
    """A queue bounded by frames and bytes: when it is full, gossip is dropped and streams are told.

    A reliable broadcast arrives twice, by gossip and by stream. The second copy that comes by the
    *other* way is dropped here; the same bytes by the same way are a repetition and the
    application's to judge. Whoever sends much fills its own share of the queue, never the others'.
    """

    def __init__(self, config: NetConfig, counters: NetCounters) -> None:
        self._config = config
        self._counters = counters
        self._queue: deque[Inbound] = deque()
        self._bytes = 0
        self._frames_of: Counter[bytes] = Counter()
        self._bytes_of: Counter[bytes] = Counter()
        self._wake = trio.Event()
        self._twins: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._out, self.inbound = trio.open_memory_channel[Inbound](0)

    def offer(self, operator: bytes, frame: bytes, via: Literal["gossip", "stream"]) -> bool:
        """Take a frame, or false when there is no room."""
        if self._is_twin(operator, frame, via):
            self._counters.drops["twin"] += 1
            return True
        config = self._config
        if (
            len(self._queue) >= config.inbound_frames
            or self._bytes + len(frame) > config.inbound_bytes
            or self._frames_of[operator] * SHARES >= config.inbound_frames
            or (self._bytes_of[operator] + len(frame)) * SHARES > config.inbound_bytes
        ):
            self._counters.drops["inbound_full"] += 1
            return False
        self._remember(operator, frame, via)
        self._queue.append(Inbound(operator, frame, via))
        self._bytes += len(frame)
        self._frames_of[operator] += 1
        self._bytes_of[operator] += len(frame)
        self._counters.frames_in[via] += 1
        self._counters.bytes_in[via] += len(frame)
        self._wake.set()
        return True

    async def run(self) -> None:
        """Move frames to the channel `inbound` until the reader closes it or this is cancelled."""
        with self._out:
            while True:
                while self._queue:
                    item = self._queue.popleft()
                    try:
                        await self._out.send(item)
                    except trio.BrokenResourceError:
                        return
                    self._gone(item)
                self._wake = trio.Event()
                await self._wake.wait()

    def _gone(self, item: Inbound) -> None:
        size = len(item.frame)
        self._bytes -= size
        for held, amount in ((self._frames_of, 1), (self._bytes_of, size)):
            held[item.operator] -= amount
            if not held[item.operator]:
                del held[item.operator]

    def _is_twin(self, operator: bytes, frame: bytes, via: str) -> bool:
        key = self._key(operator, frame)
        known = self._twins.get(key)
        if known is None or known[0] == via or known[1] < trio.current_time():
            return False
        del self._twins[key]
        return True

    def _remember(self, operator: bytes, frame: bytes, via: str) -> None:
        self._twins[self._key(operator, frame)] = (via, trio.current_time() + TWIN_SECONDS)
        while len(self._twins) > TWINS:
            self._twins.popitem(last=False)

    @staticmethod
    def _key(operator: bytes, frame: bytes) -> bytes:
        return hashlib.blake2b(operator + frame, digest_size=16).digest()
