"""Tries newcomers that this operator sponsors: asks for proofs of inputs that it made up."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import trio

from node.client.submit import Order, prepare, submit
from node.errors import NodeError
from node.programs.accounts import Account
from protocol.ledger import market_of
from protocol.probation import SLOTS, on_probation, sponsor_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from node.client.api import NodeClient
    from node.crypto import SessionKey
    from protocol.replica import Replica
    from protocol.types import Address, Hash

log = structlog.get_logger()

DEADLINE_S: Final = 600
"""Long enough for a busy newcomer; the request waits in the market meanwhile."""
MOST_ACCOUNTS: Final = 16
"""One segment holds as many, so that its size tells a newcomer nothing."""
ID_BYTES: Final = 8


class Sponsor:
    """Each newcomer is tried once an epoch, one after the other.

    `key` gives the session key that the epoch's table names: others know the sponsor by it.
    """

    def __init__(
        self,
        replica: Replica,
        changed: Callable[[], Awaitable[None]],
        client: NodeClient,
        key: Callable[[int], SessionKey],
        program: tuple[str, Hash],
        max_fee: int,
    ) -> None:
        self._replica = replica
        self._changed = changed
        self._client = client
        self._key = key
        self._program, self._class_id = program
        self._max_fee = max_fee
        self._tried: set[tuple[int, Address]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = self.due()
            if due is None:
                await self._changed()
                continue
            self._tried.add(due)
            await self._try(*due)

    def due(self) -> tuple[int, Address] | None:
        """Epoch and newcomer that this operator has to try now."""
        setup, ledger = self._replica.setup, self._replica.state.ledger
        table = None if ledger is None else self._replica.tables().get(ledger.next_epoch)
        if ledger is None or table is None:
            return None
        announced = market_of(ledger, self._class_id, setup.params).announced
        for newcomer, slots in sorted(announced.items()):
            place = (table.epoch, newcomer)
            if slots < SLOTS or place in self._tried or not on_probation(newcomer, ledger):
                continue
            if sponsor_of(newcomer, table) == setup.me:
                return place
        return None

    async def _try(self, epoch: int, newcomer: Address) -> None:
        about = {"newcomer": "0x" + newcomer.hex()}
        order = Order(self._program, _made_up(), self._max_fee, DEADLINE_S, (newcomer,))
        try:
            node = await self._client.get("/v1/node")
            prepared = await trio.to_thread.run_sync(
                partial(prepare, order, self._key(epoch), node)
            )
            ended = await submit(self._client, prepared, lambda _document: None)
        except NodeError as exc:
            log.warning("probation not begun", cause=str(exc), **about)
            return
        log.info(
            "probation over", state=ended["state"], answer_known=ended["root_matches"], **about
        )


def _made_up() -> list[Account]:
    """Accounts that look like anybody's."""
    count = 1 + secrets.randbelow(MOST_ACCOUNTS)
    return [Account(secrets.token_hex(ID_BYTES), secrets.randbelow(10**12)) for _ in range(count)]
