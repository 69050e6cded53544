"""Our own memory of peers: penalties, bans, rates. It outlives connections; libp2p's does not."""

from __future__ import annotations

from dataclasses import dataclass

from node.net.counters import NetCounters
from node.net.records import NetConfig


@dataclass(slots=True)
class TokenBucket:
    """A rate with a burst; times in seconds."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` if it is there."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if amount > self.tokens:
            return False
        self.tokens -= amount
        return True


@dataclass(slots=True)
class _Entry:
    points: float
    at: float
    banned_until: float
    frames: TokenBucket
    size: TokenBucket


class PeerLedger:
    """One entry per registered operator, so it is as bounded as the registry is."""

    def __init__(self, config: NetConfig, counters: NetCounters) -> None:
        self._config = config
        self._counters = counters
        self._entries: dict[bytes, _Entry] = {}

    def allow(self, operator: bytes, frames: int, size: int, now: float) -> bool:
        """Whether the operator may send `frames` frames of `size` bytes in all, now."""
        entry = self._entry(operator, now)
        # Both are taken even when one refuses: a flood of small frames must not save its bytes.
        within_frames = entry.frames.take(frames, now)
        within_size = entry.size.take(size, now)
        return within_frames and within_size

    def penalise(self, operator: bytes, reason: str, points: float, now: float) -> bool:
        """Add points; true if this banned the operator."""
        self._counters.penalties[reason] += points
        config = self._config
        entry = self._entry(operator, now)
        entry.points = max(0.0, entry.points - (now - entry.at) * config.points_decay) + points
        entry.at = now
        if entry.points < config.ban_points or now < entry.banned_until:
            return False
        entry.points = 0.0
        entry.banned_until = now + config.ban_seconds
        return True

    def banned_for(self, operator: bytes, now: float) -> float:
        """Seconds until the ban of an operator ends, 0 if it is not banned."""
        entry = self._entries.get(operator)
        return max(0.0, entry.banned_until - now) if entry else 0.0

    def keep_only(self, operators: frozenset[bytes], now: float) -> None:
        """Forget operators that left the registry, but not a ban that still runs."""
        gone = [o for o, e in self._entries.items() if o not in operators and e.banned_until <= now]
        for operator in gone:
            del self._entries[operator]

    def _entry(self, operator: bytes, now: float) -> _Entry:
        entry = self._entries.get(operator)
        if entry is None:
            c = self._config
            frames = TokenBucket(c.rate_frames, c.burst_frames, c.burst_frames, now)
            size = TokenBucket(c.rate_bytes, c.burst_bytes, c.burst_bytes, now)
            entry = self._entries[operator] = _Entry(0.0, now, 0.0, frames, size)
        return entry
