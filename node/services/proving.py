"""Proves what the replica was awarded: one task per segment, stopped when it is no longer ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from node.errors import BackendError
from protocol.errors import Rejection
from protocol.inputs import Proved, ProvingFailed

if TYPE_CHECKING:
    from node.metrics import Metrics
    from node.ports import Clock, Prover, Submit
    from protocol.effects import StartProving
    from protocol.types import Hash

log = structlog.get_logger()


class ProvingService:
    """Owns the proving tasks; the engine bounds how many run at once."""

    def __init__(
        self, prover: Prover, submit: Submit, metrics: Metrics, clock: Clock, nursery: trio.Nursery
    ) -> None:
        self._prover = prover
        self._submit = submit
        self._metrics = metrics
        self._clock = clock
        self._nursery = nursery
        self._running: dict[tuple[Hash, int], trio.CancelScope] = {}

    @property
    def running(self) -> int:
        """Segments being proven or waiting for a worker."""
        return len(self._running)

    def start(self, effect: StartProving) -> None:
        """Begin a segment unless it is under way."""
        key = (effect.request_id, effect.segment)
        if key not in self._running:
            scope = self._running[key] = trio.CancelScope()
            self._nursery.start_soon(self._prove, effect, scope)

    def stop(self, request_id: Hash, segment: int) -> None:
        """End a segment; its worker is killed."""
        scope = self._running.get((request_id, segment))
        if scope is not None:
            scope.cancel()

    def forget(self, request_id: Hash) -> None:
        """End a request: no task goes on, and nothing private is left on disk."""
        for key, scope in self._running.items():
            if key[0] == request_id:
                scope.cancel()
        self._nursery.start_soon(self._prover.forget, request_id)

    async def _prove(self, effect: StartProving, scope: trio.CancelScope) -> None:
        request_id, segment = effect.request_id, effect.segment
        started_ms = self._clock.now_ms()
        try:
            with scope:
                values, proof = await self._prover.prove(
                    request_id, segment, effect.program_id, effect.combining
                )
                self._metrics.segments_proven.inc()
                self._metrics.prove_seconds.observe((self._clock.now_ms() - started_ms) / 1_000)
                await self._submit(Proved(request_id, segment, values, proof))
        except Rejection as exc:
            await self._submit(ProvingFailed(request_id, segment, exc.reason.code))
        except BackendError as exc:
            log.warning("proving failed", request=request_id.hex(), segment=segment, cause=str(exc))
            await self._submit(ProvingFailed(request_id, segment, "backend"))
        finally:
            self._running.pop((request_id, segment), None)
