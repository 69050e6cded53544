"""The clock of a real node."""

from __future__ import annotations

import time


class SystemClock:
    """Wall-clock time, as the protocol wants it."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000
