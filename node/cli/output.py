"""What verbs print: tables for people, one JSON object for programs, complaints on stderr."""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.text import Text

UNITS: Final = (("ether", 18), ("gwei", 9), ("wei", 0))
"""Names of amounts with their decimal places."""

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


def amount(wei: str | int, places: int = 18) -> str:
    """Wei as a decimal without trailing zeros, in ether or in a unit of so many places."""
    whole, part = divmod(int(wei), 10**places)
    return f"{whole}.{part:0{places}d}".rstrip("0").rstrip(".")


def unit_for(wei: int) -> tuple[str, int]:
    """The unit in which an amount has few leading zeros, with its decimal places."""
    return next((unit for unit in UNITS if wei * 10**6 >= 10 ** unit[1]), UNITS[-1])


def money(wei: str | int) -> str:
    """An exact amount with its unit, as `--max-fee` takes it."""
    name, places = unit_for(int(wei))
    return f"{amount(wei, places)} {name}"


def rounded(wei: str | int, places: int) -> str:
    """Six significant digits of an amount in a unit of so many decimal places."""
    return f"{Decimal(f'{int(wei) / 10**places:.6g}'):f}"  # no exponent


def age(at_ms: int) -> str:
    """How long ago a time was, by this machine's clock."""
    seconds = max(0, int(time.time()) - int(at_ms) // 1_000)
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"
