"""Work under a watch for signals."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from devnet.errors import DevnetError
from devnet.signals import run_until_signal
from node.errors import InputError


def test_work_that_never_waits_ends_as_work_does() -> None:
    async def work() -> None:
        pass

    assert run_until_signal(work) is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    async def work() -> None:
        os.kill(os.getpid(), number)
        await trio.sleep_forever()

    assert run_until_signal(work) is True


def test_what_fails_is_told_as_the_devnets_failure() -> None:
    async def work() -> None:
        raise InputError("the cause", "the mend")

    with pytest.raises(DevnetError, match="the cause"):
        run_until_signal(work)
