from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import trio

from node.net import PeerRecord, Refusal
from node.net.gossip import GOSSIP_PROTOCOL
from node.net.hello import HELLO_PROTOCOL
from node.net.outbox import FRAME_PROTOCOL
from node.net.streams import StreamBrokenError
from tests.node.net.conftest import eventually, operator_of


async def test_an_operator_with_its_registered_peer_id_is_admitted(world, rogue):
    node = await world.start(0)
    world.introduce(node, also=(rogue.record,))
    _, refusal = await rogue.greet(node)
    assert refusal is Refusal.NONE
    await eventually(lambda: node.net.connected() == {rogue.record.operator})


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"version": 2}, Refusal.WRONG_VERSION),
        ({"chain_id": 1}, Refusal.WRONG_CHAIN),
        ({"registry": b"\xac" * 20}, Refusal.WRONG_REGISTRY),
        ({"parameters_hash": b"\xbc" * 32}, Refusal.WRONG_PARAMETERS),
        ({"operator": b"\x99" * 20}, Refusal.UNKNOWN_OPERATOR),
        ({"operator": operator_of(1)}, Refusal.WRONG_PEER_ID),
    ],
)
async def test_each_refusal_is_told_counted_and_ends_the_connection(world, rogue, change, refusal):
    node, other = await world.start(0), await world.start(1)
    world.introduce(node, also=(rogue.record, other.record))
    conn, told = await rogue.greet(node, replace(rogue.hello, **change))
    assert told is refusal
    with trio.fail_after(5):
        await conn.event_closed.wait()
    assert node.refused[refusal.name.lower()] == 1
    assert rogue.record.operator not in node.net.connected()


async def test_a_peer_outside_the_registry_is_refused(world, rogue):
    node = await world.start(0)
    _, told = await rogue.greet(node)
    assert told is Refusal.UNKNOWN_OPERATOR


async def test_a_banned_operator_is_disconnected_and_refused_until_the_ban_ends(world, rogue):
    node = await world.start(0, ban_seconds=1.0)
    world.introduce(node, also=(rogue.record,))
    conn, _ = await rogue.greet(node)
    await eventually(node.net.connected)
    node.net.penalise(rogue.record.operator, "invalid_proof", 60)
    assert node.net.connected()
    node.net.penalise(rogue.record.operator, "invalid_proof", 60)
    with trio.fail_after(5):
        await conn.event_closed.wait()
    assert (await rogue.greet(node))[1] is Refusal.BANNED
    assert node.net.counters.penalties["invalid_proof"] == 120
    await trio.sleep(1.0)
    assert (await rogue.greet(node))[1] is Refusal.NONE


@pytest.mark.parametrize("raw", [b"", b"\0" * 97, b"\xff" * 4, struct.pack(">I", 1 << 30)])
async def test_a_malformed_hello_is_refused(world, rogue, raw):
    node = await world.start(0)
    world.introduce(node, also=(rogue.record,))
    conn = await rogue.dial(node)
    stream = await rogue.open(conn, HELLO_PROTOCOL)
    await stream.write(raw if len(raw) == 4 else struct.pack(">I", len(raw)) + raw)
    assert (await stream.read_frame(17))[0] == Refusal.MALFORMED
    assert node.refused["malformed"] == 1


async def test_a_peer_that_says_nothing_is_closed(world, rogue):
    node = await world.start(0, hello_timeout=0.3)
    conn = await rogue.dial(node)
    with trio.fail_after(5):
        await conn.event_closed.wait()
    assert node.refused["timeout"] == 1


@pytest.mark.parametrize("protocol", [FRAME_PROTOCOL, GOSSIP_PROTOCOL, "/provernet/1/blob"])
async def test_nothing_is_taken_before_hello(world, rogue, protocol):
    node = await world.start(0, hello_timeout=1.0)
    world.introduce(node, also=(rogue.record,))
    conn = await rogue.dial(node)
    stream = await rogue.open(conn, protocol)
    await stream.write(struct.pack(">I", 5) + b"hello")
    with pytest.raises(StreamBrokenError):
        await stream.read_exactly(1)
    await eventually(lambda: node.drops["before_hello"] == 1)
    assert not node.net.counters.frames_in


async def test_an_operator_that_leaves_the_registry_is_disconnected_and_one_that_joins_is_dialled(
    world,
):
    first, second = await world.pair()
    third = await world.start(2)
    first.net.set_operators({third.operator: third.record})
    third.net.set_operators({first.operator: first.record})
    await eventually(lambda: first.net.connected() == {third.operator})
    await eventually(lambda: not second.net.connected())
    await eventually(lambda: first.refused["unknown_operator"])


async def test_an_operator_that_changes_its_peer_id_on_chain_must_use_the_new_one(world):
    first, second = await world.pair()
    third = await world.start(2)
    moved = PeerRecord(second.operator, third.net.peer_id, third.net.listen_addresses())
    first.net.set_operators({second.operator: moved})
    await eventually(lambda: not first.net.connected())
    await eventually(lambda: first.refused["wrong_peer_id"])


async def test_an_operator_that_registers_anothers_peer_id_does_not_get_its_gossip(world):
    first, second = await world.pair()
    thief = PeerRecord(b"\x00" * 19 + b"\x01", second.net.peer_id, second.record.multiaddrs)
    first.net.set_operators({thief.operator: thief, second.operator: second.record})
    await second.net.broadcast(b"mine", reliable=False)
    assert (await first.receive()).operator == second.operator
    # Without a hello nobody can tell whose it is, so nobody gets it.
    assert first.net._peers.operator_of(second.net.peer_id) == second.operator
    first.net._peers._admitted.clear()
    assert first.net._peers.operator_of(second.net.peer_id) is None


async def test_two_that_dial_each_other_at_once_keep_one_connection(world):
    first, second = await world.start(0, yield_delay=0.0), await world.start(1, yield_delay=0.0)
    await world.connect(first, second)
    swarms = [n.net._host.get_network() for n in (first, second)]
    await eventually(lambda: all(len(s.get_connections()) == 1 for s in swarms))
    await first.net.send(second.operator, b"still here")
    assert (await second.receive()).frame == b"still here"
