"""What the adapter counts; the metrics read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class NetCounters:
    """Monotonic counts since the start, by path or by reason."""

    frames_in: Counter[str] = field(default_factory=Counter)  # gossip, stream
    frames_out: Counter[str] = field(default_factory=Counter)
    bytes_in: Counter[str] = field(default_factory=Counter)  # gossip, stream, blob
    bytes_out: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)  # by reason, frames either way
    refused: Counter[str] = field(default_factory=Counter)  # by reason, connections
    penalties: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # points
    faults: Counter[str] = field(default_factory=Counter)  # exceptions that a guard caught

    def snapshot(self) -> dict[str, dict[str, float]]:
        """A copy of all counts, for metrics."""
        names = (
            "frames_in",
            "frames_out",
            "bytes_in",
            "bytes_out",
            "drops",
            "refused",
            "penalties",
            "faults",
        )
        return {name: dict(getattr(self, name)) for name in names}
