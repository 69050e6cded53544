"""Relays are gathered, and waiting gossip shares an RPC; both within bounds."""

from __future__ import annotations

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from node.net import compat, relays
from node.net.counters import NetCounters
from node.net.relays import Relays, shares

A, B, C = ID(b"\x00\x01a"), ID(b"\x00\x01b"), ID(b"\x00\x01c")


def message(text: bytes) -> rpc_pb2.Message:
    return rpc_pb2.Message(data=text)


async def test_a_peer_gets_in_one_rpc_what_it_is_not_known_to_have(autojump_clock):
    waiting = Relays(NetCounters())
    waiting.put(b"1", message(b"one"), {A})
    waiting.put(b"2", message(b"two"), {A})
    waiting.held_by(b"2", B)
    waiting.held_by(b"unknown", C)
    gathered = await waiting.gather()
    sent = {
        peer: [each.data for each in rpc.publish]
        for peer, rpc in shares(gathered, (A, B, C)).items()
    }
    assert sent == {B: [b"one"], C: [b"one", b"two"]}
    with trio.move_on_after(10):
        await waiting.gather()
        raise AssertionError("relayed twice")


async def test_what_comes_within_the_moment_goes_along_and_the_next_is_not_kept_waiting(
    autojump_clock, nursery
):
    waiting = Relays(NetCounters())
    waiting.put(b"1", message(b"one"), set())

    async def later() -> None:
        await trio.sleep(relays.GATHER_SECONDS / 2)
        waiting.put(b"2", message(b"two"), set())

    nursery.start_soon(later)
    began = trio.current_time()
    assert len(await waiting.gather()) == 2
    waiting.put(b"3", message(b"three"), set())
    assert len(await waiting.gather()) == 1
    assert trio.current_time() - began < 3 * relays.GATHER_SECONDS


async def test_waiting_relays_are_bounded_by_number_and_bytes(autojump_clock):
    counters = NetCounters()
    waiting = Relays(counters)
    for number in range(relays.MAX_WAITING + 5):
        waiting.put(number.to_bytes(4, "big"), message(b"x"), set())
    assert counters.drops["gossip_relay_full"] == 5
    assert len(await waiting.gather()) == relays.MAX_WAITING
    half = relays.MAX_WAITING_BYTES // 2
    for number in range(4):
        waiting.put(number.to_bytes(4, "big"), message(bytes(half)), set())
    assert len(await waiting.gather()) == 1
    assert counters.drops["gossip_relay_full"] == 5 + 3


async def test_waiting_messages_share_an_rpc_up_to_its_bound_and_control_goes_alone():
    queue = compat.BoundedRpcQueue()
    small = rpc_pb2.RPC(publish=[message(bytes(1_000))])
    control = rpc_pb2.RPC(control=rpc_pb2.ControlMessage(graft=[rpc_pb2.ControlGraft(topicID="t")]))
    subscription = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="t")])
    for rpc in (*[small] * 3, subscription, *[small] * 100):
        copy = rpc_pb2.RPC()
        copy.CopyFrom(rpc)
        assert queue.push(copy)
    assert queue.push(control, priority=True)
    popped = []
    while len(queue):
        popped.append(await queue.pop())
    assert [popped[0].HasField("control"), len(popped[0].publish)] == [True, 0]
    assert [len(popped[1].publish), len(popped[2].subscriptions)] == [3, 1]
    assert sum(len(rpc.publish) for rpc in popped) == 103
    assert len(popped) == 3 + 2
    assert all(rpc.ByteSize() <= compat.JOINED_RPC for rpc in popped)
    # All room is given back: the queue takes as many bytes as an empty one.
    big = rpc_pb2.RPC(publish=[message(bytes(compat.BoundedRpcQueue.max_bytes - 100))])
    assert queue.push(big)
