"""What verbs print: tables for people, one JSON object for programs, complaints on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

console = Console()
progress_console = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def complain(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write("error: " + " ".join(text.split()) + "\n")


def short(text: str, size: int = 10) -> str:
    """The first hex digits of an id or address."""
    return text if len(text) <= size + 1 else text[:size] + "…"


def amount(wei: str | int) -> str:
    """Wei as a decimal of 18 places without trailing zeros."""
    whole, part = divmod(int(wei), 10**18)
    return f"{whole}.{part:018d}".rstrip("0").rstrip(".")
