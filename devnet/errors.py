"""What goes wrong while a devnet is built or run, told to a person."""

from __future__ import annotations

from typing import Any, Protocol


class DevnetError(Exception):
    """A devnet can not go on; the text names the cause and, after a semicolon, the mend."""


class Told(Protocol):
    """What a scenario has to show."""

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        ...


class NotTrueError(Exception):
    """The first sentence that is not true; `outcome` is how it ended, if it did."""

    def __init__(self, text: str, outcome: Told | None = None) -> None:
        super().__init__(text)
        self.outcome = outcome
