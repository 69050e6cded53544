"""Results on disk: one small JSON file for each benchmark, with the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"

Json = dict[str, Any]


def spread(values: Sequence[float], digits: int = 0) -> Json:
    """Median, 90th percentile (nearest rank), range and number of repetitions."""
    ordered = sorted(values)
    rank = max(0, -(-9 * len(ordered) // 10) - 1)
    found = {
        "median": statistics.median(ordered),
        "p90": ordered[rank],
        "low": ordered[0],
        "high": ordered[-1],
    }
    return {**{name: round(value, digits) for name, value in found.items()}, "runs": len(ordered)}


def microseconds(work: Callable[[int], object], runs: int) -> Json:
    """Microseconds of one call, the first one left out; the call is told its number."""
    work(0)
    found = []
    for number in range(1, runs + 1):
        started = time.perf_counter_ns()
        work(number)
        found.append((time.perf_counter_ns() - started) / 1_000)
    return spread(found, 1)


def machine() -> Json:
    """Where and when, without anything that names this machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def load() -> float:
    """Processes that want a core, one-minute average: how busy the machine is with other work."""
    return round(os.getloadavg()[0], 1)


def save(name: str, found: Json) -> None:
    """Write a benchmark's result."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), **found}, indent=1) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def saved(name: str) -> Json | None:
    """The last result of a benchmark, if it ever ran."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
