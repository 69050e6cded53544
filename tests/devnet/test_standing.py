"""`python -m devnet up|status|down|logs` as a person or a script runs them; no node is started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devnet.cli import Exit
from devnet.standing import LOCK, supervisor_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

UP = ("up", "--nodes", "2", "--hold", "2")


def devnet(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "devnet", *arguments, "--data", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def answer(*arguments: str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(devnet(*arguments, "--json", folder=folder).stdout)
    return found


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    data = tmp_path / "data"
    yield data
    devnet("down", folder=data)


def test_up_status_logs_down(folder: Path) -> None:
    up = devnet(*UP, "--json", folder=folder)
    assert up.returncode == Exit.OK, up.stderr
    state = json.loads(up.stdout)
    assert [node["name"] for node in state["nodes"]] == ["node-1", "node-2"]
    assert all(node["held"] for node in state["nodes"])

    found = answer("status", folder=folder)
    assert (found["running"], found["ready"]) == (True, True)
    assert found["rpc_url"] == state["rpc_url"]

    logs = answer("logs", "anvil", folder=folder)["logs"]
    assert list(logs) == ["anvil"]
    assert logs["anvil"]

    assert answer("down", folder=folder) == {"stopped": True}
    assert answer("down", folder=folder) == {"stopped": False}
    assert supervisor_pid(folder) is None
    assert not is_running(state["pid"])
    assert answer("status", folder=folder)["running"] is False
    # What happened can be read afterwards.
    assert answer("logs", "anvil", folder=folder)["logs"]["anvil"]


def test_a_second_up_says_how_to_stop_the_first(folder: Path) -> None:
    devnet(*UP, folder=folder)
    second = devnet(*UP, folder=folder)
    assert second.returncode == Exit.RUNS_ALREADY
    assert "python -m devnet down" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert answer("status", folder=folder)["ready"] is True


def test_up_tells_how_to_submit_and_how_to_start_a_held_node(folder: Path) -> None:
    told = devnet(*UP, folder=folder).stdout
    assert f"submit solvency {folder}/accounts.csv" in told
    assert f"--key {folder}/requester.json" in told
    assert f"start --config {folder}/node-2/node.toml" in told


def test_a_supervisor_that_was_killed_leaves_nothing_running(folder: Path) -> None:
    state = json.loads(devnet(*UP, "--json", folder=folder).stdout)
    os.kill(state["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while answer("status", folder=folder)["running"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert devnet("status", folder=folder).returncode == Exit.NOT_TRUE
    assert answer("down", folder=folder) == {"stopped": False}
    again = json.loads(devnet(*UP, "--json", folder=folder).stdout)
    assert again["pid"] == supervisor_pid(folder) != state["pid"]
    assert answer("down", folder=folder) == {"stopped": True}
    assert not is_running(again["pid"])


def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    precious = folder / "thesis.txt"
    precious.write_text("years of work")
    refused = devnet(*UP, folder=folder)
    assert refused.returncode == Exit.FAILED
    assert "--data" in refused.stderr
    assert precious.read_text() == "years of work"
    assert not (folder / LOCK).exists()


def test_foreground_ends_with_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-m", "devnet", *UP, "--foreground", "--data", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("stop it"):
                break
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == Exit.OK
    assert supervisor_pid(folder) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--nodes", "0"),
        ("up", "--nodes", "1", "--hold", "2"),
        ("logs", "node-9"),
        ("nonsense",),
    ],
)
def test_bad_input_is_one_line_and_its_own_exit_code(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    refused = devnet(*arguments, folder=folder)
    assert refused.returncode == Exit.BAD_INPUT
    assert len(refused.stderr.splitlines()) == 1
    assert "Traceback" not in refused.stderr


def test_an_unknown_scenario_names_the_known_ones() -> None:
    command = [sys.executable, "-m", "devnet", "scenario", "nonsense"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == Exit.BAD_INPUT
    assert "demo" in refused.stderr
    assert refused.stdout == ""
