"""What the store returned from is there after anything; what is wrong with the file is told."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest
import trio

from node.errors import ExitCode, StoreError
from node.store import MAX_EVENTS, Store
from node.store_schema import MIGRATIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "node.db"


@pytest.fixture
def store(path):
    made = Store.open(path)
    yield made
    made.close()


async def test_journal_survives_reopening(store, path):
    assert await store.append([b"a", b"b"]) == 2
    assert await store.append([b"c"]) == 3
    store.close()
    again = Store.open(path)
    replay = await again.replay()
    again.close()
    assert replay.snapshot is None
    assert replay.records == ((1, b"a"), (2, b"b"), (3, b"c"))


async def test_checkpoint_cuts_what_it_covers(store):
    await store.append([b"a", b"b", b"c"])
    await store.checkpoint(b"state after b", 2)
    assert await store.replay() == type(await store.replay())(b"state after b", ((3, b"c"),), ())
    await store.checkpoint(b"state after c", 3)
    # Numbers are not used again, else an old snapshot would seem to cover new records.
    assert await store.append([b"d"]) == 4


async def test_a_slot_is_taken_once(store):
    assert await store.statement(b"slot") is None
    assert await store.claim_statement(b"slot", 5, lambda: b"first") == b"first"
    assert await store.claim_statement(b"slot", 5, lambda: b"second") == b"first"
    assert await store.statement(b"slot") == b"first"


async def test_concurrent_claims_agree(store):
    taken = []

    async def claim(frame):
        taken.append(await store.claim_statement(b"slot", 5, lambda: frame))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(claim, b"%d" % number)
    assert len(set(taken)) == 1


async def test_statements_after_the_snapshot_are_fed_again(store):
    await store.claim_statement(b"one", 1, lambda: b"old")
    await store.checkpoint(b"state", 0)
    await store.claim_statement(b"two", 1, lambda: b"new")
    assert (await store.replay()).statements == (b"new",)


async def test_pruning_keeps_what_has_no_round(store):
    for slot, round_number in ((b"a", 1), (b"b", 5), (b"c", 0)):
        await store.claim_statement(slot, round_number, lambda slot=slot: slot)
    await store.prune_statements(5)
    await store.prune_statements(3)
    assert await store.claim_statement(b"d", 4, lambda: b"d") is None
    assert [await store.statement(slot) for slot in (b"a", b"b", b"c", b"d")] == [
        None,
        b"b",
        b"c",
        None,
    ]


async def test_decided_rounds_come_without_gaps(store):
    for number in (1, 2, 4):
        await store.save_decided(number, b"%d" % number)
    await store.save_decided(2, b"another")
    assert await store.decided(1, 10) == [b"1", b"2"]
    assert await store.decided(2, 1) == [b"2"]
    assert await store.decided(3, 10) == []
    assert await store.decided(2**64 - 1, 10) == []
    assert await store.last_decided() == 4


async def test_documents_and_bundles(store):
    for number, at_ms in ((1, 10), (2, 30), (3, 20), (4, 20)):
        await store.save_document(b"%d" % number, at_ms, {"id": number, "state": "requested"})
    await store.save_document(b"1", 99, {"id": 1, "state": "settled"})
    assert await store.document(b"1") == {"id": 1, "state": "settled"}
    assert await store.document(b"9") is None
    assert [item["id"] for item in await store.documents(None, 10)] == [2, 4, 3, 1]
    assert [item["id"] for item in await store.documents(b"4", 1)] == [3]
    assert await store.documents(b"1", 10) == await store.documents(b"9", 10) == []
    await store.save_bundle(b"1", {"proof": "00"})
    await store.save_bundle(b"1", {"proof": "01"})
    assert await store.bundle(b"1") == {"proof": "00"}
    assert await store.bundle(b"2") is None


async def test_a_bid_leads_to_its_request(store):
    await store.save_document(b"r", 5, {"state": "requested", "bid_id": "0x0102"})
    await store.save_document(b"s", 6, {"state": "requested"})
    assert await store.request_of(b"\x01\x02") == b"r"
    assert await store.request_of(b"\x01") is None


async def test_events(store):
    await store.add_events([(1, "round.decided", {"round": 7})])
    await store.append([b"record"], [(2, "job.settled", {"id": "x"})])
    first, second = await store.events()
    assert (first.event, first.fields, second.at_ms) == ("round.decided", {"round": 7}, 2)
    assert await store.events(after=first.number) == [second]


async def test_the_audit_trail_is_bounded(store):
    await store.add_events([(0, "e", {})] * (MAX_EVENTS + 10))
    await store.add_events([(1, "last", {})])
    assert (await store.events(most=1))[0].number == 12
    assert len(await store.events(after=MAX_EVENTS)) == 11


def test_a_second_node_is_refused(store, path):
    with pytest.raises(StoreError) as caught:
        Store.open(path)
    assert "another node" in caught.value.cause
    assert caught.value.exit_code is ExitCode.STORE


def damaged(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


async def test_damage_is_told(path):
    store = Store.open(path)
    for _ in range(50):
        await store.append([os.urandom(3_000)])
    store.close()
    damaged(path, 8_192, b"\xff" * 20_000)
    with pytest.raises(StoreError) as caught:
        Store.open(path)
    assert "backup" in caught.value.mend
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError) as caught:
        Store.open(path)
    assert "damaged" in caught.value.cause


def test_foreign_and_newer_databases(tmp_path):
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path / "foreign.db")
    assert "another program" in caught.value.cause
    Store.open(tmp_path / "newer.db").close()
    newer = apsw.Connection(str(tmp_path / "newer.db"))
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path / "newer.db")
    assert "newer" in caught.value.cause


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        Store.open(tmp_path / "file" / "node.db")


async def test_a_cancelled_write_is_still_whole(store):
    with trio.move_on_after(0):
        await store.append([b"a"])
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.append([b"b", b"c"])
    records = [record for _, record in (await store.replay()).records]
    assert records in ([], [b"a"], [b"b", b"c"], [b"a", b"b", b"c"])


WRITER = """
import sys, trio
from pathlib import Path
from node.store import Store

