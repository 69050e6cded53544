"""`node quote PROGRAM INPUT`: what a proof would cost, and the chance of a fee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import age, cell, console, money, print_json, say
from node.cli.submit import parse_amount
from node.errors import InputError
from node.programs.accounts import AccountsError, read_accounts

if TYPE_CHECKING:
    from node.client.api import Json

_SHARES: Final = (50, 80, 95, 100)
"""Percent of recent clearings for which fees are told."""
_PRICES: Final = 5
"""Recent prices that are told."""


def quote(
    program: Annotated[str, typer.Argument(help="Program name or id, for instance `solvency`.")],
    input_file: Annotated[Path, typer.Argument(help="Private CSV; nothing of it is sent.")],
    fee: Annotated[
        str, typer.Option("--fee", help="Tell the chance of this maximum fee: wei, or 0.5ether.")
    ] = "",
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=50, help="Clearings asked.")] = 20,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> None:
    """Say what a proof would cost, and the chance of being served at a fee, from recent rounds."""
    from node.programs.solvency import slots_of  # noqa: PLC0415

    try:
        accounts = read_accounts(input_file)
    except AccountsError as exc:
        raise InputError(f"{input_file}: {exc}", "mend the file") from exc
    asked = parse_amount(fee) if fee else None
    found = trio.run(_quote, node, program, slots_of(len(accounts)), rounds, asked)
    if json:
        print_json(found)
    else:
        _show(found)


async def _quote(nodes: list[str], program: str, slots: int, rounds: int, fee: int | None) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
    from node.client.clearings import (  # noqa: PLC0415
        cleared_market,
        recent_clearings,
        slot_price,
    )
    from node.client.quoting import quote as quoted  # noqa: PLC0415
    from node.client.quoting import slots_at_once  # noqa: PLC0415
    from node.client.submit import program_named  # noqa: PLC0415
    from protocol.ledger import bid_fee_of  # noqa: PLC0415
    from protocol.types import Wei  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        about = await client.get("/v1/node")
        with as_documented():
            found = program_named(program, about)
            class_id = str(found["class_id"])
        state = await client.get(f"/v1/markets/{class_id}")
        clearings = await recent_clearings(client, rounds, class_id)
        markets = [await cleared_market(client, row["round"], class_id) for row in clearings]
    with as_documented():
        price, bps = int(state["reference_price"]), int(state["bid_fee_bps"])
        told = await trio.to_thread.run_sync(quoted, slots, markets, bps)
        bid_fee = bid_fee_of(slots, Wei(price), bps)
        return {
            "program": str(found["name"]),
            "class": str(state["name"]),
            "rule": str(state["rule"]),
            "slots": slots,
            "slots_at_once": slots_at_once(slots, markets[0]) if markets else slots,
            "reference_price": str(price),
            "recent_prices": [str(slot_price(row)) for row in clearings if row["served"]][:_PRICES],
            "bid_fee": str(bid_fee),
            "fee_now": str(slots * price + bid_fee),
            "rounds": [
                {
                    "round": row["round"],
                    "at_ms": int(row["at_ms"]),
                    "rule": market.rule.value,
                    "fees": [_text(least) for least in draws],
                }
                for row, market, draws in zip(clearings, markets, told.clearings, strict=True)
            ],
            "fees": [
                {"percent": share, "fee": _text(told.fee_for(share))}
                for share in _SHARES
                if markets
            ],
            "fee": _text(fee),
            "chance_percent": None if fee is None else told.chance(fee),
        }


def _text(wei: int | None) -> str | None:
    return None if wei is None else str(wei)


def _show(found: Json) -> None:
    say(
        f"{found['program']}: {found['slots']} slots of class {found['class']}"
        f" ({found['slots'] - 1} segments and the combining one)"
    )
    say(f"{found['rule']} market, reference price {money(found['reference_price'])} a slot")
    if found["rule"] == "thick" and found["recent_prices"]:
        say("buyers paid lately: " + ", ".join(map(money, found["recent_prices"])))
    say(f"fee now: {money(found['fee_now'])} (bid fee {money(found['bid_fee'])})")
    fee = found["fee"]
    if not found["rounds"]:
        say("no clearing yet: the reference price is all that is known")
        if fee is not None:
            covers = "covers" if int(fee) >= int(found["fee_now"]) else "does not cover"
            say(f"{money(fee)} {covers} it")
        return
    if found["slots_at_once"] < found["slots"]:
        say(
            f"it would buy in tranches, {found['slots_at_once']} slots a round;"
            " what follows is told of the first"
        )
    _show_rounds(found["rounds"])
    if fee is not None:
        say(f"chance of {money(fee)}: {found['chance_percent']} %")
        return
    for row in found["fees"]:
        needed = "no fee would have done" if row["fee"] is None else money(row["fee"])
        say(f"chance of {row['percent']:3} %: {needed}")


def _show_rounds(rounds: list[Json]) -> None:
    """The fee that each clearing asked for, and how often the draw of the beacon allowed it."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="maximum fee that would have been served", title_justify="left")
    for column in ("round", "age", "rule", "fee", "draws"):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for row in rounds:
        fees = [int(fee) for fee in row["fees"] if fee is not None]
        served = f"{len(fees)} of {len(row['fees'])}"
        least = money(max(fees)) if fees else "none"
        table.add_row(*map(cell, (row["round"], age(row["at_ms"]), row["rule"], least, served)))
    if any(fee is None for row in rounds for fee in row["fees"]):
        table.caption = "draws: of the places that chance gives, those that are served"
    console.print(table)
