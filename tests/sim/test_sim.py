"""The round machine over the toy application, in many worlds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from protocol.inputs import Received
from protocol.messages import Kind
from protocol.round import Phase
from tests.sim.many import results, run_both
from tests.sim.market import run_market_seed
from tests.sim.run import DOMAIN, VIEW_MS, Result, Run, item_frame, run_seed
from tests.sim.toy import ToyMachine


@pytest.mark.parametrize("run", [run_seed, run_market_seed])
def test_seeds(run: Callable[[int], Result]) -> None:
    for result in results(run, range(200)):
        tail = "\n".join(result.trace[-40:])
        assert result.failure is None, (
            f"seed {result.seed} ({result.faults}): {result.failure}\n{tail}"
        )


@pytest.mark.slow
def test_more_seeds() -> None:
    found = results(run_both, range(10_000, 12_000))
    assert [result.seed for result in found if result.failure is not None] == []


def test_a_seed_replays_to_the_same_trace() -> None:
    runs = [Run(5) for _ in range(2)]
    results = [run.go() for run in runs]
    assert results[0] == results[1]
    assert list(runs[0].world.trace) == list(runs[1].world.trace)


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
    assert wanted | {"lists_frozen", "pending_late", "fault_proven"} <= seen


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
    assert plain.stdout.splitlines()[-1] == "3 passed, 0 failed"
    lines = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in lines.stdout.splitlines()[:-1]]
    assert [result["seed"] for result in results] == [7, 8, 9]


def _honest_four() -> Run:
    run = next(run for run in map(Run, range(100)) if _is_honest_four(run))
    run.world.links.delay_ms = (1, 60)
    return run


def _is_honest_four(run: Run) -> bool:
    return len(run.world.nodes) == 4 and not run.faulty


def _item(number: bytes = b"\x40") -> Received:
    return Received(item_frame(DOMAIN, number * 32))


def _all_decided(run: Run) -> bool:
    return all(shell.machine.decisions() for shell in run.world.nodes)
