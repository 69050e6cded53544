"""Documents of requests: every change has the next version, in memory or not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from node.metrics import Metrics
from node.services.reports import RECENT, ReportService
from node.store import Store
from node.system_clock import SystemClock
from protocol.effects import Report
from protocol.types import Hash

ID = Hash(b"\x01" * 32)


@pytest.fixture
def store(tmp_path):
    made = Store.open(tmp_path / "node.db")
    yield made
    made.close()


@pytest.fixture
def reports(store):
    return ReportService(store, Metrics(), SystemClock())


async def tell(reports: ReportService, state: str, request_id: bytes = ID, **more: Any) -> None:
    await reports.report(Report(Hash(request_id), {"state": state, **more}))


async def test_only_a_change_has_a_new_version(reports, store):
    await tell(reports, "assigned")
    await tell(reports, "assigned")
    assert (await store.document(ID))["version"] == 1
    await tell(reports, "assigned", segments=[1])
    assert await store.document(ID) == {"state": "assigned", "segments": [1], "version": 2}


async def test_versions_go_on_after_a_restart_and_beyond_memory(reports, store):
    await tell(reports, "assigned")
    for number in range(RECENT):
        await tell(reports, "assigned", number.to_bytes(32, "big"))
    await tell(reports, "proven")
    assert (await reports.wait(ID, 1, 1_000))["version"] == 2
    restarted = ReportService(store, Metrics(), SystemClock())
    await tell(restarted, "settled")
    assert (await restarted.wait(ID, 2, 1_000)) == {"state": "settled", "version": 3}


async def test_a_change_wakes_who_waits(reports):
    found = []

    async def wait(request_id: bytes) -> None:
        found.append(await reports.wait(request_id, 0, 60_000))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, ID)
            await trio.testing.wait_all_tasks_blocked()
            await tell(reports, "requested")
    assert [document["state"] for document in found] == ["requested"]
    assert await reports.wait(b"\x02" * 32, 0, 10) is None
