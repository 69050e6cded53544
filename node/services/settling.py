"""Brings certified batches on chain when the replica says it is this node's turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from node.ports import SettleError
from protocol.inputs import SettleFailed

if TYPE_CHECKING:
    import trio

    from node.metrics import Metrics
    from node.ports import Settler, Submit
    from protocol.effects import SubmitBatch

log = structlog.get_logger()


class SettlingService:
    """At most one transaction at a time: each batch builds on the one before."""

    def __init__(
        self, settler: Settler, submit: Submit, metrics: Metrics, nursery: trio.Nursery
    ) -> None:
        self._settler = settler
        self._submit = submit
        self._metrics = metrics
        self._nursery = nursery
        self._sending: set[int] = set()

    @property
    def sending(self) -> int:
        """Transactions under way."""
        return len(self._sending)

    def start(self, effect: SubmitBatch) -> None:
        """Send one batch unless that is under way."""
        if effect.header.sequence not in self._sending:
            self._sending.add(effect.header.sequence)
            self._nursery.start_soon(self._settle, effect)

    async def _settle(self, effect: SubmitBatch) -> None:
        sequence = effect.header.sequence
        try:
            await self._settler.settle(effect.header, effect.debits, effect.certificate)
            self._metrics.settlements.labels("sent").inc()
        except SettleError as exc:
            self._metrics.settlements.labels(exc.reason).inc()
            log.warning("settlement failed", sequence=sequence, reason=exc.reason, cause=exc.detail)
            await self._submit(SettleFailed(sequence, exc.reason))
        finally:
            self._sending.discard(sequence)
