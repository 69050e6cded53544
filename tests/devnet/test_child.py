from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

from devnet.child import child_process, start_child
from devnet.errors import DevnetError

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do /bin/sleep 0.05; done"]


async def wait_for_text(log: Path, text: str) -> None:
    with trio.fail_after(10):
        while text not in log.read_text():
            await trio.sleep(0.01)


async def test_a_program_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with child_process(STUBBORN, log=log, grace_s=0.2) as child:
        await wait_for_text(log, "ready")
    assert child.returncode == -signal.SIGKILL


async def test_a_program_that_is_stopped_still_ends_by_the_polite_signal(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with child_process(["/bin/sleep", "600"], log=tmp_path / "log", grace_s=60) as child:
            child.send_signal(signal.SIGSTOP)
    assert child.returncode == -signal.SIGTERM


async def test_cancellation_stops_the_program_too(tmp_path: Path) -> None:
    with trio.move_on_after(0.2) as scope:
        async with child_process(["/bin/sleep", "600"], log=tmp_path / "log") as child:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert child.returncode == -signal.SIGTERM


async def test_several_tasks_see_the_end_and_the_status(tmp_path: Path) -> None:
    seen: list[int] = []
    child = start_child(["/bin/sh", "-c", "/bin/sleep 0.1; exit 7"], log=tmp_path / "log")

    async def wait() -> None:
        seen.append(await child.wait())

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
    assert seen == [7, 7]
    assert await child.wait() == 7


async def test_the_log_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("first", "second"):
        await start_child(["/bin/echo", word], log=log).wait()
    assert log.read_text() == "first\nsecond\n"


async def test_a_start_from_another_thread_is_refused(tmp_path: Path) -> None:
    """Its death signal would fire when that thread goes idle, in the middle of a demo."""

    def start() -> None:
        start_child(["/bin/sleep", "1"], log=tmp_path / "log")

    with pytest.raises(DevnetError, match="main thread"):
        await trio.to_thread.run_sync(start)
