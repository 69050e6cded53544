"""What verbs print: tables for people, one JSON object for programs, complaints on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

console = Console()
progress_console = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def complain(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write("error: " + plain(" ".join(text.split())) + "\n")


def say(text: str) -> None:
    """One line on standard output, whatever the terminal's width."""
    sys.stdout.write(plain(text) + "\n")


def plain(text: str) -> str:
    """Text without control characters: a hostile node must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def cell(value: object) -> Text:
    """A table's cell; square brackets in it are no markup."""
    return Text(plain(str(value)))


def short(text: str, size: int = 10) -> str:
    """The first hex digits of an id or address."""
    return text if len(text) <= size + 1 else text[:size] + "…"


def amount(wei: str | int) -> str:
    """Wei as a decimal of 18 places without trailing zeros."""
    whole, part = divmod(int(wei), 10**18)
    return f"{whole}.{part:018d}".rstrip("0").rstrip(".")
