"""Memory and processor time of processes, as Linux counts them in /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1_024


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes, and the share of them that falls to this process alone (PSS)."""

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    """What a process holds now."""
    found = {"Rss": 0, "Pss": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * _KIB
    return Memory(found["Rss"], found["Pss"])


@dataclass(frozen=True, slots=True)
class Footprint:
    """Address space of a process, which limits count, and the peaks of it and of RSS; bytes."""

    address_space: int
    peak_address_space: int
    peak_rss: int


def footprint(pid: int) -> Footprint:
    """What a process takes up now, and at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    found = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    size, peak, rss = (int(found[name][0]) * _KIB for name in ("VmSize", "VmPeak", "VmHWM"))
    return Footprint(size, peak, rss)


def rss_of_this() -> int:
    """Resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process since it started."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Living processes that this one started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found.append(int(entry.name))
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; the second may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
