"""`node evidence`: operators' faults that signatures prove, as a node keeps them."""

from __future__ import annotations

from typing import Annotated, Any

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import cell, console, print_json, say, short

evidence = typer.Typer(help="Operators' faults that signatures prove.", no_args_is_help=True)

MAX_SHOWN: int = 100


@evidence.command("list")
def list_(
    before: Annotated[
        int, typer.Option(min=0, help="Only faults of rounds below this one; 0: the newest.")
    ] = 0,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> None:
    """Show the faults that a node holds evidence of, newest round first; --json has all of it."""
    rows = trio.run(_fetch, node, before)
    if json:
        print_json({"evidence": rows})
        return
    if not rows:
        say("no operator's fault is known to this node")
        return
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for column in ("round", "view", "fault", "accused", "reporter"):
        table.add_column(column)
    for row in rows:
        names = (row["fault"], short(row["accused"]), short(row["reporter"]))
        table.add_row(*map(cell, (row["round"], row["view"], *names)))
    console.print(table)
    say("a fault is proven by the signed statements that --json shows")


async def _fetch(nodes: list[str], before: int) -> list[dict[str, Any]]:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415

    params: dict[str, str | int] = {"limit": MAX_SHOWN}
    if before:
        params["before"] = before
    async with open_http() as http:
        answer = await NodeClient(nodes, http).get("/v1/evidence", params)
    with as_documented():
        fields = ("round", "view", "fault", "accused", "reporter")
        rows: list[dict[str, Any]] = answer["evidence"]
        for row in rows:
            _ = [row[name] for name in fields]
        return rows
