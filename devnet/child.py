"""Child processes that never outlive the devnet that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from devnet.errors import DevnetError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path


class Child:
    """A running program; `pid` is the program's own, so that a test may kill exactly it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, None while it runs."""
        return self._popen.poll()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the program has ended."""
        self._popen.send_signal(number)

    async def wait(self) -> int:
        """Wait for the end and return the exit status; any number of tasks may wait."""
        if self._popen.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return self._popen.wait()

    async def stop(self, grace_s: float) -> int:
        """Ask with SIGTERM, insist with SIGKILL after `grace_s` seconds, return the exit status."""
        with trio.CancelScope(shield=True):
            self.send_signal(signal.SIGTERM)
            self.send_signal(signal.SIGCONT)  # one that is stopped would not hear of it
            with trio.move_on_after(grace_s):
                return await self.wait()
            self.send_signal(signal.SIGKILL)
            return await self.wait()


def start_child(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Child:
    """Start a program that dies when this process dies, even by SIGKILL; its output goes to `log`.

    Raises:
        DevnetError: the program can not be started.
    """
    # The kernel sends the parent-death signal when the *thread* that forked ends. Trio starts its
    # processes from worker threads, which end when idle; so this forks here, in the main thread.
    if threading.current_thread() is not threading.main_thread():
        raise DevnetError("a child process was started outside the main thread; start it inside")
    guarded = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
    if not os.access(command[0], os.X_OK):
        raise DevnetError(f"{command[0]} is missing or not executable; run: make setup")
    try:
        with log.open("ab") as output:
            popen = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                # Ctrl-C reaches the devnet alone, which then stops its children in order.
                start_new_session=True,
            )
    except FileNotFoundError as exc:
        raise DevnetError(
            f"could not start {command[0]}: {exc.strerror} ({exc.filename}); "
            "install with: sudo apt-get install -y util-linux"
        ) from exc
    return Child(popen)


@asynccontextmanager
async def child_process(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    grace_s: float = 5.0,
) -> AsyncIterator[Child]:
    """Run a program for the length of a block; it is stopped however the block ends."""
    child = start_child(command, log=log, env=env, cwd=cwd)
    try:
        yield child
    finally:
        await child.stop(grace_s)
