"""`node auction`: recomputes clearings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.options import AsJson
from node.cli.output import cell, console, print_json, say

if TYPE_CHECKING:
    from rich.table import Table

SHOWN: int = 40
"""Rows of a table; `--json` has all."""

auction = typer.Typer(help="Recompute the clearing of a market.", no_args_is_help=True)


@auction.command("clear")
def clear(
    file: Annotated[Path, typer.Argument(help="A market as JSON; see docs/auction.md.")],
    json: AsJson = False,
) -> None:
    """Clear a market file: prices, who trades, and why the others do not; needs no node."""
    from node.market_file import load_market, shown  # noqa: PLC0415

    market = load_market(file)
    answer = shown(market, market.clear())
    if json:
        print_json(answer)
        return
    price = answer["buyer_price"]
    paid = "nothing trades" if price is None else f"buyers pay {_fraction(price)} wei a slot"
    say(f"{answer['mode']} market: {paid}, the treasury keeps {answer['treasury']} wei")
    console.print(_table("buyer", ("pays",), answer["buyers"]))
    console.print(_table("seller", ("slots_sold", "receives"), answer["sellers"]))


def _fraction(price: dict[str, int]) -> str:
    return str(price["num"]) if price["den"] == 1 else f"{price['num']}/{price['den']}"


def _table(name: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    more = len(rows) - SHOWN
    table = Table(caption=f"and {more} more: --json has all" if more > 0 else None)
    for column in (name, *columns, "reason"):
        table.add_column(column.replace("_", " "))
    for row in rows[:SHOWN]:
        table.add_row(*(cell(row[column]) for column in ("id", *columns, "reason")))
    return table
