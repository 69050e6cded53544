"""`node market` and `node quote`: prices, depth, and what a proof would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import cell, console, print_json, say
from node.cli.submit import parse_amount
from node.errors import InputError
from node.programs.accounts import AccountsError, read_accounts

if TYPE_CHECKING:
    from rich.table import Table

    from node.client.api import Json, NodeClient

_BARS: Final = " ▁▂▃▄▅▆▇█"
_CHART: Final = 60
"""Columns of a price chart."""
_DEPTH: Final = 12
"""Rows of each side of a depth table."""
_SHARES: Final = (50, 80, 95, 100)


def market(
    job_class: Annotated[
        str, typer.Option("--class", help="One class, for instance groth16/S; else all.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Clearings shown.")] = 20,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> None:
    """Show what classes cost: prices of past clearings, and the depth of the last one."""
    found = trio.run(_market, node, job_class, limit)
    if json:
        print_json(found)
        return
    from node.client.api import as_documented  # noqa: PLC0415

    with as_documented():
        if job_class:
            _show_class(found)
        else:
            _show_classes(found["classes"])


def quote(
    program: Annotated[str, typer.Argument(help="Program name or id, for instance `solvency`.")],
    input_file: Annotated[Path, typer.Argument(help="Private CSV; nothing of it is sent.")],
    fee: Annotated[str, typer.Option("--fee", help="Tell the chance of this maximum fee.")] = "",
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=50, help="Clearings asked.")] = 20,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> None:
    """Say what a proof would cost, and the chance of being served at a fee, from recent rounds."""
    try:
        accounts = read_accounts(input_file)
    except AccountsError as exc:
        raise InputError(f"{input_file}: {exc}", "mend the file") from exc
    asked = parse_amount(fee) if fee else None
    found = trio.run(_quote, node, program, len(accounts), rounds, asked)
    if json:
        print_json(found)
        return
    _show_quote(found)


async def _market(nodes: list[str], name: str, limit: int) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        about = await client.get("/v1/node")
        with as_documented():
            classes = {str(row["name"]): str(row["class_id"]) for row in about["classes"]}
        if not name:
            rows = []
            for class_id in classes.values():
                page = await client.get("/v1/rounds", {"class_id": class_id, "limit": 1})
                state = await client.get(f"/v1/markets/{class_id}")
                rows.append({**state, "last": (page.get("clearings") or [None])[0]})
            return {"classes": rows}
        if name not in classes:
            known = ", ".join(classes) or "none"
            raise InputError(f"the network has no class {name!r}", f"choose one of: {known}")
        class_id = classes[name]
        state = await client.get(f"/v1/markets/{class_id}")
        page = await client.get("/v1/rounds", {"class_id": class_id, "limit": limit})
        with as_documented():
            clearings = page["clearings"]
            depth = await _depth(client, clearings[0]["round"], class_id) if clearings else None
        return {"market": state, "clearings": clearings, "depth": depth}


async def _depth(client: NodeClient, number: int, class_id: str) -> Json:
    """Slots wanted at each fee per slot and above, and offered at each ask and below."""
    from protocol.market_record import parse_record  # noqa: PLC0415

    document = await client.get(f"/v1/rounds/{int(number)}")
    given = next(m for m, _ in parse_record(document["markets"]) if m.class_id.hex() in class_id)
    demand, supply = [], []
    wanted = offered = 0
    for buyer in sorted(given.buyers, key=lambda each: -each.max_fee * 10**9 // each.slots):
        wanted += buyer.slots
        demand.append({"price": str(buyer.max_fee // buyer.slots), "slots": wanted})
    for seller in sorted(given.sellers, key=lambda each: each.ask * 10_000 // each.quality):
        offered += seller.slots
        ask = -(-seller.ask * 10_000 // seller.quality)
        supply.append({"price": str(ask), "slots": offered})
    return {"round": int(number), "demand": demand, "supply": supply}


async def _quote(
    nodes: list[str], program: str, accounts: int, rounds: int, fee: int | None
) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
    from node.client.quoting import quote as quoted  # noqa: PLC0415
    from node.client.submit import program_named  # noqa: PLC0415
    from protocol.market_record import parse_record  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        about = await client.get("/v1/node")
        with as_documented():
            found = program_named(program, about)
            class_id = str(found["class_id"])
            slots = -(-accounts // int(found["accounts_per_segment"])) + 1
        state = await client.get(f"/v1/markets/{class_id}")
        page = await client.get("/v1/rounds", {"class_id": class_id, "limit": rounds})
        documents = [
            await client.get(f"/v1/rounds/{int(row['round'])}") for row in page.get("clearings", ())
        ]
    with as_documented():
        markets = [
            given
            for document in documents
            for given, _ in parse_record(document["markets"])
            if given.class_id == bytes.fromhex(class_id[2:])
        ]
        price = int(state["reference_price"])
        told = await trio.to_thread.run_sync(quoted, slots, markets, int(state["bid_fee_bps"]))
        bid_fee = max(slots, -(-slots * price * int(state["bid_fee_bps"]) // 10_000))
        answer: Json = {
            "program": found["name"],
            "class": state["name"],
            "rule": state["rule"],
            "slots": slots,
            "reference_price": str(price),
            "bid_fee": str(bid_fee),
            "fee_now": str(slots * price + bid_fee),
            "clearings": len(markets),
            "fees": [
                {"percent": share, "fee": None if least is None else str(least)}
                for share in _SHARES
                if markets
                for least in [told.fee_for(share)]
            ],
        }
        if fee is not None:
            answer |= {"fee": str(fee), "chance_percent": told.chance(fee)}
        return answer


def _show_quote(found: Json) -> None:
    say(
        f"{found['program']}: {found['slots']} slots of class {found['class']}"
        f" ({found['slots'] - 1} segments and the combining one)"
    )
    say(f"{found['rule']} market, reference price {found['reference_price']} wei a slot")
    say(f"at this price: {found['fee_now']} wei, of which the bid fee is {found['bid_fee']}")
    if not found["clearings"]:
        say("no clearing yet: the reference price is all that is known")
        return
    say(f"maximum fees that the last {found['clearings']} clearings would have served:")
    for row in found["fees"]:
        say(f"  {row['percent']:3} % of them: {row['fee'] or 'no fee would have done'}")
    if "fee" in found:
        say(f"chance of {found['fee']} wei: {found['chance_percent']} %")


def _show_classes(rows: list[Json]) -> None:
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    for column in ("class", "rule", "wei a slot", "waiting", "announced", "last clearing"):
        table.add_column(column)
    for row in rows:
        slots = sum(each["slots"] for each in row["announced"])
        last = "none" if row["last"] is None else f"round {row['last']['round']}"
        values = (
            row["name"],
            row["rule"],
            row["reference_price"],
            len(row["waiting"]),
            slots,
            last,
        )
        table.add_row(*map(cell, values))
    console.print(table)


def _show_class(found: Json) -> None:
    state, clearings = found["market"], found["clearings"]
    say(
        f"{state['name']}: {state['rule']} market in epoch {state['epoch']};"
        f" {state['next_epoch_rule']} in the next by its clearings so far"
    )
    say(
        f"reference price {state['reference_price']} wei a slot, bid fee"
        f" {state['bid_fee_bps'] / 100:g} % of it; {len(state['waiting'])} requests wait"
    )
    if not clearings:
        say("no clearing yet")
        return
    say(_chart([_paid(row) for row in reversed(clearings)]))
    console.print(_history(clearings))
    console.print(_depth_table(found["depth"]))


def _paid(row: Json) -> int:
    """Wei a slot that a clearing cost, its reference price where nothing was sold."""
    price = row["price"]
    return int(row["reference_price"]) if price is None else int(price["num"]) // int(price["den"])


def _chart(prices: list[int]) -> str:
    """The last prices as bars, oldest first, with their range."""
    prices = prices[-_CHART:]
    low, high = min(prices), max(prices)
    steps = len(_BARS) - 2
    bars = "".join(_BARS[1 + (price - low) * steps // max(high - low, 1)] for price in prices)
    return f"{bars}  {low} - {high} wei a slot"


def _history(clearings: list[Json]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table()
    columns = ("round", "rule", "wei a slot", "wanted", "offered", "sold", "buyers", "sellers")
    for column in columns:
        table.add_column(column, justify="left" if column == "rule" else "right")
    for row in clearings:
        sold = f"{_paid(row):.6g}" if row["served"] else f"({_paid(row):.6g})"
        counts = (row["demanded"], row["offered"], row["volume"], row["buyers"], row["sellers"])
        table.add_row(*map(cell, (row["round"], row["rule"], sold, *counts)))
    return table


def _depth_table(depth: dict[str, Any]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"depth in round {depth['round']}: slots, added up", title_justify="left")
    for column in ("wanted", "at least wei", "offered", "at most wei"):
        table.add_column(column, justify="right")
    demand, supply = depth["demand"], depth["supply"]
    for place in range(min(_DEPTH, max(len(demand), len(supply)))):
        row: list[object] = []
        for side in (demand, supply):
            point = side[place] if place < len(side) else {"slots": "", "price": ""}
            row += [point["slots"], point["price"] and f"{int(point['price']):.6g}"]
        table.add_row(*map(cell, row))
    more = max(len(demand), len(supply)) - _DEPTH
    if more > 0:
        table.caption = f"and {more} more: --json has all"
    return table
