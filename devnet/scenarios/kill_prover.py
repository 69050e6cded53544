"""A prover dies with an accepted segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devnet.scenario import GATE_OPENED, SETTLED, Act, Live, Must, Outcome, Scenario

if TYPE_CHECKING:
    from node.client.api import Json

SEGMENT = 2


def accepted(document: Json) -> bool:
    """Whether the prover of the segment has taken its input."""
    rows = document.get("segments") or []
    return len(rows) > SEGMENT and rows[SEGMENT]["state"] == "accepted"


async def kill_prover(live: Live) -> None:
    """Kill the prover of the segment between its Accept and its result."""
    document = await live.until(accepted)
    await live.kill(live.cluster.name_of(str(document["segments"][SEGMENT]["operator"])))


def proven_by_others(outcome: Outcome) -> bool:
    """The dead prover's unverified segment went to its standby."""
    row = outcome.document["segments"][SEGMENT]
    return outcome.cluster.name_of(str(row["operator"])) not in outcome.killed


SCENARIO = Scenario(
    summary="a prover is killed after it accepted a segment; the standby proves it",
    acts=(
        Act(
            "kill-prover",
            events=(kill_prover,),
            must=(*SETTLED, *GATE_OPENED, Must("a standby proved the segment", proven_by_others)),
        ),
    ),
)
