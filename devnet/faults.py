"""What can befall a running node, and catching it at a known point of its round."""

from __future__ import annotations

import signal
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from devnet.errors import DevnetError
from devnet.standpoint import Stand, read_stand

if TYPE_CHECKING:
    from devnet.child import Child
    from devnet.cluster import Cluster
    from devnet.standpoint import Standpoint

_LOOK_S: Final = 0.0005
_STOP_DEADLINE_S: Final = 5.0
_STOPPED: Final = frozenset("Tt")


class Fault(Enum):
    """How a node is lost to the others."""

    KILLED = "killed"
    """SIGKILL."""
    SILENCED = "silenced"
    """SIGSTOP: it keeps its connections and its memory, and says nothing."""
    PARTITIONED = "partitioned"
    """It runs, and nothing passes between it and the others."""


async def begin(fault: Fault, cluster: Cluster, name: str) -> None:
    """Let it befall a node that is stopped (`catch`)."""
    match fault:
        case Fault.KILLED:
            await cluster.kill(name)
        case Fault.SILENCED:
            pass  # it is stopped already, and stays so
        case Fault.PARTITIONED:
            switch = cluster.switch
            if switch is None:
                raise DevnetError("only a separable cluster can be partitioned")
            switch.cut([name])
            _running(cluster, name).send_signal(signal.SIGCONT)


def end(fault: Fault, cluster: Cluster, name: str) -> None:
    """Bring the node back; it takes its time to catch up."""
    match fault:
        case Fault.KILLED:
            cluster.start(name)
        case Fault.SILENCED:
            _running(cluster, name).send_signal(signal.SIGCONT)
        case Fault.PARTITIONED if cluster.switch is not None:
            cluster.switch.heal()


async def catch(
    cluster: Cluster, name: str, wanted: Standpoint, view: int, until_ms: int
) -> Stand | None:
    """Stop the gateway of a view where it has come to `wanted`; it stays stopped.

    Whenever it has written to its disk it is stopped, read, and let go on if it is not yet there:
    no phase is passed without a write before and after it. None if it did not come there, or went
    past between two looks, until a Unix time in ms; it then runs.
    """
    data = cluster.nodes[name].files.folder / "data"
    log, child = data / "node.sqlite-wal", _running(cluster, name)
    seen = 0
    while time.time_ns() // 1_000_000 < until_ms:
        written = log.stat().st_mtime_ns
        if written != seen:
            seen = written
            child.send_signal(signal.SIGSTOP)
            await _until_stopped(child, name)
            stand = read_stand(data, len(cluster.nodes))
            if stand.of_gateway(view) is wanted:
                return stand
            child.send_signal(signal.SIGCONT)
        await trio.sleep(_LOOK_S)  # a write is not announced
    return None


async def _until_stopped(child: Child, name: str) -> None:
    status = Path(f"/proc/{child.pid}/stat")
    with trio.move_on_after(_STOP_DEADLINE_S):
        while True:
            # The name in parentheses may hold anything; the state follows it.
            if status.read_text().rpartition(")")[2].split()[0] in _STOPPED:
                return
            await trio.sleep(_LOOK_S)  # a stop is told to the parent alone, which waits elsewhere
    raise DevnetError(f"{name} does not stop on SIGSTOP")


def _running(cluster: Cluster, name: str) -> Child:
    child = cluster.nodes[name].child
    if child is None or child.returncode is not None:
        raise DevnetError(f"{name} does not run; see its log")
    return child
