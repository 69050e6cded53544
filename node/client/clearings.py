"""Clearings of a class, out of a node's public history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.client.api import as_documented
from node.errors import InputError
from protocol.market_record import parse_record

if TYPE_CHECKING:
    from node.client.api import Json, NodeClient
    from protocol.auction import MarketInput


def class_named(name: str, node: Json) -> str:
    """Id of a class of `GET /v1/node`; raises InputError."""
    classes = {str(row["name"]): str(row["class_id"]) for row in node["classes"]}
    if name not in classes:
        known = ", ".join(classes) or "none"
        raise InputError(f"the network has no class {name!r}", f"choose one of: {known}")
    return classes[name]


async def recent_clearings(
    client: NodeClient, most: int, class_id: str = "", before: int = 0
) -> list[Json]:
    """Summaries of the last clearings, of one class or of all, newest first.

    Before a round, if one is given; raises NodeUnreachableError for what is no list of them.
    """
    params: dict[str, str | int] = {"limit": most}
    if class_id:
        params["class_id"] = class_id
    if before:
        params["before"] = before
    page = await client.get("/v1/rounds", params)
    with as_documented():
        return [{**row, "round": int(row["round"])} for row in page["clearings"]][:most]


async def cleared_market(client: NodeClient, number: int, class_id: str) -> MarketInput:
    """What a class's clearing in a round was about."""
    document = await client.get(f"/v1/rounds/{number}")
    with as_documented():
        for market, _ in parse_record(document["markets"]):
            if market.class_id == bytes.fromhex(class_id.removeprefix("0x")):
                return market
        raise ValueError(f"round {number} without its clearing of {class_id}")


def slot_price(clearing: Json) -> int:
    """Wei that a slot cost in a clearing, rounded down; its reference price if nothing was sold."""
    price = clearing["price"]
    if price is None:
        return int(clearing["reference_price"])
    return int(price["num"]) // int(price["den"])
