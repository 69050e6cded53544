"""Networks of many operators: the committee is drawn, everybody votes, a share of them is faulty.

The round machine over the toy application and one id, without the time of trouble: what is asked is
whether a large network decides it at all, and what a round costs.
"""

from __future__ import annotations

from protocol.rotation import OperatorTable
from tests.sim.crypto import HASHED
from tests.sim.run import Result, Run


class ScaleRun(Run):
    """A run with a given number of operators on a network that is good from the start."""

    def __init__(self, seed: int, nodes: int) -> None:
        super().__init__(seed, OperatorTable, keys=HASHED, size=nodes)
        self.gst_ms = 0

    def _plan(self) -> None:
        for shell in self.world.nodes:
            shell.skew_ms = self.rng.randint(0, self.params.clock_bound_ms)
            shell.alive = shell.index not in self.dead
        self.world.at(0, self._heal)
        self._plan_item(4 * self.view_ms)


def run_large(seed: int, nodes: int) -> Result:
    """Run one seed with so many operators."""
    return ScaleRun(seed, nodes).go()
