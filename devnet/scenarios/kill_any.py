"""Each node in turn dies while a request is being proven, and comes back."""

from __future__ import annotations

from devnet.scenario import SETTLED, Act, Live, Scenario

WORKING = frozenset({"assigned", "accepted", "proving"})


def act(victim: str) -> Act:
    """One request during which this node is killed; it is brought back afterwards."""

    async def kill(live: Live) -> None:
        await live.until(lambda document: document.get("state") in WORKING)
        await live.kill(victim)

    async def bring_back(live: Live) -> None:
        await live.restart(victim)

    return Act(victim, events=(kill,), afterwards=(bring_back,), must=SETTLED)


SCENARIO = Scenario(
    summary="four requests; during each another node is killed, and restarted after it",
    acts=tuple(act(f"node-{number}") for number in range(1, 5)),
)
