"""What proves, or may prove, operators' faults, in the node's database; the oldest go.

Evidence is kept for whoever slashes, members' receipts for the owners of the bids.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import LocalProtocolError
from protocol.messages import BidReceipt

if TYPE_CHECKING:
    import apsw

    from node.store import Store
    from protocol.effects import KeepEvidence, KeepReceipt

KEPT: Final = 10_000
KEPT_RECEIPTS: Final = 100_000
MAX_PAGE: Final = 100


class EvidenceBook:
    """Reads and writes evidence."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, effect: KeepEvidence) -> None:
        """Keep the evidence of a fault; the first one stays."""
        await self._store.run(
            partial(
                _keep,
                key=effect.key,
                round_number=effect.round,
                document=json.dumps(dict(effect.document)),
            )
        )

    async def page(self, before: int, most: int) -> list[dict[str, Any]]:
        """Faults of rounds below one, newest round first."""
        rows = await self._store.run(
            lambda connection: list(
                connection.execute(
                    "SELECT document FROM evidence WHERE round < ? "
                    "ORDER BY round DESC, evidence_id LIMIT ?",
                    (before, min(most, MAX_PAGE)),
                )
            )
        )
        return [json.loads(row[0]) for row in rows]

    async def keep_receipt(self, effect: KeepReceipt) -> None:
        """Keep a member's receipt for the bid of a request; the first one of each bid stays."""
        body = effect.envelope.body
        if not isinstance(body, BidReceipt):
            raise LocalProtocolError("a receipt that is none")
        receipt = {
            "bid_id": "0x" + body.bid_id.hex(),
            "member": "0x" + body.member.hex(),
            "epoch": body.epoch,
            "round": body.round,
            "signature": "0x" + effect.envelope.signature.hex(),
        }
        row = (effect.request_id, body.member, body.bid_id, json.dumps(receipt))
        await self._store.run(partial(_keep_receipt, row=row))

    async def receipts(self, request_id: bytes) -> list[dict[str, Any]]:
        """Members' receipts for the bids of a request, as they came."""
        rows = await self._store.run(
            lambda connection: list(
                connection.execute(
                    "SELECT receipt FROM bid_receipts WHERE request_id = ? ORDER BY number LIMIT ?",
                    (request_id, MAX_PAGE),
                )
            )
        )
        return [json.loads(row[0]) for row in rows]


def _keep_receipt(connection: apsw.Connection, row: tuple[bytes, bytes, bytes, str]) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO bid_receipts(request_id, member, bid_id, receipt) "
        "VALUES (?, ?, ?, ?)",
        row,
    )
    connection.execute(
        "DELETE FROM bid_receipts WHERE number <= (SELECT max(number) FROM bid_receipts) - ?",
        (KEPT_RECEIPTS,),
    )


def _keep(connection: apsw.Connection, key: bytes, round_number: int, document: str) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO evidence(evidence_id, round, document) VALUES (?, ?, ?)",
        (key, round_number, document),
    )
    connection.execute(
        "DELETE FROM evidence WHERE evidence_id IN (SELECT evidence_id FROM evidence "
        "ORDER BY round DESC, evidence_id LIMIT -1 OFFSET ?)",
        (KEPT,),
    )
