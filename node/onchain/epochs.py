"""Keeps the epochs turning: freezes tables and opens epochs when the registry says it is due.

Anyone may. Operators take turns by block number, so that normally one of them pays the gas; a
second transaction for the same step reverts in rehearsal and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog
import trio

from chain.epochs import due_step
from chain.errors import ChainError
from chain.signer import Transaction
from chain.transaction import TRANSACTION_GAS_LIMIT

if TYPE_CHECKING:
    from chain.client import ChainClient
    from chain.contracts import ProverRegistry
    from chain.deployments import Contracts
    from chain.signer import Sender
    from chain.transaction import SentTransaction

log = structlog.get_logger()

TURN_BLOCKS: Final = 5
POLL_S: Final = 2.0
"""Epochs last for hundreds of blocks: nothing is lost by looking every other second."""
DEADLINE_S: Final = 20.0


class EpochKeeper:
    """One task runs `keep`; `place` gives (own position, number of operators), or None.

    `head` gives the number of the last block that the watcher saw: an idle node asks for it once.
    """

    def __init__(
        self,
        client: ChainClient,
        registry: ProverRegistry,
        contracts: Contracts,
        sender: Sender,
        place: Callable[[], tuple[int, int] | None],
        head: Callable[[], int],
    ) -> None:
        self._client = client
        self._registry = registry
        self._contracts = contracts
        self._sender = sender
        self._place = place
        self._head = head

    async def keep(self) -> None:
        """Look, and take a due step when it is this operator's turn, until cancelled."""
        while True:
            try:
                await self._look()
            except ChainError as exc:
                log.info("epoch step not taken", cause=str(exc))
            await trio.sleep(POLL_S)

    async def _look(self) -> None:
        head, place = self._head(), self._place()
        if not head or place is None or head // TURN_BLOCKS % place[1] != place[0]:
            return
        step = await due_step(self._registry, self._contracts, head)
        if step is None:
            return
        needed = await self._client.estimate_gas(self._sender.address, step.to, step.data)
        gas = min(needed * 5 // 4, TRANSACTION_GAS_LIMIT)

        async def done() -> bool:
            now = await self._client.block_number()
            return await due_step(self._registry, self._contracts, now) != step

        await self._sender.send(
            Transaction(step.to, step.data, gas), journal=_unkept, deadline_s=DEADLINE_S, done=done
        )
        log.info("epoch step taken", step=step.label)


async def _unkept(_attempt: SentTransaction) -> None:
    """Sent twice it would revert: nothing to remember across a restart."""
