"""Runs a devnet until it ends, fails, or a signal says to stop it; everything is put away first."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from chain.errors import ChainError
from devnet.errors import DevnetError
from node.errors import BackendError, NodeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    # The stubs that libp2p's dependency trio-typing installs hide trio.TaskStatus from mypy.
    from trio_typing import TaskStatus

# What names its cause and, mostly, its mend.
_EXPECTED = (DevnetError, ChainError, NodeError, BackendError)


def run_until_signal(work: Callable[[], Awaitable[None]]) -> bool:
    """Run under trio; True if Ctrl-C or SIGTERM ended it.

    Raises:
        DevnetError: what went wrong, in place of the errors that tell it.
    """
    try:
        return trio.run(_watched, work)
    except BaseExceptionGroup as group:
        first = _first(group)
        if isinstance(first, _EXPECTED) and not isinstance(first, DevnetError):
            raise DevnetError(str(first)) from group
        raise first from group
    except (ChainError, NodeError, BackendError) as exc:
        raise DevnetError(str(exc)) from exc


async def _watched(work: Callable[[], Awaitable[None]]) -> bool:
    seen = False
    async with trio.open_nursery() as nursery:
        # A second Ctrl-C while everything is being stopped changes nothing: it is under way.
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

            async def watch(task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                nonlocal seen
                task_status.started()
                async for _ in signals:
                    seen = True
                    nursery.cancel_scope.cancel()

            # Work that never waits must not end before the watch has begun.
            await nursery.start(watch)
            await work()
            nursery.cancel_scope.cancel()
    return seen


def _first(error: BaseException) -> BaseException:
    """The first error of a group that is not the consequence of another: a bug before all else."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if not isinstance(leaf, _EXPECTED)), leaves[0])
