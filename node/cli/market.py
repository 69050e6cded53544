"""`node market`: prices of past clearings, and the depth of the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import trio
import typer

from node.cli.chart import bar, column_chart
from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import age, cell, console, money, print_json, rounded, say, unit_for

if TYPE_CHECKING:
    from rich.table import Table

    from node.client.api import Json
    from protocol.auction import MarketInput

_CHART_HEIGHT: Final = 4
_BAR: Final = 14
"""Cells of the longest bar of a depth table."""
_LEVELS: Final = 12
"""Prices in a depth table, those around the crossing; `--json` has all."""


def market(
    job_class: Annotated[
        str, typer.Option("--class", help="One class, for instance groth16/S; else all.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Clearings shown.")] = 20,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> None:
    """Show what classes cost: prices of past clearings, and the depth of the last one."""
    from node.client.api import as_documented  # noqa: PLC0415

    found = trio.run(_class, node, job_class, limit) if job_class else trio.run(_classes, node)
    if json:
        print_json(found)
        return
    with as_documented():
        if job_class:
            _show_class(found)
        else:
            _show_classes(found["classes"])


async def _classes(nodes: list[str]) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
    from node.client.clearings import recent_clearings  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        about = await client.get("/v1/node")
        with as_documented():
            ids = [str(row["class_id"]) for row in about["classes"]]
        rows = []
        for class_id in ids:
            state = await client.get(f"/v1/markets/{class_id}")
            last = await recent_clearings(client, 1, class_id)
            rows.append({**state, "last": last[0] if last else None})
        return {"classes": rows}


async def _class(nodes: list[str], name: str, limit: int) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
    from node.client.clearings import (  # noqa: PLC0415
        class_named,
        cleared_market,
        recent_clearings,
    )

    async with open_http() as http:
        client = NodeClient(nodes, http)
        about = await client.get("/v1/node")
        with as_documented():
            class_id = class_named(name, about)
        state = await client.get(f"/v1/markets/{class_id}")
        clearings = await recent_clearings(client, limit, class_id)
        depth = None
        if clearings:
            number = clearings[0]["round"]
            given = await cleared_market(client, number, class_id)
            with as_documented():
                depth = {"round": number, **_depth(given)}
        return {"market": state, "clearings": clearings, "depth": depth}


def _depth(given: MarketInput) -> Json:
    from node.client.depth import crossing_of, levels_of  # noqa: PLC0415

    levels = levels_of(given)
    crossing = crossing_of(levels)
    return {
        "levels": [
            {"price": str(level.price), "wanted": level.wanted, "offered": level.offered}
            for level in levels
        ],
        "crossing": None
        if crossing is None
        else {
            "slots": crossing.slots,
            "low": str(crossing.low),
            "high": str(crossing.high),
        },
        "named_slots": sum(buyer.slots for buyer in given.buyers if buyer.allowlist),
    }


def _show_classes(rows: list[Json]) -> None:
    columns = ("class", "rule", "price of a slot", "waiting", "announced", "last clearing")
    table = _table(*columns, left=(0, 1))
    for row in rows:
        last = row["last"]
        unit, places = unit_for(int(row["reference_price"]))
        values = (
            row["name"],
            row["rule"],
            f"{rounded(row['reference_price'], places)} {unit}",
            len(row["waiting"]),
            sum(each["slots"] for each in row["announced"]),
            "none" if last is None else f"{age(last['at_ms'])} ago",
        )
        table.add_row(*map(cell, values))
    console.print(table)


def _show_class(found: Json) -> None:
    state, clearings = found["market"], found["clearings"]
    waiting = sum(row["missing"] for row in state["waiting"])
    slots = sum(row["slots"] for row in state["announced"])
    busy = sum(row["busy"] for row in state["announced"])
    say(
        f"{state['name']}: {state['rule']} market in epoch {state['epoch']},"
        f" {state['next_epoch_rule']} in the next by its clearings so far"
    )
    say(
        f"reference price {money(state['reference_price'])} a slot,"
        f" bid fee {state['bid_fee_bps'] / 100:g} % of it"
    )
    say(
        f"requests that wait: {len(state['waiting'])}, for slots: {waiting};"
        f" slots announced: {slots}, busy: {busy}"
    )
    if clearings:
        _show_history(clearings)
        _show_depth(found["depth"])
    else:
        say("no clearing yet")


def _show_history(clearings: list[Json]) -> None:
    from node.client.clearings import slot_price  # noqa: PLC0415

    prices = [slot_price(row) for row in clearings]
    unit, places = unit_for(max(prices))
    say("")
    say(f"price of a slot in {unit}, oldest clearing first:")
    for line in column_chart(
        prices[::-1],
        lambda price: rounded(price, places),
        width=console.width,
        height=_CHART_HEIGHT,
        plain=_plain(),
    ):
        say(line)
    columns = ("round", "age", "rule", "price", "wanted", "offered", "sold", "buyers", "sellers")
    table = _table(*columns, left=(2,))
    for row, price in zip(clearings, prices, strict=True):
        paid = rounded(price, places)
        values = (
            row["round"],
            age(row["at_ms"]),
            row["rule"],
            paid if row["served"] else f"({paid})",
            row["demanded"],
            row["offered"],
            row["volume"],
            row["buyers"],
            row["sellers"],
        )
        table.add_row(*map(cell, values))
    if not all(row["served"] for row in clearings):
        table.caption = "(price): nothing was sold; the reference price"
    console.print(table)


def _show_depth(depth: Json) -> None:
    levels, crossing = depth["levels"], depth["crossing"]
    if not levels:
        return
    unit, places = unit_for(int(levels[0]["price"]))
    low, high = (int(crossing["low"]), int(crossing["high"])) if crossing else (1, 0)
    crossed = [at for at, row in enumerate(levels) if low <= int(row["price"]) <= high]
    start = max(0, min((crossed or [0])[0] - _LEVELS // 2, len(levels) - _LEVELS))
    table = _table(f"{unit} a slot", "wanted", "", "offered", "", "", left=(2, 4, 5))
    most = max(row["wanted"] for row in levels), max(row["offered"] for row in levels)
    for at, row in enumerate(levels[start : start + _LEVELS], start):
        values = (
            rounded(row["price"], places),
            row["wanted"],
            bar(row["wanted"], max(most), _BAR, plain=_plain()),
            row["offered"],
            bar(row["offered"], max(most), _BAR, plain=_plain()),
            "<" if at in crossed else "",
        )
        table.add_row(*map(cell, values))
    say(
        f"depth in round {depth['round']}: slots wanted at a price or above, offered at it or below"
    )
    console.print(table)
    if crossing:
        prices = f"between {rounded(low, places)} and {rounded(high, places)} {unit}"
        say(f"< the curves cross: {crossing['slots']} slots {prices} each")
    else:
        say("the curves do not cross: nobody pays what anybody asks")
    if depth["named_slots"]:
        say(f"{depth['named_slots']} more slots are wanted by requests that name their operators")
    if len(levels) > _LEVELS:
        say(f"{len(levels) - _LEVELS} more prices: --json has all")


def _table(*columns: str, left: tuple[int, ...]) -> Table:
    """A table that leaves its room to many columns; those that are not `left` hold numbers."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place in left else "right")
    return table


def _plain() -> bool:
    return console.options.ascii_only or not console.is_terminal
