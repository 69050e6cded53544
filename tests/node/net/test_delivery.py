from __future__ import annotations

import time
from dataclasses import replace

import pytest
import trio

from node.net.records import MAX_GOSSIP_FRAME, MAX_STREAM_FRAME
from protocol.errors import LocalProtocolError


async def test_send_reaches_one_operator_and_names_its_sender(world):
    first, second = await world.pair()
    await first.net.send(second.operator, b"hello")
    got = await second.receive()
    assert (got.operator, got.frame, got.via) == (first.operator, b"hello", "stream")


async def test_largest_frames_pass_and_larger_ones_are_our_bug(world):
    first, second = await world.pair()
    await first.net.send(second.operator, b"s" * MAX_STREAM_FRAME)
    assert len((await second.receive()).frame) == MAX_STREAM_FRAME
    await first.net.broadcast(b"g" * MAX_GOSSIP_FRAME, reliable=False)
    assert len((await second.receive()).frame) == MAX_GOSSIP_FRAME
    for frame in (b"", b"x" * (MAX_STREAM_FRAME + 1)):
        with pytest.raises(LocalProtocolError):
            await first.net.send(second.operator, frame)
    for frame in (b"", b"x" * (MAX_GOSSIP_FRAME + 1)):
        with pytest.raises(LocalProtocolError):
            await first.net.broadcast(frame, reliable=False)


async def test_a_reliable_broadcast_comes_once_though_it_travels_twice(world):
    nodes = [await world.start(i) for i in range(3)]
    await world.connect(*nodes)
    await nodes[0].net.broadcast(b"bid", reliable=True)
    for node in nodes[1:]:
        assert (await node.receive()).frame == b"bid"
    await nodes[0].net.send(nodes[1].operator, b"end")
    assert (await nodes[1].receive()).frame == b"end"


async def test_the_same_bytes_sent_twice_come_twice(world):
    first, second = await world.pair()
    for _ in range(2):
        await first.net.send(second.operator, b"again")
    assert [(await second.receive()).frame for _ in range(2)] == [b"again"] * 2


async def test_gossip_of_an_operator_that_is_not_connected_is_relayed_under_its_own_name(world):
    a, b, c = [await world.start(i) for i in range(3)]
    world.introduce(a, b, c)
    everyone = {n.operator: n.record for n in (a, b, c)}
    # a and c know each other's identity but not each other's address.
    nowhere_c = world_record(c)
    nowhere_a = world_record(a)
    a.net.set_operators(everyone | {c.operator: nowhere_c})
    c.net.set_operators(everyone | {a.operator: nowhere_a})
    from_b = {n.operator for n in (a, c)}
    with trio.fail_after(30):
        while b.net.gossip_reaches() != from_b:
            await trio.sleep(0.01)
    await a.net.broadcast(b"relay me", reliable=False)
    got = await c.receive()
    assert (got.operator, got.frame) == (a.operator, b"relay me")


def world_record(node):
    return replace(node.record, multiaddrs=())


async def test_a_full_reader_defers_streams_drops_gossip_and_loses_no_acknowledged_frame(world):
    first = await world.start(0)
    second = await world.start(1, inbound_frames=4)
    await world.connect(first, second)
    for number in range(50):
        await first.net.send(second.operator, bytes([number, 1]))
    with trio.fail_after(30):
        while not second.drops["inbound_full"]:
            await trio.sleep(0.01)
    got = {(await second.receive()).frame[0] for _ in range(50)}
    assert got == set(range(50))


async def test_an_outbox_drops_its_oldest_frames_and_counts_them(world):
    first, second = await world.start(0, outbox_frames=3), await world.start(1)
    world.introduce(first, second)
    await second.stop()
    with trio.fail_after(30):
        while first.net.connected():
            await trio.sleep(0.01)
    for number in range(5):
        await first.net.send(second.operator, bytes([number + 1]))
    assert first.drops["outbox_full"] == 2


async def test_a_frame_for_a_peer_that_stays_away_expires_and_is_counted(world):
    first, second = await world.start(0, send_expiry=0.2), await world.start(1)
    record = second.record
    await second.stop()
    first.net.set_operators({second.operator: record})
    await first.net.send(second.operator, b"too late")
    with trio.fail_after(30):
        while not first.drops["send_expired"]:
            await trio.sleep(0.01)


async def test_sending_to_a_stranger_is_counted(world):
    first = await world.start(0)
    await first.net.send(b"\x77" * 20, b"x")
    assert first.drops["send_unknown_operator"] == 1


@pytest.mark.parametrize("size", [4, 10])
async def test_broadcast_reaches_everyone(world, size, record_property):
    nodes = [await world.start(i) for i in range(size)]
    await world.connect(*nodes)
    latencies: list[float] = []
    rounds = 10

    async def read(node):
        for _ in range(rounds):
            sent_at = float((await node.receive()).frame.decode())
            latencies.append((time.perf_counter() - sent_at) * 1000)

    async with trio.open_nursery() as nursery:
        for node in nodes[1:]:
            nursery.start_soon(read, node)
        for _ in range(rounds):
            await nodes[0].net.broadcast(str(time.perf_counter()).encode(), reliable=True)
            await trio.sleep(0.05)
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    record_property("p50_ms", p50)
    record_property("p99_ms", p99)
    print(f"{size} nodes: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert len(latencies) == rounds * (size - 1)
