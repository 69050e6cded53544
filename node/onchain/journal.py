"""What the chain adapters keep on disk: how far the chain was read, transactions before they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from chain.cursor import Position
from chain.transaction import SentTransaction

if TYPE_CHECKING:
    from node.store import Store


class ChainJournal:
    """Chain values in and out of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load_position(self) -> Position | None:
        """How far the chain was read; None before the first time."""
        raw = await self._store.chain_position()
        return None if raw is None else msgspec.msgpack.decode(raw, type=Position)

    async def save_position(self, position: Position) -> None:
        """Keep how far the chain was read."""
        await self._store.save_chain_position(msgspec.msgpack.encode(position))

    async def attempts(self, sequence: int) -> list[SentTransaction]:
        """Transactions signed for a batch, oldest first."""
        rows = await self._store.settlement_attempts(sequence)
        return [msgspec.json.decode(row, type=SentTransaction) for row in rows]

    async def add_attempt(self, sequence: int, attempt: SentTransaction) -> None:
        """Keep a signed transaction before it is sent."""
        await self._store.add_settlement_attempt(sequence, msgspec.json.encode(attempt))