async def main():
    store = Store.open(Path(sys.argv[1]))
    replay = await store.replay()
    taken = int(replay.snapshot or b"0") + len(replay.records)
    while True:
        await store.append([b"%d" % (taken + 1), b"%d" % (taken + 2)])
        taken += 2
        slot = b"%d" % (taken // 10)
        held = await store.claim_statement(slot, 1, lambda: b"%d" % taken)
        print("taken", taken, slot.decode(), held.decode(), flush=True)
        if taken % 20 == 0:
            number = (await store.replay()).records[-1][0]
            await store.checkpoint(b"%d" % taken, number)

trio.run(main)
"""


def test_twenty_kills_lose_and_double_nothing(path):
    acknowledged, statements = 0, {}
    for life in range(20):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        text = child.stdout.readline()
        time.sleep((life * 7 % 20) * 0.002)
        child.send_signal(signal.SIGKILL)
        text += child.stdout.read()
        child.stdout.close()
        child.wait()
        # What follows the last line break was cut by the kill.
        for line in text.split("\n")[:-1]:
            _, taken, slot, frame = line.split()
            acknowledged = max(acknowledged, int(taken))
            assert statements.setdefault(slot, frame) == frame
        replay = trio.run(replay_of, path)
        start = int(replay.snapshot or b"0")
        held = [int(record) for _, record in replay.records]
        assert held == list(range(start + 1, start + 1 + len(held)))
        assert start + len(held) >= acknowledged
    assert acknowledged > 100


async def replay_of(path):
    store = Store.open(path)
    try:
        return await store.replay()
    finally:
        store.close()
