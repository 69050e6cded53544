"""Bars of characters, for terminals and for files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_ASCII: Final = " ....:::#"
_BROADEST: Final = 3
"""Cells of a column where there is room."""


def column_chart(
    values: Sequence[int], label: Callable[[int], str], *, width: int, height: int, plain: bool
) -> list[str]:
    """Lines of a chart from the least value to the largest; the last values, if not all fit.

    `plain` draws with ASCII alone.
    """
    room = width - max(len(label(value)) for value in values) - 3
    values = values[-max(1, room) :]
    broad = max(1, min(_BROADEST, room // len(values)))
    low, high = min(values), max(values)
    steps = [1 + (value - low) * (8 * height - 1) // max(high - low, 1) for value in values]
    labels = {height - 1: label(high), 0: label(low)}
    margin = max(map(len, labels.values()))
    cells = _ASCII if plain else _EIGHTHS
    return [
        f"{labels.get(row, ''):>{margin}} |"
        + "".join(cells[min(max(step - 8 * row, 0), 8)] * broad for step in steps)
        for row in reversed(range(height))
    ]


def bar(value: int, most: int, width: int, *, plain: bool) -> str:
    """A horizontal bar, at least one cell for what is more than nothing."""
    cells = -(-value * width // most) if most else 0
    return (_ASCII if plain else _EIGHTHS)[-1] * cells
