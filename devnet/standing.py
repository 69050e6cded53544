"""A devnet that stays up in a data folder: who holds it, where its parts are, how it ends.

The supervisor holds a lock on `lock` for as long as it runs, with its process id inside, so a stale
folder is never taken for a running devnet. `devnet.json` appears when every node is ready.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from devnet.errors import DevnetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK: Final = "lock"
STATE: Final = "devnet.json"
SUPERVISOR_LOG: Final = "devnet.log"
STOP_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05


class AlreadyRunsError(DevnetError):
    """A devnet holds this folder."""


def supervisor_pid(folder: Path) -> int | None:
    """Process id of the supervisor that holds the folder, None if nobody does."""
    try:
        with (folder / LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0) or None
    except FileNotFoundError:
        return None
    return None


def check_folder(folder: Path) -> None:
    """Raise DevnetError if the folder has files that no devnet put there: `held` would empty it."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).is_file():
        raise DevnetError(f"{folder} holds other files; give an empty folder with --data")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Take the folder for this process and empty it.

    Raises:
        AlreadyRunsError: another devnet holds it.
        DevnetError: it has files that no devnet put there.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunsError(
                f"a devnet runs in {folder}; stop it: python -m devnet down"
            ) from exc
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in {LOCK, SUPERVISOR_LOG}:
                entry.unlink()
        try:
            yield
        finally:
            (folder / STATE).unlink(missing_ok=True)


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Say where everything is; only now does the devnet count as up."""
    staging = folder / (STATE + ".new")
    staging.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    staging.rename(folder / STATE)


def read_state(folder: Path) -> dict[str, Any] | None:
    """What `write_state` wrote, None while the devnet is not up."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_bytes())
    except FileNotFoundError:
        return None
    return state


def detach(folder: Path, arguments: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Start the supervisor in the background, pass on what it says, return the state once up.

    Raises:
        DevnetError: it ended instead; the text is its own.
    """
    log = folder / SUPERVISOR_LOG
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOCK).touch()
    log.write_bytes(b"")
    command = [sys.executable, "-m", "devnet", "up", "--foreground", *arguments]
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    told = 0
    try:
        while True:
            ended = child.poll() is not None
            state = None if ended else read_state(folder)
            if state is not None and state["pid"] != child.pid:
                state = None  # a killed predecessor's; the child will clear it away
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            complete = [line.rstrip() for line in lines if line.endswith("\n")]
            for line in complete[told:]:
                if state is None and not ended:
                    say(line)
            told = len(complete)
            if state is not None:
                return state
            if ended:
                last = complete[-1] if complete else f"exit status {child.returncode}"
                raise DevnetError(last.removeprefix("error: "))
            time.sleep(_POLL_S)  # a file can not be awaited
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise


def bring_down(folder: Path) -> bool:
    """Stop the devnet in this folder and wait until it is gone; False if there was none."""
    pid = supervisor_pid(folder)
    if pid is None:
        return False
    try:
        supervisor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if supervisor_pid(folder) == pid:  # else it has ended and the number may be another's
            signal.pidfd_send_signal(supervisor, signal.SIGTERM)
            if not select.select([supervisor], [], [], STOP_DEADLINE_S)[0]:
                # Its children die with it, however it dies.
                signal.pidfd_send_signal(supervisor, signal.SIGKILL)
                select.select([supervisor], [], [])
    finally:
        os.close(supervisor)
    return True
