"""Verifies other provers' results in workers and tells the replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from node.errors import BackendError
from protocol.errors import Rejection
from protocol.inputs import ProofChecked

if TYPE_CHECKING:
    import trio

    from node.metrics import Metrics
    from node.ports import Prover, Submit
    from protocol.effects import CheckProof

log = structlog.get_logger()


class CheckingService:
    """Owns the checks under way; the engine's queue bounds them."""

    def __init__(
        self, prover: Prover, submit: Submit, metrics: Metrics, nursery: trio.Nursery
    ) -> None:
        self._prover = prover
        self._submit = submit
        self._metrics = metrics
        self._nursery = nursery

    def start(self, effect: CheckProof) -> None:
        """Check one result."""
        self._nursery.start_soon(self._check, effect)

    async def _check(self, effect: CheckProof) -> None:
        body = effect.result
        try:
            await self._prover.check(effect.program_id, effect.combining, body.publics, body.proof)
            verdict = ProofChecked(effect.digest, True, "")
        except Rejection as exc:
            verdict = ProofChecked(effect.digest, False, exc.reason.code)
        except BackendError as exc:
            # No verdict: neither the prover's fault nor a proof this node may vouch for.
            log.warning("checking failed", request=body.request_id.hex(), cause=str(exc))
            self._metrics.proofs_checked.labels("backend").inc()
            return
        self._metrics.proofs_checked.labels(verdict.reason or "valid").inc()
        await self._submit(verdict)
