from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        assert self.returncode == 0, f"{self.stderr}\n{self.stdout}"
        found: dict[str, Any] = json.loads(self.stdout)
        return found


def run(*arguments: str, timeout_s: float = 240.0) -> Finished:
    """Run one of our programs as a user would: its module name first."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - start)


def processes_naming(text: str) -> list[str]:
    """Command lines of running processes with this text in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


@dataclass(frozen=True)
class Standing:
    """A devnet that is up, as its `devnet.json` describes it."""

    state: dict[str, Any]

    @property
    def apis(self) -> list[str]:
        return [node["api"] for node in self.state["nodes"] if not node["held"]]

    def node(self, verb: str, *arguments: str, timeout_s: float = 240.0) -> Finished:
        """`node VERB` against the first node."""
        return run("node", verb, *arguments, "--node", self.apis[0], timeout_s=timeout_s)

    def submit(self, accounts: Path | None = None, *extra: str) -> Finished:
        requester = self.state["requester"]
        csv = str(accounts or requester["accounts"])
        keys = ["--key", requester["key"], "--password-file", requester["password_file"]]
        return self.node("submit", "solvency", csv, "--max-fee", "0.1ether", *keys, *extra)


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Four running nodes, shared by the tests that only use them."""
    folder = tmp_path_factory.mktemp("devnet") / "data"
    try:
        yield Standing(run("devnet", "up", "--json", "--data", str(folder)).json)
    finally:
        run("devnet", "down", "--data", str(folder))
        assert processes_naming(str(folder)) == []
