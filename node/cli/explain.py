"""`node explain ID`: why a request or an operator won or lost, with the numbers behind it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Final

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import age, money, print_json, say
from node.errors import InputError, RefusedError
from protocol.clearing import FULL_QUALITY, Verdict

if TYPE_CHECKING:
    from node.client.api import Json, NodeClient

MYSELF: Final = "me"
_CLASSES: Final = 8
"""More markets than a round has."""
_TEXTS: Final = {verdict.code: verdict.value.text for verdict in Verdict}


def explain(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Request id, its bid's id, operator address, or `me`: the asked node.",
        ),
    ],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Rounds shown.")] = 10,
    round_number: Annotated[
        int, typer.Option("--round", min=0, help="This round alone; 0: the newest ones.")
    ] = 0,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> None:
    """Print the receipts of a request or an operator, and why each went as it did."""
    from node.client.api import as_documented  # noqa: PLC0415

    digits = identity.removeprefix("0x").lower()
    if identity != MYSELF and (
        len(digits) not in {40, 64} or not all(c in "0123456789abcdef" for c in digits)
    ):
        raise InputError(
            f"{identity!r} is no request, bid or operator",
            "write 0x and 64 or 40 hex digits, or me",
        )
    if len(digits) == 64:
        about = trio.run(_request, node, digits, limit, round_number)
    else:
        about = trio.run(_operator, node, digits, limit, round_number)
    if json:
        print_json(about)
        return
    with as_documented():
        if len(digits) == 64:
            _show_request(about, round_number)
        else:
            _show_operator(about, round_number)


async def _request(nodes: list[str], digits: str, limit: int, round_number: int) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        try:
            document = await client.get(f"/v1/requests/0x{digits}")
        except RefusedError as exc:
            raise RefusedError(
                exc.cause,
                "give a request's id or its bid's; an ask is explained by its operator's address",
                exc.reason,
            ) from exc
        with as_documented():
            request_id = bytes.fromhex(document["request_id"][2:])
        receipts = await _receipts(client, request_id, limit, round_number)
        return {"request": document, "receipts": receipts}


async def _operator(nodes: list[str], digits: str, limit: int, round_number: int) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
    from node.client.clearings import recent_clearings  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        if digits == MYSELF:
            about = await client.get("/v1/node")
            with as_documented():
                digits = bytes.fromhex(about["operator"][2:]).hex()
        try:
            standing = await client.get(f"/v1/operators/0x{digits}")
        except RefusedError as exc:
            if exc.reason != "not_kept":
                raise
            raise InputError(
                f"0x{digits} is in no operator table that this node knows", "check the address"
            ) from exc
        receipts = await _receipts(client, bytes.fromhex(digits), limit, round_number)
        most, before = (_CLASSES, round_number + 1) if round_number else (limit, 0)
        clearings = await recent_clearings(client, most, before=before)
        with as_documented():
            took_part = {(row["round"], row["class_id"]) for row in receipts}
            absent = [
                {"round": row["round"], "class_id": row["class_id"], "name": row["name"]}
                for row in clearings
                if (row["round"], row["class_id"]) not in took_part
                and (not round_number or row["round"] == round_number)
            ]
        return {"standing": standing, "receipts": receipts, "absent": absent}


async def _receipts(client: NodeClient, bidder: bytes, limit: int, round_number: int) -> list[Json]:
    from node.client.api import as_documented  # noqa: PLC0415

    params: dict[str, str | int] = {"limit": limit}
    if round_number:
        params = {"limit": _CLASSES, "before": round_number + 1}
    page = await client.get(f"/v1/receipts/0x{bidder.hex()}", params)
    with as_documented():
        rows: list[Json] = page["receipts"]
        return [row for row in rows if not round_number or row["round"] == round_number]


def _limit(document: Json) -> str:
    fee = document["max_fee"]
    return "its maximum fee is sealed" if fee is None else f"its maximum fee is {money(fee)}"


def _show_request(about: Json, round_number: int) -> None:
    document, receipts = about["request"], about["receipts"]
    say(f"request {document['request_id']}")
    say(f"{document['state']}; {_limit(document)}")
    if not receipts:
        where = f"of round {round_number}" if round_number else "that this node knows of"
        say(f"it was in no clearing {where}: no round had admitted it, or no operator asked")
    for row in receipts:
        _show_clearing(row)
        bid, least = row["bid"], row["would_have_won"]
        if row["verdict"] == Verdict.WON.code:
            say(f"  it bought {_slots(row['slots'])} for {money(row['amount'])}")
        elif least is not None:
            say(f"  {_slots(bid['slots'])} cost {money(least)} at this price")
        if bid["slots"]:
            say(f"  it offered {money(bid['most'])} for them, after the bid fee")
    award, result = document["award"], document["result"]
    if award:
        say(f"awarded in round {award['round']} for {money(award['fee'])}")
        say(f"  gateway {award['gateway']}")
    for row in document["segments"]:
        last = row["segment"] == len(document["segments"]) - 1
        name = "combining segment" if last else f"segment {row['segment']}"
        again = f", prover number {row['attempt'] + 1}" if row["attempt"] else ""
        say(f"  {name}: {row['operator']} {row['state']}{again}")
    if result:
        slots = int(award["fee"]) if award and result["status"] == "settled" else 0
        say(f"{result['status']} in round {result['round']} for {money(result['fee'])}")
        say(f"  slots {money(slots)}, bid fee {money(int(result['fee']) - slots)}")
        if len(result["settle_tx"]) > 2:  # not settled on chain yet
            say(f"  transaction {result['settle_tx']}")
    if document["reason"]:
        say(f"reason: {document['reason']}")
    stages = sorted(document["stages_ms"].items(), key=lambda pair: int(pair[1]))
    if stages:
        start = int(stages[0][1])
        text = ", ".join(f"{name} {(int(at) - start) / 1_000:.1f}" for name, at in stages)
        say("seconds since this node had the request:")
        for line in textwrap.wrap(text, 76):
            say(f"  {line}")


def _show_operator(about: Json, round_number: int) -> None:
    standing, receipts, absent = about["standing"], about["receipts"], about["absent"]
    quality, least = standing["quality"], standing["min_quality"]
    say(f"operator {standing['operator']}")
    say(f"earned {money(standing['earned'])}")
    say(f"quality {quality} of {FULL_QUALITY}: asks are compared and paid by it")
    say(
        f"  recent proofs weigh {standing['good'] / 1_000:g} slots, and 8 given to everybody;"
        f" recent failures {standing['bad'] / 1_000:g}"
    )
    say(
        f"slot cap {standing['slot_cap']}, at a time: raised by proven slots,"
        f" {standing['proven'] / 1_000:g} so far, lowered by failures"
    )
    say(
        f"eligible: its quality is at least {least}"
        if standing["eligible"]
        else f"NOT eligible: its quality is below {least}; each epoch forgives a quarter"
    )
    for row in receipts:
        _show_clearing(row)
        bid, most = row["bid"], row["would_have_won"]
        adjusted = -(-int(bid["ask"]) * FULL_QUALITY // bid["quality"])
        weighed = "" if adjusted == int(bid["ask"]) else f", {money(adjusted)} by quality"
        say(f"  it asked {money(bid['ask'])} for each of {bid['slots']} free slots{weighed}")
        if most is not None:
            say(f"  asks up to {money(most)} sell at this price")
        if row["slots"]:
            say(f"  it sold {_slots(row['slots'])} for {money(row['amount'])}")
    for row in absent:
        say(f"round {row['round']}, {row['name']}: not in this clearing, see below")
    if absent:
        say("not in a clearing: it did not ask, or had no free slot (within its slot cap and")
        say("what its stake covers, less what unfinished jobs take)")
    if not receipts and not absent:
        say(
            f"round {round_number} cleared nothing"
            if round_number
            else "no round cleared anything yet"
        )


def _show_clearing(row: Json) -> None:
    """Where a receipt is from, and its verdict."""
    price = row["price"]
    if price is not None:
        paid = f"{money(int(price['num']) // int(price['den']))} a slot"
    else:
        paid = f"nothing sold, reference price {money(row['reference_price'])}"
    say(f"round {row['round']}, {age(row['at_ms'])} ago, {row['name']}, {row['rule']} market:")
    say(f"  {paid}")
    say(f"  {row['verdict']}: {_TEXTS.get(row['verdict'], 'unknown here')}")


def _slots(count: int) -> str:
    return f"{count} slot" if count == 1 else f"{count} slots"
