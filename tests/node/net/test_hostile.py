"""What a peer with a valid registration can throw at a node that must go on serving the others."""

from __future__ import annotations

import os
import struct
from collections import Counter
from contextlib import suppress

import pytest
import trio
import trio.lowlevel
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.utils import encode_varint_prefixed

from node.net.blobs import BLOB_PROTOCOL
from node.net.gossip import GOSSIP_PROTOCOL
from node.net.outbox import FRAME_PROTOCOL
from node.net.records import MAX_STREAM_FRAME, Ack
from node.net.streams import StreamBrokenError
from tests.node.net.conftest import eventually, frame


@pytest.fixture
async def scene(world, rogue):
    """Two honest nodes and an admitted rogue connected to the first."""
    first = await world.start(0, io_timeout=1.0, ban_points=1e6)
    second = await world.start(1)
    world.introduce(first, second, also=(rogue.record,))
    conn, _ = await rogue.greet(first)
    await eventually(lambda: len(first.net.connected()) == 2)
    await eventually(lambda: second.operator in first.net.gossip_reaches())
    return first, second, conn


async def alive(first, second):
    await second.net.send(first.operator, b"alive?")
    while (await first.receive()).frame != b"alive?":
        pass
    await first.net.broadcast(b"alive!", reliable=False)
    while (await second.receive()).frame != b"alive!":
        pass


GARBAGE = (
    b"\0",
    b"\0" * 64,
    b"\xff" * 64,
    b"\x7f" + b"\xff" * 127,  # a whole RPC of garbage
    b"\x05\x0a\xff\xff\xff\xff",  # a field longer than its message
)


@pytest.mark.parametrize("protocol", [FRAME_PROTOCOL, GOSSIP_PROTOCOL, BLOB_PROTOCOL])
async def test_garbage(scene, rogue, protocol):
    first, second, conn = scene
    for garbage in GARBAGE:
        # One frame stream at a time: a second is refused while the first is stuck in its garbage.
        with suppress(StreamBrokenError):
            stream = await rogue.open(conn, protocol)
            await stream.write(garbage)
            await stream.close()
    await alive(first, second)
    assert not first.net.counters.frames_in["gossip"]


async def test_random_bytes_on_every_protocol(scene, rogue):
    first, second, _ = scene
    for _ in range(10):
        conn, _ = await rogue.greet(first)
        for protocol in (FRAME_PROTOCOL, GOSSIP_PROTOCOL, BLOB_PROTOCOL):
            try:
                stream = await rogue.open(conn, protocol)
                await stream.write(os.urandom(3000))
            except StreamBrokenError:
                pass
    await alive(first, second)


async def test_malformed_protobuf_costs_points_and_the_stream(scene, rogue):
    first, second, conn = scene
    stream = await rogue.open(conn, GOSSIP_PROTOCOL)
    await stream.write(b"\x04\xff\xff\xff\xff")
    with pytest.raises(StreamBrokenError):
        await stream.read_exactly(1)
    assert first.drops["gossip_malformed"] == 1
    assert first.net.counters.penalties["gossip_malformed"] == 20
    await alive(first, second)


async def test_an_oversized_stream_frame_is_refused_and_costs_points(scene, rogue):
    first, second, conn = scene
    stream = await rogue.open(conn, FRAME_PROTOCOL)
    await stream.write(struct.pack(">I", MAX_STREAM_FRAME + 1))
    assert await stream.read_exactly(1) == bytes([Ack.TOO_LARGE])
    assert first.drops["frame_too_large"] == 1
    assert first.net.counters.penalties["frame_too_large"] == 20
    await alive(first, second)


@pytest.mark.parametrize("length", [b"\x81\x80\x40", b"\xff\xff\xff\x7f", b"\xff" * 9 + b"\x01"])
async def test_an_oversized_gossip_rpc_is_refused(scene, rogue, length):
    first, second, conn = scene
    stream = await rogue.open(conn, GOSSIP_PROTOCOL)
    await stream.write(length)
    await eventually(lambda: first.drops["gossip_too_large"])
    await alive(first, second)


async def test_an_oversized_gossip_message_is_refused(scene, rogue):
    first, second, conn = scene
    stream = await rogue.open(conn, GOSSIP_PROTOCOL)
    message = rpc_pb2.Message(data=b"x" * (600 * 1024), topicIDs=["provernet/1"], seqno=b"1")
    await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
    await eventually(lambda: first.drops["gossip_too_large"])
    await alive(first, second)


