"""The market in simulated worlds that are made for one thing."""

from __future__ import annotations

from itertools import islice

from protocol.effects import KeepRound
from tests.sim.crypto import HASHED
from tests.sim.market import MarketRun
from tests.sim.run import LIVENESS_VIEWS, PARAMS
from tests.sim.world import Shell, World

VIEWS = 150
PROVING_FROM_MS = 110_000
"""By then each of four provers has had a segment, and lost it after its 20 s."""


class LateProvers(MarketRun):
    """Every prover accepts and delivers nothing for a while; requests leave time for more."""

    views = (VIEWS,)
    liveness_views = VIEWS + LIVENESS_VIEWS

    def __init__(self, seed: int) -> None:
        super().__init__(seed, keys=HASHED)
        self.proving_from_ms = PROVING_FROM_MS
        self.closed: set[tuple[str, str]] = set()

    def _outside(self, world: World, shell: Shell, effect: object) -> None:
        if isinstance(effect, KeepRound):
            self.closed |= {(row["request_id"], row["status"]) for row in effect.document["closed"]}
        super()._outside(world, shell, effect)


def is_honest_four(run: MarketRun) -> bool:
    return len(run.world.nodes) == 4 and not run.faulty and run.params is PARAMS


def test_a_request_that_every_prover_lost_is_auctioned_again_and_settled() -> None:
    settled = 0
    worlds = (LateProvers(seed) for seed in range(40))
    for run in islice(filter(is_honest_four, worlds), 3):
        result = run.go()
        assert result.failure is None, f"seed {result.seed}: {result.failure}\n{result.trace[-20:]}"
        settled += sum((request, "settled") in run.closed for request in run.returned)
    assert settled >= 3
