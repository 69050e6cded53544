"""Proven faults of operators in the node's database: kept for whoever slashes, the oldest go."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import apsw

    from node.store import Store
    from protocol.effects import KeepEvidence

KEPT: Final = 10_000
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
