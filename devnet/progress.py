"""Tells a person, line by line, what happens to a request; to standard error when in doubt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from node.client.api import Json


class Progress:
    """Prints each change once, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        elapsed = time.monotonic() - self._start
        self.console.print(f"[dim]{elapsed:6.1f} s[/dim]  {escape(text)}", highlight=False)


class RequestTeller:
    """Turns the documents of one request into lines."""

    def __init__(self, progress: Progress, name_of: Callable[[str], str]) -> None:
        self._say = progress.say
        self._name_of = name_of
        self._state = ""
        self._round: int | None = None
        self._segments: dict[int, tuple[str, int, str]] = {}
        self._told_certificate = False
        self._told_settlement = False

    def tell(self, document: Json) -> None:
        """Say what is new in this document."""
        state = str(document.get("state", ""))
        if state and state != self._state:
            self._state = state
            reason = document.get("reason")
            self._say(f"request is {state}" + (f" ({reason})" if reason else ""))
        self._tell_award(document.get("award"))
        self._tell_segments(document.get("segments") or [])
        self._tell_result(document.get("result"))

    def _tell_award(self, award: Json | None) -> None:
        if award is None or award["round"] == self._round:
            return
        self._round = award["round"]
        gateway = self._name_of(award["gateway"])
        self._say(f"round {award['round']} awards it; gateway {gateway}, fee {award['fee']} wei")

    def _tell_segments(self, rows: list[Json]) -> None:
        """Group what is new by node and state: `node-2: segments 0, 2 proven`."""
        new: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            seen = (str(row["operator"]), int(row["attempt"]), str(row["state"]))
            index = int(row["segment"])
            if self._segments.get(index) == seen:
                continue
            self._segments[index] = seen
            name = "combining" if index == len(rows) - 1 else str(index)
            new.setdefault((self._name_of(seen[0]), seen[2]), []).append(name)
        for (node, state), names in new.items():
            self._say(f"{node}: segment {', '.join(names)} {state}")

    def _tell_result(self, result: Json | None) -> None:
        if result is None:
            return
        if not self._told_certificate:
            self._told_certificate = True
            self._tell_certificate(result)
        if result["gas_used"] and not self._told_settlement:
            self._told_settlement = True
            self._say(f"settled in transaction {result['settle_tx']}, {result['gas_used']} gas")

    def _tell_certificate(self, result: Json) -> None:
        votes = f"{result['voters']} of {result['operators']} operators signed"
        gateway = self._name_of(result["gateway"])
        self._say(f"round {result['round']} certifies it; gateway {gateway}, {votes}")
