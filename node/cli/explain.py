"""`node explain ID`: why a request or an operator won or lost, with the numbers behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls
from node.cli.output import print_json, say
from node.errors import InputError, RefusedError
from protocol.clearing import Verdict

if TYPE_CHECKING:
    from node.client.api import Json, NodeClient

MYSELF: Final = "me"
_TEXTS: Final = {verdict.code: verdict.value.text for verdict in Verdict}


def explain(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Request id, bid id, operator address, or `me`: the asked node."
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
    digits = identity.removeprefix("0x").lower()
    if identity != MYSELF and (
        len(digits) not in {40, 64} or not all(c in "0123456789abcdef" for c in digits)
    ):
        raise InputError(
            f"{identity!r} is no request, bid or operator",
            "write 0x and 64 or 40 hex digits, or me",
        )
    about = trio.run(
        _operator if len(digits) != 64 else _request, node, digits, limit, round_number
    )
    if json:
        print_json(about)
        return
    from node.client.api import as_documented  # noqa: PLC0415

    with as_documented():
        if "standing" in about:
            _show_operator(about)
        else:
            _show_request(about)


async def _request(nodes: list[str], digits: str, limit: int, round_number: int) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        document = await client.get(f"/v1/requests/0x{digits}")
        with as_documented():
            request_id = str(document["request_id"])
        receipts = await _receipts(client, request_id, limit, round_number)
        return {"request": document, "receipts": receipts}


async def _operator(nodes: list[str], digits: str, limit: int, round_number: int) -> Json:
    from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415

    async with open_http() as http:
        client = NodeClient(nodes, http)
        if digits == MYSELF:
            about = await client.get("/v1/node")
            with as_documented():
                digits = str(about["operator"])[2:]
        try:
            standing = await client.get(f"/v1/operators/0x{digits}")
        except RefusedError as exc:
            if exc.reason != "not_kept":
                raise
            raise InputError(
                f"0x{digits} is in no operator table that this node knows", "check the address"
            ) from exc
        receipts = await _receipts(client, f"0x{digits}", limit, round_number)
        return {"standing": standing, "receipts": receipts}


async def _receipts(client: NodeClient, bidder: str, limit: int, round_number: int) -> list[Json]:
    from node.client.api import as_documented  # noqa: PLC0415

    params: dict[str, str | int] = {"limit": limit}
    if round_number:
        params = {"limit": 8, "before": round_number + 1}
    page = await client.get(f"/v1/receipts/{bidder}", params)
    with as_documented():
        rows: list[Json] = page["receipts"]
        return [row for row in rows if not round_number or row["round"] == round_number]


def _show_request(about: Json) -> None:
    document, receipts = about["request"], about["receipts"]
    say(f"request {document['request_id']}: {document['state']}, maximum fee {document['max_fee']}")
    if not receipts:
        say("it was in no clearing: no operator asked in its class, or no round admitted it yet")
    for row in receipts:
        say(_round(row))
        say(f"  {row['verdict']}: {_TEXTS.get(row['verdict'], 'unknown here')}")
        bid = row["bid"]
        if row["verdict"] == "won":
            say(f"  {row['slots']} slots for {row['amount']} wei; it had offered {bid['most']}")
        elif row["would_have_won"] is not None:
            price = row["would_have_won"]
            say(f"  offered {bid['most']} for {bid['slots']} slots; the price was {price}")
    award, result = document["award"], document["result"]
    if award:
        say(
            f"awarded in round {award['round']}, gateway {award['gateway']}, for {award['fee']} wei"
        )
    for row in document["segments"]:
        lost = f", {row['attempt']} provers lost it before" if row["attempt"] else ""
        say(f"  segment {row['segment']}: {row['operator']} {row['state']}{lost}")
    if result:
        slots = int(award["fee"]) if award and result["status"] == "settled" else 0
        say(
            f"{result['status']} in round {result['round']}: {result['fee']} wei, of which"
            f" {int(result['fee']) - slots} are the bid fee; transaction {result['settle_tx']}"
        )
    if document["reason"]:
        say(f"reason: {document['reason']}")
    stages = sorted(document["stages_ms"].items(), key=lambda pair: pair[1])
    if stages:
        start = stages[0][1]
        say("seconds: " + ", ".join(f"{name} {(at - start) / 1_000:.1f}" for name, at in stages))


def _show_operator(about: Json) -> None:
    standing, receipts = about["standing"], about["receipts"]
    say(f"operator {standing['operator']}, earned {standing['earned']} wei")
    say(
        f"quality {standing['quality']} of 10000: recent proofs weigh"
        f" {standing['good'] / 1_000:g} slots (8 more are given), recent failures"
        f" {standing['bad'] / 1_000:g}"
    )
    allowed = (
        "eligible" if standing["eligible"] else f"NOT eligible below {standing['min_quality']}"
    )
    say(
        f"{allowed}; sells at most {standing['slot_cap']} slots at a time, after"
        f" {standing['proven'] / 1_000:g} proven"
    )
    if not receipts:
        say(
            "in no clearing: it did not ask when requests waited, had no free slot,"
            " or is not eligible"
        )
    for row in receipts:
        say(_round(row))
        say(f"  {row['verdict']}: {_TEXTS.get(row['verdict'], 'unknown here')}")
        bid = row["bid"]
        adjusted = -(-int(bid["ask"]) * 10_000 // bid["quality"])
        line = (
            f"  asked {bid['ask']} for each of {bid['slots']} slots, {adjusted} adjusted by quality"
        )
        if row["would_have_won"] is not None and row["verdict"] != "won":
            line += f"; up to {row['would_have_won']} sold"
        say(line)
        if row["slots"]:
            say(f"  sold {row['slots']} slots for {row['amount']} wei")


def _round(row: Json) -> str:
    price = row["price"]
    paid = "nothing was sold"
    if price is not None:
        paid = f"buyers paid {int(price['num']) // int(price['den'])} wei a slot"
    return (
        f"round {row['round']}, {row['name']}, {row['rule']} market: {paid}, reference price"
        f" {row['reference_price']}"
    )
