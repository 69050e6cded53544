"""Lets peers' frames in: every one passes ingress, none raises past this loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from typing import TYPE_CHECKING, Final

from node.ingress import Refused
from protocol.errors import RejectionReason
from protocol.inputs import Received

if TYPE_CHECKING:
    from node.ingress import Ingress
    from node.ingress_checks import Horizon
    from node.metrics import Metrics
    from node.ports import Arrival, Clock, Network, Submit


NEVER_FINE: Final = frozenset({RejectionReason.MALFORMED, RejectionReason.FRAME_TOO_LARGE})
"""Reasons that no time, table or relay can give to an honest frame."""


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
            # Who signed a gossip message answers for bytes that are no message at all. For the rest
            # only who sent it here and now: an old message of an honest node can be gossiped again.
            if verdict.penalty and (arrival.via == "stream" or verdict.reason in NEVER_FINE):
                network.penalise(arrival.operator, verdict.reason.code, verdict.penalty)
            continue
        metrics.frames_accepted.labels(arrival.via).inc()
        await submit(Received(verdict.frame, arrival.operator))
