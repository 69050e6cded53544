"""How figures look on docs/benchmarks.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.records import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.records import Json

IMAGES: Final = ROOT / "docs" / "img"


def seconds(part: Json) -> str:
    """A spread of milliseconds, in seconds."""
    return f"{part['median'] / 1_000:.2f} s [{part['low'] / 1_000:.2f}, {part['high'] / 1_000:.2f}]"


def ratio(part: Json) -> str:
    """A spread of ratios."""
    return f"{part['median']:.2f} [{part['low']:.2f}, {part['high']:.2f}]"


def ranged(part: Json) -> str:
    """A spread as it was rounded: the median, and the range if there is one."""
    if part["low"] == part["high"]:
        return f"{part['median']:,}"
    return f"{part['median']:,} [{part['low']:,}, {part['high']:,}]"


def verdict(met: bool) -> str:
    """What the page says of a target."""
    return "met" if met else "**missed**"


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of a Markdown table."""
    columns = [str(cell) for cell in head]
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
