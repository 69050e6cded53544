"""Ten nodes are parted for a minute: never two certificates for a round, and nobody stays behind.

What is cut is the line between nodes (`devnet/switch.py`), not their way to the chain.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio

from devnet.agreement import agreed
from devnet.cluster import ClusterSpec, run_cluster
from devnet.switch import missing_for_switch
from tests.e2e.workload import (
    ask,
    check_escrow,
    check_logs,
    draw_accounts,
    logs_shown,
    settle_one,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devnet.cluster import Cluster

SPEC = ClusterSpec(nodes=10, params="crowded", separable=True)
PARTED_S = 60.0
LATE_S = 30.0
"""What is asked so late is young enough when the others hear of it (`issued_at_bound_ms`)."""
HEAL_DEADLINE_S = 90.0
ROUNDS_TO_HEAL = 2
DEADLINE_S = 150
LOOK_S = 0.5

needs_switch = pytest.mark.skipif(bool(missing_for_switch()), reason=missing_for_switch())


@dataclass
class Parted:
    """A cluster in two parts, and what was asked of each."""

    cluster: Cluster
    parts: tuple[list[str], list[str]]
    head: int
    """Round of every node before the cut."""
    ended: list[dict[str, Any]] = field(default_factory=list)

    async def settle(self, part: int, seed: int, after_s: float = 0.0) -> None:
        """Ask through a node of one part, so much later."""
        await trio.sleep(after_s)
        through = self.parts[part][:1]
        accounts = draw_accounts(16, seed)
        self.ended.append(await settle_one(self.cluster, accounts, DEADLINE_S, through=through))

    async def heads(self, part: int) -> set[int]:
        """Rounds at which the nodes of one part stand."""
        urls = [self.cluster.nodes[name].files.api_url for name in self.parts[part]]
        return {(await ask(url, "/v1/node"))["round"] for url in urls}

    async def heal(self) -> None:
        """Connect the parts again; all nodes must stand at one round within two rounds."""
        before = max(await self.heads(0) | await self.heads(1))
        assert self.cluster.switch is not None
        self.cluster.switch.heal()
        with trio.fail_after(HEAL_DEADLINE_S):
            while True:
                heads = await self.heads(0) | await self.heads(1)
                assert max(heads) <= before + ROUNDS_TO_HEAL, heads
                if len(heads) == 1 and max(heads) > before:
                    return
                await trio.sleep(LOOK_S)


@asynccontextmanager
async def parted(folder: Path, first: int) -> AsyncIterator[Parted]:
    """Ten nodes, cut into the first so many and the others; afterwards all must agree."""
    async with (
        logs_shown(folder / "devnet"),
        run_cluster(SPEC, folder / "devnet", print) as cluster,
    ):
        head = (await agreed(cluster.api_urls)).round
        names = list(cluster.nodes)
        assert cluster.switch is not None
        cluster.switch.cut(names[first:])
        scene = Parted(cluster, (names[:first], names[first:]), head)
        yield scene
        assert [document["state"] for document in scene.ended] == ["settled"] * len(scene.ended)
        assert all(document["root_matches"] for document in scene.ended)
        await agreed(cluster.api_urls)
        await check_escrow(cluster, sum(int(one["result"]["fee"]) for one in scene.ended))
        assert cluster.ended() == {}
        for name in cluster.nodes:
            assert await cluster.stop(name) == 0
        check_logs(folder / "devnet")


@pytest.mark.slow
@needs_switch
async def test_two_halves_decide_nothing_and_are_one_again_within_two_rounds(
    tmp_path: Path,
) -> None:
    async with parted(tmp_path, 5) as scene:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.settle, 0, 1, LATE_S)
            nursery.start_soon(scene.settle, 1, 2, LATE_S)
            await trio.sleep(PARTED_S)  # what a part can do by itself, it has done by then
            for part in (0, 1):
                assert await scene.heads(part) == {scene.head}, "half of the stake decided a round"
            await scene.heal()
        assert len(scene.ended) == 2


@pytest.mark.slow
@needs_switch
async def test_seven_of_ten_go_on_and_the_three_catch_up_within_two_rounds(
    tmp_path: Path,
) -> None:
    async with parted(tmp_path, 7) as scene:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.settle, 0, 1)
            nursery.start_soon(scene.settle, 1, 2, LATE_S)
            await trio.sleep(PARTED_S)  # what a part can do by itself, it has done by then
            assert len(scene.ended) == 1, "seven of ten have not settled by themselves"
            assert min(await scene.heads(0)) >= scene.head + 2
            assert await scene.heads(1) == {scene.head}, "three of ten decided a round"
            await scene.heal()
        assert len(scene.ended) == 2
