from __future__ import annotations

import hashlib
import os
import struct

import pytest
import trio

from node.net import blobs
from node.net.blobs import BLOB_PROTOCOL, BlobHeader, PartialBlobs
from node.net.records import BLOB_CHUNK, MAX_BLOB, Ack, NetConfig
from node.net.streams import StreamBrokenError
from node.ports import UndeliveredError
from protocol.errors import LocalProtocolError
from tests.node.net.conftest import eventually, frame


@pytest.mark.parametrize("size", [1, BLOB_CHUNK, BLOB_CHUNK + 1, 9 * 1024 * 1024])
async def test_a_blob_arrives_whole_and_leaves_no_file(world, size):
    first, second = await world.pair()
    data = os.urandom(size)
    await first.net.send_blob(second.operator, b"input", data, timeout=20)
    assert second.blobs == [(first.operator, b"input", data)]
    await eventually(lambda: not list((world.folder / "1").iterdir()))


async def test_the_handlers_refusal_reaches_the_sender(world):
    first, second = await world.pair()
    world.blob_code = 77
    with pytest.raises(UndeliveredError) as caught:
        await first.net.send_blob(second.operator, b"input", b"data", timeout=5)
    assert (caught.value.reason, caught.value.code) == ("refused", 77)
    assert not list((world.folder / "1").iterdir())


@pytest.mark.parametrize(("name", "data"), [(b"", b"x"), (b"n" * 129, b"x"), (b"n", b"")])
async def test_what_can_not_be_a_blob_is_our_bug(world, name, data):
    node = await world.start(0)
    with pytest.raises(LocalProtocolError):
        await node.net.send_blob(b"\x01" * 20, name, data, timeout=1)


async def test_a_blob_for_a_stranger_or_an_absent_peer_fails_with_its_reason(world):
    first, second = await world.start(0), await world.start(1)
    with pytest.raises(UndeliveredError) as caught:
        await first.net.send_blob(second.operator, b"n", b"x", timeout=1)
    assert caught.value.reason == "unknown_operator"
    record = second.record
    await second.stop()
    first.net.set_operators({second.operator: record})
    with pytest.raises(UndeliveredError) as caught:
        await first.net.send_blob(second.operator, b"n", b"x", timeout=0.3)
    assert caught.value.reason == "timeout"


async def test_a_cut_blob_goes_on_where_it_stopped(world, nursery, monkeypatch):
    first, second = await world.pair()
    data = os.urandom(6 * 1024 * 1024)
    cut = False
    append = blobs.PartialBlob.append

    def cutting(self, chunk):
        nonlocal cut
        if not cut and self.offset > 3 * 1024 * 1024:
            cut = True
            second.net._peers.links[first.operator].session.scope.cancel()
        return append(self, chunk)

    monkeypatch.setattr(blobs.PartialBlob, "append", cutting)
    await first.net.send_blob(second.operator, b"witness", data, timeout=20)
    assert cut
    assert second.blobs == [(first.operator, b"witness", data)]
    # The second connection carried about the second half, not the whole.
    assert second.net.counters.bytes_in["blob"] < len(data) + 1024 * 1024
    assert first.drops["blob_cut"] == 1


async def _announce(rogue, conn, size, name=b"n", digest=bytes(32)):
    stream = await rogue.open(conn, BLOB_PROTOCOL)
    await stream.write(frame(struct.pack(">Q", size) + digest + name))
    code, offset = struct.unpack(">BQ", await stream.read_exactly(9))
    return stream, code, offset


@pytest.fixture
async def scene(world, rogue):
    node = await world.start(0, io_timeout=1.0)
    world.introduce(node, also=(rogue.record,))
    conn, _ = await rogue.greet(node)
    await eventually(node.net.connected)
    return node, conn


@pytest.mark.parametrize("size", [0, MAX_BLOB + 1, 2**64 - 1])
async def test_a_blob_beyond_the_cap_is_refused_before_its_first_byte(scene, rogue, size):
    _, code, _ = await _announce(rogue, scene[1], size)
    assert code == Ack.TOO_LARGE


async def test_a_chunk_with_a_wrong_hash_is_refused_and_forgotten(scene, rogue, world):
    stream, code, _ = await _announce(rogue, scene[1], 100)
    assert code == Ack.OK
    await stream.write(frame(bytes(32) + b"x" * 100))
    assert await stream.read_exactly(1) == bytes([Ack.BAD_HASH])
    await eventually(lambda: not list((world.folder / "0").iterdir()))


async def test_a_blob_that_is_not_the_announced_one_is_refused(scene, rogue):
    node, conn = scene
    stream, _, _ = await _announce(rogue, conn, 5)
    await stream.write(frame(hashlib.sha256(b"other").digest() + b"other"))
    assert await stream.read_exactly(1) == bytes([Ack.BAD_HASH])
    assert not node.blobs


@pytest.mark.parametrize("chunk", [b"", b"x" * 101])
async def test_a_chunk_beyond_the_announced_size_is_refused(scene, rogue, chunk):
    stream, _, _ = await _announce(rogue, scene[1], 100)
    await stream.write(frame(hashlib.sha256(chunk).digest() + chunk))
    assert await stream.read_exactly(1) == bytes([Ack.MALFORMED])


async def test_a_sender_that_stalls_is_cut_and_its_part_is_kept(scene, rogue):
    _, conn = scene
    stream, _, _ = await _announce(rogue, conn, 100)
    await stream.write(frame(hashlib.sha256(b"part").digest() + b"part"))
    with pytest.raises(StreamBrokenError):
        await stream.read_exactly(1)
    _, code, offset = await _announce(rogue, conn, 100)
    assert (code, offset) == (Ack.OK, 4)


async def test_one_operator_can_not_fill_the_disk_or_all_streams(world, rogue):
    node = await world.start(0, partial_bytes=1000)
    world.introduce(node, also=(rogue.record,))
    conn, _ = await rogue.greet(node)
    await eventually(node.net.connected)
    assert (await _announce(rogue, conn, 1001))[1] == Ack.BUSY
    assert (await _announce(rogue, conn, 900, b"a"))[1] == Ack.OK
    assert (await _announce(rogue, conn, 900, b"a"))[1] == Ack.BUSY  # the same one, twice at once
    await _announce(rogue, conn, 50, b"c")
    with pytest.raises(StreamBrokenError):
        await _announce(rogue, conn, 10, b"d")


def test_unfinished_blobs_are_private_and_forgotten_after_a_while(tmp_path):
    config = NetConfig(listen=(), blob_dir=tmp_path / "b", partial_age=100)
    partials = PartialBlobs(config)
    header = BlobHeader(10, bytes(32), b"n")
    blob = partials.open(b"\x01" * 20, header)
    assert blob.append(b"12345")
    assert blob.path.stat().st_mode & 0o777 == 0o600
    assert config.blob_dir.stat().st_mode & 0o777 == 0o700
    blob.close(keep=True)
    os.utime(blob.path, (0, 0))
    again = partials.open(b"\x01" * 20, header)
    assert again.offset == 0
    again.close(keep=False)


async def test_a_handler_that_fails_costs_the_node_nothing(world, nursery):
    first, second = await world.pair()

    async def fail(operator, name, path):
        raise KeyError("our bug")

    second.net._on_blob = fail
    with pytest.raises(UndeliveredError) as caught:
        await first.net.send_blob(second.operator, b"n", b"x", timeout=5)
    assert caught.value.code == Ack.HANDLER_FAILED
    await first.net.send(second.operator, b"alive")
    with trio.fail_after(5):
        assert (await second.net.inbound.receive()).frame == b"alive"