@pytest.mark.parametrize("signature", [b"", b"\0" * 64])
async def test_an_unsigned_or_forged_gossip_message_is_refused_and_not_relayed(
    scene, rogue, signature
):
    first, second, conn = scene
    stream = await rogue.open(conn, GOSSIP_PROTOCOL)
    origin = second.net._host.get_id().to_bytes()
    message = rpc_pb2.Message(
        data=b"forged", topicIDs=["provernet/1"], from_id=origin, seqno=b"1", signature=signature
    )
    await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
    await eventually(lambda: first.drops["gossip_bad_signature"])
    await alive(first, second)
    assert second.net.counters.frames_in["gossip"] == 1


async def test_a_signed_gossip_message_of_a_stranger_is_refused(scene, rogue):
    first, second, conn = scene
    keys = create_new_key_pair()
    message = rpc_pb2.Message(
        data=b"stranger",
        topicIDs=["provernet/1"],
        from_id=ID.from_pubkey(keys.public_key).to_bytes(),
        seqno=b"1",
    )
    message.signature = keys.private_key.sign(
        PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString()
    )
    stream = await rogue.open(conn, GOSSIP_PROTOCOL)
    await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
    await eventually(lambda: first.drops["gossip_unknown_origin"])
    await alive(first, second)
    assert second.net.counters.frames_in["gossip"] == 1


async def test_an_empty_frame_is_refused_and_the_stream_goes_on(scene, rogue):
    first, _, conn = scene
    stream = await rogue.open(conn, FRAME_PROTOCOL)
    await stream.write(frame(b"") + frame(b"x"))
    assert await stream.read_exactly(2) == bytes([Ack.MALFORMED, Ack.OK])
    assert (await first.receive()).frame == b"x"


async def test_a_slow_loris_inside_a_frame_is_cut(scene, rogue):
    first, second, conn = scene
    stream = await rogue.open(conn, FRAME_PROTOCOL)
    await stream.write(struct.pack(">I", 100) + b"only ten..")
    with pytest.raises(StreamBrokenError):
        await stream.read_exactly(1)
    await alive(first, second)


async def test_a_peer_that_never_reads_its_acknowledgements_is_cut_and_blocks_nobody(scene, rogue):
    first, second, conn = scene
    # The rogue accepts no frame stream at all, so this node's outbox to it never moves.
    await first.net.send(rogue.record.operator, b"never acknowledged")
    await alive(first, second)
    stream = await rogue.open(conn, FRAME_PROTOCOL)
    await stream.write(frame(b"x") * 1000)
    await alive(first, second)


async def test_a_flood_of_frames_is_limited_banned_and_survived(world, rogue):
    first, second = await world.start(0, rate_frames=50, burst_frames=100), await world.start(1)
    world.introduce(first, second, also=(rogue.record,))
    conn, _ = await rogue.greet(first)
    await eventually(lambda: len(first.net.connected()) == 2)
    await eventually(lambda: second.operator in first.net.gossip_reaches())
    stream = await rogue.open(conn, FRAME_PROTOCOL)
    with pytest.raises(StreamBrokenError):
        for _ in range(200):
            await stream.write(frame(b"flood") * 100)
            await stream.read_exactly(100)
    assert first.drops["rate_limited"] >= 100
    await eventually(lambda: rogue.record.operator not in first.net.connected())
    await alive(first, second)


async def test_a_flood_of_gossip_is_limited_and_survived(world, rogue):
    first, second = await world.start(0, rate_frames=50, burst_frames=100), await world.start(1)
    world.introduce(first, second, also=(rogue.record,))
    conn, _ = await rogue.greet(first)
    await eventually(lambda: len(first.net.connected()) == 2)
    await eventually(lambda: second.operator in first.net.gossip_reaches())
    stream = await rogue.open(conn, GOSSIP_PROTOCOL)
    with pytest.raises(StreamBrokenError):
        for _ in range(1000):
            await stream.write(b"\0" * 100)
            await trio.lowlevel.checkpoint()
    assert first.drops["gossip_rate_limited"] >= 100
    await alive(first, second)


async def test_streams_without_end_are_capped(scene, rogue):
    first, second, conn = scene
    with pytest.raises(StreamBrokenError):
        for _ in range(200):
            await rogue.open(conn, FRAME_PROTOCOL)
    await alive(first, second)


async def test_who_fills_the_queue_leaves_room_for_the_others(world, rogue):
    first = await world.start(0, inbound_frames=64, ban_points=1e6)
    second = await world.start(1)
    world.introduce(first, second, also=(rogue.record,))
    conn, _ = await rogue.greet(first)
    await eventually(lambda: second.operator in first.net.gossip_reaches())
    stream = await rogue.open(conn, FRAME_PROTOCOL)
    await stream.write(b"".join(frame(bytes([number])) for number in range(200)))
    acks = Counter(await stream.read_exactly(200))
    assert acks == {Ack.OK: 16, Ack.FULL: 184}
    # Nobody has read anything yet: what the other sends finds its place all the same.
    await alive(first, second)
