"""The gateway dies while the request is in its round."""

from __future__ import annotations

from devnet.scenario import GATE_OPENED, SETTLED, Act, Live, Must, Outcome, Scenario


async def kill_gateway(live: Live) -> None:
    """Kill who leads the view, once the request is in the network."""
    await live.until(lambda document: bool(document.get("state")))
    await live.kill(live.gateway)


def taken_over(outcome: Outcome) -> bool:
    """The round opened under the dead gateway and was decided under another."""
    award = outcome.document["award"] or {}
    return outcome.cluster.name_of(str(award.get("gateway"))) not in outcome.killed


SCENARIO = Scenario(
    summary="the gateway is killed with the request in its round; the next view's takes over",
    acts=(
        Act(
            "kill-gateway",
            events=(kill_gateway,),
            at_view_start=True,
            must=(*SETTLED, *GATE_OPENED, Must("another gateway took the round over", taken_over)),
        ),
    ),
)
