"""The public history of the market: decided rounds, their clearings, and a receipt for each bid.

Every node keeps the same, but for times and signers. The oldest rounds go when there are too many.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

    from node.store import Store
    from protocol.effects import KeepRound

Json = dict[str, Any]

KEPT_ROUNDS: Final = 200_000
MAX_PAGE: Final = 100


class History:
    """Reads and writes the history in a node's database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, effect: KeepRound) -> None:
        """Keep a decided round; saying it again changes nothing."""
        await self._store.run(
            partial(_keep, number=effect.round, document=effect.document, table=effect.table)
        )

    async def round(self, number: int) -> Json | None:
        """The record of a decided round."""
        rows = await self._rows("SELECT document FROM round_documents WHERE round = ?", number)
        return rows[0] if rows else None

    async def clearings(self, class_id: bytes | None, before: int, most: int) -> list[Json]:
        """Summaries of clearings below a round, newest first, of one class or of all."""
        return await self._rows(
            "SELECT summary FROM clearings WHERE (?1 IS NULL OR class_id = ?1) AND round < ?2 "
            "ORDER BY round DESC, class_id LIMIT ?3",
            class_id,
            before,
            min(most, MAX_PAGE),
        )

    async def receipts(self, bidder: bytes, before: int, most: int) -> list[Json]:
        """Receipts of a request or an operator below a round, newest first."""
        return await self._rows(
            "SELECT receipt FROM receipts WHERE bidder = ? AND round < ? "
            "ORDER BY round DESC, class_id LIMIT ?",
            bidder,
            before,
            min(most, MAX_PAGE),
        )

    async def table(self, epoch: int) -> Json | None:
        """The operator table of an epoch that decided a round."""
        rows = await self._rows("SELECT document FROM operator_tables WHERE epoch = ?", epoch)
        return rows[0] if rows else None

    async def _rows(self, sql: str, *arguments: Any) -> list[Json]:
        found = await self._store.run(lambda connection: list(connection.execute(sql, arguments)))
        return [json.loads(row[0]) for row in found]


def summary_of(document: Mapping[str, Any], market: Json) -> Json:
    """One clearing in a line: amounts in wei as decimal strings, volumes in slots."""
    trades = market["trades"]
    return {
        "round": document["round"],
        "at_ms": document["at_ms"],
        "class_id": market["class_id"],
        "name": market["name"],
        "rule": market["rule"],
        "reference_price": market["reference_price"],
        "next_price": market["next_price"],
        "price": market["price"],
        "rate": market["rate"],
        "buyers": len(market["buyers"]),
        "sellers": len(market["sellers"]),
        "served": len(trades),
        "demanded": sum(row["slots"] for row in market["buyers"]),
        "offered": sum(row["slots"] for row in market["sellers"]),
        "volume": sum(len(trade["provers"]) for trade in trades),
        "fees": str(sum(int(trade["fee"]) for trade in trades)),
        "surplus": market["surplus"],
    }


def receipts_of(document: Mapping[str, Any], market: Json) -> list[tuple[bytes, Json]]:
    """What each bidder of a clearing is told, with the bid that it is about."""
    bids: dict[str, Json] = {}
    for row in market["buyers"]:
        bids[row["request_id"]] = {"side": "buyer", "slots": row["slots"], "most": row["max_fee"]}
    for late in market["waiting"]:
        bids[late] = {"side": "buyer", "slots": 0, "most": "0"}
    for row in market["sellers"]:
        offer = {"slots": row["slots"], "ask": row["ask"], "quality": row["quality"]}
        bids[row["operator"]] = {"side": "seller", **offer}
    common = {
        name: market[name]
        for name in ("class_id", "name", "rule", "reference_price", "price", "rate", "beacon")
    }
    return [
        (
            bytes.fromhex(row["bidder"][2:]),
            {
                "round": document["round"],
                "at_ms": document["at_ms"],
                **common,
                "bid": bids[row["bidder"]],
                "verdict": row["verdict"],
                "slots": row["slots"],
                "amount": row["amount"],
                "would_have_won": _would_have_won(bids[row["bidder"]], market),
            },
        )
        for row in market["receipts"]
    ]


def _would_have_won(bid: Json, market: Json) -> str | None:
    """At this round's prices: the least fee that pays for the slots, or the highest ask that sells.

    None if the market has no price.
    """
    if not bid["slots"]:
        return None  # it took no part
    if bid["side"] == "buyer":
        price = market["price"] or _posted(market)
        if price is None:
            return None
        return str(-(-bid["slots"] * int(price["num"]) // int(price["den"])))
    rate = market["rate"] or _posted(market)
    if rate is None:
        return None
    return str(int(rate["num"]) * bid["quality"] // (int(rate["den"]) * 10_000))


def _posted(market: Json) -> Json | None:
    """A thin market has a price also where nobody trades."""
    return {"num": market["reference_price"], "den": "1"} if market["rule"] == "thin" else None


def _keep(
    connection: apsw.Connection,
    number: int,
    document: Mapping[str, Any],
    table: Mapping[str, Any],
) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO operator_tables(epoch, document) VALUES (?, ?)",
        (table["epoch"], json.dumps(dict(table))),
    )
    connection.execute(
        "INSERT OR IGNORE INTO round_documents(round, document) VALUES (?, ?)",
        (number, json.dumps(dict(document))),
    )
    for market in document["markets"]:
        class_id = bytes.fromhex(market["class_id"][2:])
        connection.execute(
            "INSERT OR IGNORE INTO clearings(class_id, round, summary) VALUES (?, ?, ?)",
            (class_id, number, json.dumps(summary_of(document, market))),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO receipts(bidder, round, class_id, receipt) VALUES (?, ?, ?, ?)",
            [
                (bidder, number, class_id, json.dumps(receipt))
                for bidder, receipt in receipts_of(document, market)
            ],
        )
    for name in ("round_documents", "clearings", "receipts"):
        connection.execute(f"DELETE FROM {name} WHERE round <= ?", (number - KEPT_ROUNDS,))  # noqa: S608
