"""Lets peers' frames in: every one passes ingress, none raises past this loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from typing import TYPE_CHECKING

from node.ingress import Refused

if TYPE_CHECKING:
    from node.ingress import Ingress
    from node.ingress_checks import Horizon
    from node.metrics import Metrics
    from node.ports import Arrival, Clock, Network, Submit


async def take_frames(
    arrivals: AsyncIterable[Arrival],
    ingress: Ingress,
    horizon: Callable[[], Horizon],
    network: Network,
    submit: Submit,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """Admit frames until the network stops; a peer pays for what only a faulty one sends."""
    async for arrival in arrivals:
        verdict = await ingress.admit(arrival.operator, arrival.frame, clock.now_ms(), horizon())
        if isinstance(verdict, Refused):
            metrics.frames_refused.labels(verdict.reason.code).inc()
            # A gossiped frame was relayed: its content is not its forwarder's fault.
            if verdict.penalty and arrival.via == "stream":
                network.penalise(arrival.operator, verdict.reason.code, verdict.penalty)
            continue
        metrics.frames_accepted.labels(arrival.via).inc()
        await submit(verdict)
