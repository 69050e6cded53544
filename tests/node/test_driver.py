"""The driver: nothing is done before it is on disk, and a restart comes to the same state."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from node import driver as driver_module
from node.driver import Driver
from node.guard import SigningGuard
from node.store import Store
from protocol.codec import decode, decode_decided
from protocol.effects import Broadcast, Decided, Record, StartProving
from protocol.errors import LocalProtocolError
from protocol.inputs import SettleFailed
from tests.node.toy_machine import DOMAIN, KEYS, ME, PER_ROUND, WORD, ToyMachine

ROOT = Path(__file__).parents[2]


class World:
    """A store on disk, a clock that is set by hand, and what was sent."""

    def __init__(self, path):
        self.path = path
        self.now_ms = 1_000
        self.sent = []
        self.decided = []
        self.records = []
        self.crash_on = None
        self.store = Store.open(path)

    def reopen(self):
        self.store.close()
        self.store = Store.open(self.path)

    def driver(self, machine=ToyMachine, *, may_sign=True, **options):
        guard = SigningGuard(self.store, lambda _: KEYS, DOMAIN, ME, began_view=-1)
        if may_sign:
            guard.open()
        return Driver(
            store=self.store,
            guard=guard,
            clock=SimpleNamespace(now_ms=lambda: self.now_ms),
            restore=machine,
            handlers={
                Broadcast: self.broadcast,
                Decided: self.decide,
                Record: self.record,
            },
            **options,
        )

    async def broadcast(self, effect):
        if effect.envelope.body.segment == self.crash_on:
            raise OSError("crash")
        self.sent.append(effect.envelope)

    async def decide(self, effect):
        self.decided.append(effect.record.value.round)

    async def record(self, effect):
        self.records.append(effect)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "node.db")
    yield made
    made.store.close()


async def feed(world, numbers, driver=None):
    """Run a driver over these inputs until everything was said."""
    driver = driver or world.driver()
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        for number in numbers:
            await driver.submit(SettleFailed(number, ""))
        while len(driver.machine.said) < driver.machine.taken:
            await driver.wait_changed()
        nursery.cancel_scope.cancel()
    return driver


async def test_own_statements_come_back_and_go_out(world):
    driver = await feed(world, range(1, 6))
    assert driver.machine.taken == 5
    assert [envelope.body.segment for envelope in world.sent] == [1, 2, 3, 4, 5]
    assert sorted(driver.machine.said) == ["1", "2", "3", "4", "5"]
    assert len(world.records) == 5


async def test_restart_comes_to_the_same_state_and_says_the_same(world):
    before = await feed(world, range(1, 6))
    first = list(world.sent)
    world.reopen()
    world.now_ms += 5_000
    after = await feed(world, [])
    assert after.machine.snapshot() == before.machine.snapshot()
    # What it says again is what it said, though the body it asks to sign names another time.
    assert world.sent[5:] == first


async def test_replay_uses_the_times_of_then(world):
    times = []

    class Timed(ToyMachine):
        def step(self, event, now_ms):
            times.append(now_ms)
            return super().step(event, now_ms)

    await feed(world, [1], world.driver(Timed))
    then = list(times)
    times.clear()
    world.reopen()
    world.now_ms = 99_000
    await feed(world, [], world.driver(Timed))
    assert times[: len(then)] == then == [1_000, 1_000]


async def test_a_decided_round_is_kept_and_cuts_the_journal(world):
    await feed(world, range(1, 2 * PER_ROUND + 1))
    assert [decode_decided(raw).value.round for raw in await world.store.decided(1, 9)] == [1, 2]
    replay = await world.store.replay()
    assert len(replay.records) < PER_ROUND
    assert replay.snapshot is not None


@pytest.mark.parametrize("number", [1, 10, 11, 25])
async def test_crash_between_signing_and_sending(world, number):
    world.crash_on = number
    with pytest.raises(ExceptionGroup):
        await feed(world, range(1, 31))
    assert number not in [envelope.body.segment for envelope in world.sent]
    signed = await world.store.statement(b"\x0a" + number.to_bytes(8, "big"))
    world.crash_on = None
    world.reopen()
    world.now_ms += 77
    driver = world.driver()
    async with trio.open_nursery() as nursery:
        machine = await nursery.start(driver.run)
        for n in range(machine.taken + 1, 31):
            await driver.submit(SettleFailed(n, ""))
        while len(machine.said) < 30:
            await driver.wait_changed()
        nursery.cancel_scope.cancel()
    assert machine.taken == 30
    assert decode(signed) in world.sent
    by_number = {}
    for envelope in world.sent:
        assert by_number.setdefault(envelope.body.segment, envelope) == envelope
    assert set(by_number) == set(range(1, 31))
    assert [decode_decided(raw).value.round for raw in await world.store.decided(1, 9)] == [1, 2, 3]


async def test_a_crash_before_the_decided_round_is_saved(world, monkeypatch):
    async def broken(number, record):
        raise OSError("crash")

    monkeypatch.setattr(world.store, "save_decided", broken)
    with pytest.raises(ExceptionGroup):
        await feed(world, range(1, PER_ROUND + 1))
    world.reopen()
    await feed(world, [])
    assert len(await world.store.decided(1, 9)) == 1


async def test_waiting_inputs_share_one_fsync(world, monkeypatch):
    batches = []
    append = world.store.append

    async def counted(records, events=()):
        batches.append(len(records))
        return await append(records, events)

    monkeypatch.setattr(world.store, "append", counted)
    driver = world.driver()
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        for number in range(1, 51):
            assert driver.offer(SettleFailed(number, ""))
        while driver.machine.taken < 50:
            await driver.wait_changed()
        nursery.cancel_scope.cancel()
    assert batches[0] == 50


async def test_a_full_inbox_drops_and_counts(world):
    driver = world.driver(capacity=2)
    assert [driver.offer(SettleFailed(n, "")) for n in (1, 2, 3)] == [True, True, False]
    assert driver.dropped == 1


async def test_submit_returns_when_it_is_on_disk(world):
    driver = world.driver()
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.run)
        await driver.submit(SettleFailed(1, ""))
        assert len((await world.store.replay()).records) >= 1
        nursery.cancel_scope.cancel()


def trio_time():
    return SimpleNamespace(now_ms=lambda: 1_000 + round(trio.current_time() * 1_000))


@pytest.fixture
def mock_clock():
    return MockClock(autojump_threshold=0.2)


async def test_the_deadline_brings_a_tick(tmp_path, mock_clock):
    world = World(tmp_path / "node.db")
    driver = world.driver()
    driver._clock = trio_time()
    start = driver._clock.now_ms()
    async with trio.open_nursery() as nursery:
        machine = await nursery.start(driver.run)
        machine.due = start + 4_500
        await driver.submit(SettleFailed(1, ""))
        with trio.fail_after(100):
            while not machine.ticks:
                await driver.wait_changed()
        nursery.cancel_scope.cancel()
    assert start + 4_500 <= machine.ticks[0] <= start + 4_600
    world.store.close()


async def test_a_machine_always_due_does_not_spin(tmp_path, mock_clock):
    class Restless(ToyMachine):
        def next_deadline_ms(self):
            return 0

    world = World(tmp_path / "node.db")
    driver = world.driver(Restless)
    driver._clock = trio_time()
    async with trio.open_nursery() as nursery:
        machine = await nursery.start(driver.run)
        while len(machine.ticks) < 5:
            await driver.wait_changed()
        nursery.cancel_scope.cancel()
    gaps = [
        later - earlier for earlier, later in zip(machine.ticks, machine.ticks[1:], strict=False)
    ]
    assert min(gaps) >= driver_module.MIN_TICK_MS
    world.store.close()


async def test_time_never_goes_back_for_the_machine(world):
    driver = world.driver()
    async with trio.open_nursery() as nursery:
        machine = await nursery.start(driver.run)
        world.now_ms = 5_000
        await driver.submit(SettleFailed(1, ""))
        while len(machine.said) < 1:
            await driver.wait_changed()
        world.now_ms = 10
        await driver.submit(SettleFailed(2, ""))
        while len(machine.said) < 2:
            await driver.wait_changed()
        nursery.cancel_scope.cancel()
    times = [int.from_bytes(envelope.body.input_hash, "big") for envelope in world.sent]
    assert times == [5_000, 5_000]


async def test_long_journals_are_cut_without_a_decision(world, monkeypatch):
    monkeypatch.setattr(driver_module, "MAX_JOURNAL", 6)
    await feed(world, range(1, 9))
    assert len((await world.store.replay()).records) < 6


async def test_an_effect_without_handler_is_our_bug(world):
    class Odd(ToyMachine):
        def resume(self, now_ms):
            return [StartProving(WORD, 0, WORD, False)]

    driver = world.driver(Odd)
    with pytest.raises(LocalProtocolError):
        await driver.run()


def test_twenty_kills_lose_and_double_no_statement(tmp_path):
    path = tmp_path / "node.db"
    journalled, sent = 0, {}
    for life in range(20):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.node.driver_life", str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        text = child.stdout.readline()
        time.sleep((life * 7 % 20) * 0.005)
        child.send_signal(signal.SIGKILL)
        text += child.stdout.read()
        child.stdout.close()
        child.wait()
        for line in text.split("\n")[:-1]:
            word, number, *frame = line.split()
            if word == "journalled":
                journalled = max(journalled, int(number))
            else:
                assert sent.setdefault(number, frame) == frame, "two statements for one slot"
    machine, decided, held = trio.run(inspect, path)
    assert machine.taken >= journalled >= 20
    assert decided == list(range(1, machine.taken // PER_ROUND + 1))
    for number, (frame,) in sent.items():
        assert held[int(number)] == bytes.fromhex(frame)
    assert {int(number) for number in sent} == set(range(1, len(sent) + 1))


async def inspect(path):
    """The machine after one more recovery, the decided rounds, and the guard's statements."""
    world = World(path)
    world.now_ms = time.time_ns() // 1_000_000
    driver = await feed(world, [])
    decided = [decode_decided(raw).value.round for raw in await world.store.decided(1, 1_000)]
    held = {
        number: await world.store.statement(b"\x0a" + number.to_bytes(8, "big"))
        for number in range(1, driver.machine.taken + 1)
    }
    world.store.close()
    return driver.machine, decided, held
