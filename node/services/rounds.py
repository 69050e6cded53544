"""Times rounds from the opening of the first attempt to the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.metrics import Metrics
    from protocol.effects import Record


class RoundTimer:
    """Reads the replica's records of phases."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._opened: tuple[int, int] | None = None

    def note(self, effect: Record) -> None:
        """Take in one record."""
        fields = dict(effect.fields)
        if effect.event != "round_phase":
            return
        number = int(fields["round"])
        if fields["phase"] == "collecting" and (self._opened or (0, 0))[0] != number:
            self._opened = (number, effect.at_ms)
        elif fields["phase"] == "decided":
            self._metrics.rounds_decided.inc()
            if self._opened is not None and self._opened[0] == number:
                self._metrics.round_seconds.observe((effect.at_ms - self._opened[1]) / 1_000)
