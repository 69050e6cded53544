"""Scenarios as `python -m devnet scenario NAME --json` runs them, with real nodes and proofs."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from devnet.cli import Exit
from tests.e2e.conftest import ROOT, run

KEYS = [
    "request_id",
    "status",
    "round",
    "gateway",
    "provers",
    "voters",
    "operators",
    "settle_tx",
    "gas_used",
    "claim",
    "consumer",
    "stages_ms",
]
STAGES = ["received", "assigned", "accepted", "proven", "verified", "certified", "settled"]


def drawn_total() -> int:
    """The total of the demo's CSV, computed here from what the script draws."""
    draw = runpy.run_path(str(ROOT / "examples" / "solvency" / "draw.py"))["draw"]
    return sum(int(line.split(",")[1]) for line in draw(64, 2026).splitlines()[1:])


def check_settled(found: dict[str, Any]) -> None:
    assert list(found) == KEYS
    assert found["status"] == "settled"
    assert len(found["request_id"]) == len(found["settle_tx"]) == 66
    assert found["operators"] == 4
    assert 3 * found["voters"] > 2 * found["operators"]
    assert 0 < found["gas_used"] < 1_000_000
    assert int(found["claim"]["total"]) == drawn_total()
    assert int(found["claim"]["root"], 16) > 0
    times = [found["stages_ms"][stage] for stage in STAGES]
    assert times[0] == 0
    assert times == sorted(times)


def test_demo() -> None:
    done = run("devnet", "scenario", "demo", "--json")
    found = done.json
    check_settled(found)
    assert found["consumer"] == {"before": False, "after": True}
    assert len(set(found["provers"])) > 1, "the segments go to several provers"
    # Set-up is done and the state prepared: this is the second run of the issue.
    assert done.seconds < 60


def test_a_killed_gateway_is_replaced() -> None:
    found = run("devnet", "scenario", "kill-gateway", "--json").json
    check_settled(found)
    assert found["consumer"] == {"before": False, "after": True}


@pytest.mark.slow
def test_a_killed_prover_is_replaced() -> None:
    found = run("devnet", "scenario", "kill-prover", "--json", timeout_s=400).json
    check_settled(found)
    assert found["consumer"] == {"before": False, "after": True}


@pytest.mark.slow
def test_any_node_may_die() -> None:
    found = run("devnet", "scenario", "kill-any", "--json", timeout_s=900).json
    assert len(found["requests"]) == 4
    for request in found["requests"]:
        check_settled(request)


@pytest.mark.parametrize(
    ("how", "line"),
    [
        (signal.SIGINT, "nodes start"),
        (signal.SIGTERM, "request is accepted"),
        (signal.SIGKILL, "request is accepted"),
    ],
)
def test_an_interrupted_scenario_leaves_nothing_running(
    how: signal.Signals, line: str, tmp_path: Path
) -> None:
    """Anvil, nodes and busy proving workers end with the command that started them."""
    command = [sys.executable, "-m", "devnet", "scenario", "demo", "--json"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stderr is not None
        for told in running.stderr:
            if line in told:
                break
        started = descendants(running.pid)
        running.send_signal(how)
        stdout, stderr = running.communicate(timeout=60)
    assert len(started) >= 5, "Anvil and four nodes"
    assert stdout == ""
    assert still_running(started, within_s=15) == []
    if how != signal.SIGKILL:
        assert running.returncode == Exit.INTERRUPTED
        assert "Traceback" not in stderr
        assert list(tmp_path.iterdir()) == []


def descendants(pid: int) -> list[int]:
    """All processes that this one started, and those that they started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the parent follows the state.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


def still_running(pids: list[int], *, within_s: float) -> list[int]:
    """Those that have not ended in this time."""
    deadline = time.monotonic() + within_s
    while True:
        left = [pid for pid in pids if is_running(pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
