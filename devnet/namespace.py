"""A network namespace without a name: it is gone with the last process that is in it.

Nothing is entered in the machine's own network, and nothing can be left behind by a kill. A
namespace is a property of a thread, so what has to happen inside one happens in a short thread.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from devnet.errors import DevnetError

if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_NEWNET: Final = 0x4000_0000
_IP_DEADLINE_S: Final = 10.0
_libc: Final = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


class Namespace:
    """An empty network of its own: a loopback interface and what is added to it.

    Raises:
        DevnetError: the kernel does not allow it, or a program for it is missing.
    """

    def __init__(self) -> None:
        self._nsenter = _program("nsenter", "util-linux")
        self._ip = _program("ip", "iproute2")
        self._descriptor = _in_thread(_unshare)
        self.ip("link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """What the kernel calls it, readable by the programs that are started here."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @property
    def command(self) -> tuple[str, ...]:
        """What to put before a program's command line; the process id stays the program's own."""
        return (self._nsenter, f"--net={self.path}", "--")

    def ip(self, *arguments: str) -> None:
        """Run iproute2's `ip` inside; raises DevnetError with what it said."""
        done = subprocess.run(
            [*self.command, self._ip, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_IP_DEADLINE_S,
        )
        if done.returncode:
            raise DevnetError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def socket(self) -> socket.socket:
        """A TCP socket that stays in here, whatever thread uses it."""

        def make() -> socket.socket:
            _check(_libc.setns(self._descriptor, _CLONE_NEWNET), "enter a network namespace")
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

        return _in_thread(make)

    def close(self) -> None:
        """Let go of it; it ends with the last process and socket in it."""
        os.close(self._descriptor)


def _program(name: str, package: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise DevnetError(f"`{name}` is missing; install with: sudo apt-get install -y {package}")
    return path


def _unshare() -> int:
    _check(_libc.unshare(_CLONE_NEWNET), "make a network namespace")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(status: int, what: str) -> None:
    if status:
        why = os.strerror(ctypes.get_errno())
        raise DevnetError(f"the kernel did not {what}: {why}; run as root")


def _in_thread(work: Callable[[], Result]) -> Result:
    """Run in a thread of its own, which ends in whatever namespace it went to."""
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as exc:  # noqa: BLE001 - raised below, by who asked
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
