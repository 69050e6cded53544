"""The round machine over the toy application, in many worlds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks import simulator
from protocol.inputs import Received
from protocol.messages import Kind
from protocol.round import Phase
from tests.sim.__main__ import commit
from tests.sim.crypto import HASHED, REAL
from tests.sim.many import results, run_both
from tests.sim.market import MarketRun, run_market_seed
from tests.sim.mischief import LATER_HABITS, LATER_MARKET_HABITS
from tests.sim.run import DOMAIN, PARAMS, VIEW_MS, WIDE, Result, Run, item_frame, run_seed
from tests.sim.scale import ScaleRun
from tests.sim.toy import ToyMachine


@pytest.mark.parametrize(("run", "seeds"), [(run_seed, 312), (run_market_seed, 200)])
def test_seeds(run: Callable[[int], Result], seeds: int) -> None:
    real = 0
    for result in results(run, range(seeds)):
        tail = "\n".join(result.trace[-40:])
        assert result.failure is None, (
            f"seed {result.seed}, commit {commit()}, {result.crypto} ({result.faults}): "
            f"{result.failure}\n{tail}"
        )
        real += result.crypto == REAL.name
    assert real >= 25


@pytest.mark.slow
def test_more_seeds() -> None:
    found = results(run_both, range(10_000, 12_000))
    assert [result.seed for result in found if result.failure is not None] == []


@pytest.mark.parametrize(("kind", "seed"), [(Run, 5), (MarketRun, 5), (MarketRun, 16)])
def test_a_seed_replays_to_the_same_trace(kind: type[Run], seed: int) -> None:
    runs = [kind(seed) for _ in range(2)]
    results = [run.go() for run in runs]
    assert results[0] == results[1]
    assert runs[0].world.trace == runs[1].world.trace


def test_the_seeds_reach_the_corners() -> None:
    """What the runs are for does happen in them."""
    seen: set[str] = set()
    for seed in range(30):
        run = Run(seed)
        run.go()
        for _, record in run.world.records:
            fields = dict(record.fields)
            seen.add(record.event)
            seen.add(str(fields.get("move", "")))
            seen.add(str(fields.get("reason", "")))
        if any("RESTART" in line for line in run.world.trace):
            seen.add("restart")
    wanted = {"conflict", "proposal_refused", "locked", "list_left_out", "view_ended"}
    assert wanted | {"lists_frozen", "pending_late", "lock_cert"} <= seen


def test_every_habit_shows_and_every_trouble_comes() -> None:
    done: Counter[str] = Counter()
    for seed in range(60):
        run = Run(seed)
        run.go()
        done += run.mischief.done
        done["lost disk"] += len(run.wiped)
        done["wide bounds"] += run.params is WIDE
    wanted = {*LATER_HABITS, "lost disk", "wide bounds"}
    assert wanted <= {what for what, times in done.items() if times}


def test_bids_are_acknowledged_opened_and_cheated_with() -> None:
    """The judge has something to judge."""
    done: Counter[str] = Counter()
    for seed in range(16):
        run = MarketRun(seed)
        run.go()
        done += run.mischief.done
        done["acknowledged"] += run.world.judge.acknowledged
        done["opened"] += run.opened
        done["short"] += len(run.short)
        done["promises"] += run.world.judge.promises
    wanted = {*LATER_MARKET_HABITS, "acknowledged", "opened", "short", "promises"}
    assert wanted <= {what for what, times in done.items() if times}


def test_a_large_network_decides_with_a_drawn_committee() -> None:
    run = ScaleRun(0, 60)
    assert len(run.members) == 16
    assert run.faulty
    result = run.go()
    assert result.failure is None
    assert result.rounds >= 1


def test_the_worlds_of_the_benchmark_decide() -> None:
    for machine in (simulator._agreement, simulator._replica):
        assert machine(4, 1)["rounds"] == 1


def test_an_idle_network_sends_nothing() -> None:
    run = Run(3)
    run.world.run(50 * VIEW_MS)
    assert run.world.sent == 0
    assert run.world.quiet


def test_an_honest_network_decides_a_request_well_within_a_view() -> None:
    run = _honest_four()
    run.world.at(100, lambda: run.world.deliver(0, _item()))
    run.world.run(VIEW_MS, lambda: _all_decided(run))
    assert _all_decided(run)
    assert run.world.now_ms < 1_000


def test_a_dead_gateway_is_taken_over_in_the_next_view() -> None:
    run = _honest_four()
    machine = run.world.nodes[0].machine
    assert isinstance(machine, ToyMachine)
    run.world.at(100, lambda: run.world.deliver(0, _item()))
    run.world.run(101)
    leader = machine.round.gateway
    (dead,) = [shell.index for shell in run.world.nodes if shell.machine.address == leader]
    run.world.crash(dead)
    alive = [shell for shell in run.world.nodes if shell.index != dead]
    run.world.run(2 * VIEW_MS, lambda: all(shell.machine.decisions() for shell in alive))
    assert all(shell.machine.decisions() for shell in alive)


def test_a_node_killed_after_any_effect_goes_on_where_it_was() -> None:
    for effects in range(40):
        run = _honest_four()
        run.world.at(100, lambda run=run: run.world.deliver(0, _item()))
        run.world.nodes[0].crash_after = effects
        for at in (900, 6_000):
            run.world.at(at, lambda run=run: run.world.restart(0))
        run.world.at(3_000, lambda run=run: run.world.deliver(1, _item(b"\x42")))
        run.world.run(16 * VIEW_MS)
        histories = [shell.machine.decisions() for shell in run.world.nodes]
        assert histories[0], effects
        assert all(history == histories[0] for history in histories), effects
        phases = {shell.machine.round.phase for shell in run.world.nodes}  # type: ignore[attr-defined]
        assert phases == {Phase.IDLE}, effects
        signed = [Kind(slot[0]) for slot in run.world.nodes[0].signed]
        assert signed.count(Kind.BID_LIST) <= len(histories[0])


def test_the_command_ends_with_a_count() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seeds", "3", "--start", "7", "--toy"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    about, count = plain.stdout.splitlines()[-2:]
    assert count == "3 passed, 0 failed"
    assert f"commit {commit()}" in about
    assert f"1 with {REAL.name}" in about
    assert f"2 with {HASHED.name}" in about
    lines = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in lines.stdout.splitlines()[:-2]]
    assert [result["seed"] for result in results] == [7, 8, 9]
    told = [(result["commit"], result["crypto"]) for result in results]
    assert told == [(commit(), name) for name in (HASHED.name, REAL.name, HASHED.name)]


def _honest_four() -> Run:
    run = next(run for run in map(Run, range(100)) if _is_honest_four(run))
    run.world.links.delay_ms = (1, 60)
    return run


def _is_honest_four(run: Run) -> bool:
    return (
        len(run.world.nodes) == 4 and not run.faulty and run.params is PARAMS and run.keys is HASHED
    )


def _item(number: bytes = b"\x40") -> Received:
    return Received(item_frame(DOMAIN, number * 32))


def _all_decided(run: Run) -> bool:
    return all(shell.machine.decisions() for shell in run.world.nodes)
