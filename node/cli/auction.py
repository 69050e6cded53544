"""`node auction`: recomputes clearings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import cell, console, print_json, say
from node.errors import ExitCode

if TYPE_CHECKING:
    from rich.table import Table

    from node.client.round_verification import RoundReport

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


@auction.command("verify")
def verify(
    round_number: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="A decided round.")],
    table_hash: Annotated[
        str,
        typer.Option(
            "--table-hash",
            help="Operator table that you trust: ProverRegistry's table hash of the epoch.",
        ),
    ] = "",
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> int:
    """Recompute a decided round from the records of every --node, and compare these."""
    from node.client.round_verification import compare  # noqa: PLC0415
    from node.client.verification import parse_hash  # noqa: PLC0415

    trusted = parse_hash(table_hash) if table_hash else None
    reports = [trio.run(_fetch, url, round_number, trusted) for url in node]
    difference = next((found.difference for found in reports if found.difference), "")
    difference = difference or compare(reports)
    if json:
        rows = [report.as_json() for report in reports]
        answer = {"round": round_number, "identical": not difference, "difference": difference}
        print_json({**answer, "nodes": rows})
        return ExitCode.ANSWER_NO if difference else ExitCode.OK
    for report in reports:
        say(f"{report.node}")
        for step in report.steps:
            say(f"  {'ok  ' if step.ok else 'FAIL'} {step.name}: {step.detail}")
    say(f"DIFFERENT: {difference}" if difference else "identical")
    return ExitCode.ANSWER_NO if difference else ExitCode.OK


async def _fetch(url: str, number: int, trusted: bytes | None) -> RoundReport:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
    from node.client.round_verification import verify_round  # noqa: PLC0415
    from protocol.eip712 import Domain  # noqa: PLC0415
    from protocol.types import Address  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient([url], http)
        about = await client.get("/v1/node")
        document = await client.get(f"/v1/rounds/{number}")
        with as_documented():
            epoch = int(document["epoch"])
        table = await client.get(f"/v1/tables/{epoch}")
        with as_documented():
            registry = Address(bytes.fromhex(about["registry"][2:]))
            domain = Domain(int(about["chain_id"]), registry)
            return verify_round(client.node, document, table, domain, trusted)


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
