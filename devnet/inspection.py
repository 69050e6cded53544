"""Looks at a standing devnet from outside: readiness and logs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from devnet.standing import SUPERVISOR_LOG, read_state, supervisor_pid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMEOUT_S: Final = 3.0


def inspect(folder: Path) -> dict[str, Any]:
    """What `python -m devnet status --json` prints."""
    running = supervisor_pid(folder) is not None
    state = read_state(folder) if running else None
    if state is None:
        return {"running": running, "ready": False, "folder": str(folder), "nodes": []}
    nodes = [{**node, **_readiness(node["api"])} for node in state["nodes"]]
    ready = all(node["ready"] for node in nodes if not node["held"])
    return {"running": True, "ready": ready, **state, "nodes": nodes}


def log_files(folder: Path) -> dict[str, Path]:
    """The logs that are there, by the name of what wrote them."""
    found = {"devnet": folder / SUPERVISOR_LOG, "anvil": folder / "anvil.log"}
    found |= {path.parent.name: path for path in sorted(folder.glob("node-*/node.log"))}
    return {name: path for name, path in found.items() if path.is_file()}


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=lines)]


class LogFollower:
    """Reads what is added to logs from now on."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files
        self._at = {name: path.stat().st_size for name, path in files.items()}

    def new_lines(self) -> Iterator[tuple[str, str]]:
        """Names and whole lines that were written since the last call."""
        for name, path in self._files.items():
            with path.open("rb") as file:
                file.seek(self._at[name])
                added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            self._at[name] += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                yield name, line


def _readiness(api: str) -> dict[str, Any]:
    """Whether a node says that it is ready, and if not, why."""
    try:
        # A 503 carries the same document.
        try:
            with urllib.request.urlopen(f"{api}/readyz", timeout=_TIMEOUT_S) as answer:  # noqa: S310
                found = json.load(answer)
        except urllib.error.HTTPError as exc:
            found = json.load(exc)
    except (OSError, ValueError) as exc:
        return {"ready": False, "failing": f"does not answer ({exc})"}
    bad = [f"{check['name']}: {check['detail']}" for check in found["checks"] if not check["ok"]]
    return {"ready": bool(found["ready"]), "failing": ", ".join(bad)}
