"""A node that comes back with an old disk says nothing twice, and the network goes on."""

from __future__ import annotations

from tests.sim.restored import ListeningWorld, PowerLossRun, RestoredRun
from tests.sim.run import VIEW_MS

SEEDS = (1, 4, 7, 11, 12, 15, 18, 25)
"""Networks of four and five: a smaller one decides nothing while a node listens."""


class DeafWorld(ListeningWorld):
    """Signs at once, as if its disk were the newest."""

    listens = False


class DeafRun(RestoredRun):
    world_type = DeafWorld


def test_a_restored_disk_says_nothing_twice_and_the_network_decides_all() -> None:
    waited: list[int] = []
    for seed in SEEDS:
        run = RestoredRun(seed)
        result = run.go()
        assert result.failure is None, f"seed {seed}: {result.failure}\n{result.trace[-30:]}"
        waited += run.world.waited_ms
    assert waited
    assert sorted(waited)[len(waited) // 2] <= VIEW_MS


def test_without_listening_a_restored_disk_is_heard_to_contradict_itself() -> None:
    told = [DeafRun(seed).go().failure or "" for seed in SEEDS]
    assert any("second" in failure or "proven guilty" in failure for failure in told)


def test_after_a_power_loss_of_all_nodes_the_network_decides_all() -> None:
    for seed in SEEDS:
        result = PowerLossRun(seed).go()
        assert result.failure is None, f"seed {seed}: {result.failure}\n{result.trace[-30:]}"
