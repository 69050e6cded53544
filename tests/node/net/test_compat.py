"""One test per fault of py-libp2p 0.8.1 that the adapter mends, shown to fail unmended.

fault                                         test
a handler's exception ends the host           stream_handler_exception
a background task's exception ends a service  service_task_exception
a cancelled write leaves half a frame         half_frame, peer_that_does_not_read
a window update after every small read        window_updates
the receive window is not enforced            window_overrun
a signed record checked on every RPC          signed_records
outbound queues of 32 RPCs drop silently      outbound_burst, queue_bytes
10 messages a second and topic, silently      outbound_burst
two nodes share a port silently               port_in_use
sequence numbers from the wall clock second   sequence_numbers_after_restart
250 ms per dialled address, own retry memory  only_the_supervisor_dials
IDONTWANT; a heartbeat of 120 s               gossip_parameters
an inbound slot held until the host stops     inbound_slots
300 idle sockets block newcomers              idle_sockets
a TLS key in a temporary file per connection  tls_context
peer exchange dials what a peer names         peer_exchange
time stamps kept for ever                     delivery_times
a thread per pubsub that nobody stops         threads
a stopped host keeps its port                 ports_are_free_after_stop
more than Yamux over TLS on offer             only_tls, only_our_protocols
gossip above 1 MiB is lost silently           test_delivery: largest frames
request_response fails on large or no data    test_blobs, test_hostile
no reconnect, penalties forgotten             test_reconnect
no flood publishing, a lost gossip stream     test_reconnect: gossip_flows_again
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import create_signed_peer_record
from libp2p.pubsub import gossipsub, pubsub
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service import Service, background_trio_service
from libp2p.tools.anyio_service.trio_manager import TrioManager
from libp2p.transport.tcp import tcp
from multiaddr import Multiaddr

from node.net import NetError, compat
from node.net import host as host_module
from node.net.host import CachedTls, OperatorSwarm, build_host, dial
from node.net.identity import key_pair_of
from node.net.records import NetConfig
from node.net.streams import StreamBrokenError, open_stream
from tests.node.net.conftest import LOOPBACK, Rogue, eventually, running, seed_of


@contextmanager
def library_behaviour(owner: Any, name: str) -> Iterator[None]:
    """The library as it is, without our change."""
    ours = getattr(owner, name)
    setattr(owner, name, compat.ORIGINALS[(owner, name)])
    try:
        yield
    finally:
        setattr(owner, name, ours)


async def nothing(_: object) -> None:
    await trio.lowlevel.checkpoint()


@pytest.fixture(autouse=True)
def _installed() -> None:
    compat.install()


def test_the_version_is_pinned(monkeypatch):
    monkeypatch.setattr(compat, "version", lambda _: "0.8.2")
    with pytest.raises(RuntimeError):
        compat.install()


# ------------------------------------------------------------------ exceptions


async def _host_survives_handler(folder) -> bool:
    config = NetConfig(listen=(LOOPBACK,), blob_dir=folder)
    victim = build_host(config, key_pair_of(seed_of(0)), host_module.NetCounters())
    rogue = build_host(config, key_pair_of(seed_of(1)), host_module.NetCounters())

    async def fail(stream: Any) -> None:
        raise KeyError("from a peer's bytes")

    async def echo(stream: Any) -> None:
        await stream.write(await stream.read(4))

    victim.set_stream_handler("/fail", fail)
    victim.set_stream_handler("/echo", echo)
    try:
        async with running(rogue), victim.run([Multiaddr(LOOPBACK)]):
            conn = await dial(rogue, str(victim.get_id()), str(victim.get_addrs()[0]), 3)
            assert conn is not None
            with suppress(StreamBrokenError):
                await open_stream(conn, "/fail", 2)
            stream = await open_stream(conn, "/echo", 2)
            await stream.write(b"ping")
            return await stream.read_exactly(4) == b"ping"
    except (StreamBrokenError, BaseExceptionGroup):
        return False


async def test_stream_handler_exception(tmp_path):
    assert await _host_survives_handler(tmp_path)
    with library_behaviour(SwarmConn, "_handle_muxed_stream"):
        assert not await _host_survives_handler(tmp_path)


class _Service(Service):
    async def run(self) -> None:
        await self.manager.wait_finished()


async def _service_survives_task() -> bool:
    async def fail() -> None:
        raise KeyError("a peer vanished")

    service = _Service()
    try:
        async with background_trio_service(service) as manager:
            manager.run_task(fail)
            await trio.testing.wait_all_tasks_blocked()
            return bool(manager.is_running)
    except BaseExceptionGroup:
        return False


async def test_service_task_exception():
    assert await _service_survives_task()
    with library_behaviour(TrioManager, "run_task"):
        assert not await _service_survives_task()


# ------------------------------------------------------------------ yamux


class _Wire:
    """A secured connection that writes in two steps."""

    is_initiator = True

    def __init__(self, *, stuck: bool = False) -> None:
        self.written = b""
        self.closed = False
        self.stuck = stuck

    async def write(self, data: bytes) -> None:
        self.written += data[: len(data) // 2]
        await trio.sleep(1e9 if self.stuck else 1)
        self.written += data[len(data) // 2 :]

    async def close(self) -> None:
        self.closed = True


async def _frame_is_whole() -> bool:
    wire = _Wire()
    muxer = yamux.Yamux(wire, ID(b"peer"))
    with trio.move_on_after(0.5):
        await muxer._write_frame(b"x" * 100)
    return len(wire.written) == 100


async def test_half_frame(autojump_clock):
    assert await _frame_is_whole()
    with library_behaviour(yamux.Yamux, "_write_frame"):
        assert not await _frame_is_whole()


async def test_peer_that_does_not_read(autojump_clock):
    wire = _Wire(stuck=True)
    muxer = yamux.Yamux(wire, ID(b"peer"))
    with pytest.raises(MuxedStreamError), trio.fail_after(60):
        await muxer._write_frame(b"x" * 100)
    assert wire.closed
    with library_behaviour(yamux.Yamux, "_write_frame"), pytest.raises(trio.TooSlowError):
        with trio.fail_after(60):
            await muxer._write_frame(b"x" * 100)


async def _updates_for_small_reads(*, lazy: bool) -> int:
    muxer = yamux.Yamux(_Wire(), ID(b"peer"))
    stream = yamux.YamuxStream(1, muxer, is_initiator=True)
    sent: list[int] = []

    async def send(increment: int, skip_lock: bool = False) -> None:
        sent.append(increment)

    stream.send_window_update = send
    stream.lazy_window = lazy
    for _ in range(1000):
        await stream._auto_tune_and_send_window_update(bytes_read=200)
    # Every byte is credited in the end, or the sender would stall.
    assert sum(sent) >= 200 * 1000 - stream.target_recv_window
    return len(sent)


async def test_window_updates():
    assert await _updates_for_small_reads(lazy=True) == 1
    with library_behaviour(yamux.YamuxStream, "_auto_tune_and_send_window_update"):
        assert await _updates_for_small_reads(lazy=True) > 900


def _buffered(muxer: Any) -> int:
    muxer.stream_buffers[1] = bytearray()
    try:
        for _ in range(100):
            muxer.stream_buffers[1].extend(bytes(1 << 20))
    except MuxedStreamError:
        pass
    return len(muxer.stream_buffers[1])


async def test_window_overrun():
    assert _buffered(yamux.Yamux(_Wire(), ID(b"peer"))) <= compat.STREAM_BUFFER
    with library_behaviour(yamux.Yamux, "__init__"):
        assert _buffered(yamux.Yamux(_Wire(), ID(b"peer"))) == 100 << 20


# ------------------------------------------------------------------ gossip


async def test_signed_records(world):
    node = await world.start(0)
    host, peer = node.net._host, ID(b"peer")
    junk = rpc_pb2.RPC(senderRecord=b"costly to refuse")
    assert node.net._pubsub.get_hello_packet().senderRecord == b""
    assert pubsub.maybe_consume_signed_record(junk, host, peer)
    with library_behaviour(pubsub, "env_to_send_in_RPC"):
        assert len(node.net._pubsub.get_hello_packet().senderRecord) > 50
    for module in (pubsub, gossipsub):
        with library_behaviour(module, "maybe_consume_signed_record"):
            assert not module.maybe_consume_signed_record(junk, host, peer)


async def _burst(first, second, size: int) -> int:
    # In one go: the sending task gets no turn in between, as when a node catches up.
    for number in range(size):
        await first.net._pubsub.publish("provernet/1", b"%d" % number)
    got = 0
    with trio.move_on_after(2):
        while got < size:
            await second.net.inbound.receive()
            got += 1
    return got


async def test_outbound_burst(world):
    first, second = await world.pair()
    assert await _burst(first, second, 300) == 300
    first.net._router.spam_protection_enabled = True
    assert await _burst(first, second, 300) < 300


async def test_the_librarys_queue_refuses_a_burst(world, monkeypatch):
    refused = []

    class Counting(compat.ORIGINALS[(pubsub, "RpcQueue")]):
        def push(self, rpc, priority=False):
            taken = super().push(rpc, priority)
            if not taken:
                refused.append(rpc)
            return taken

    monkeypatch.setattr(pubsub, "RpcQueue", Counting)
    # What was refused may still arrive, when gossip about it does: count it where it is lost.
    await _burst(*await world.pair(), 300)
    assert refused


async def test_queue_bytes():
    queue = compat.BoundedRpcQueue()
    rpc = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=bytes(512 * 1024))])
    taken = sum(queue.push(rpc) for _ in range(100))
    assert taken * rpc.ByteSize() <= compat.BoundedRpcQueue.max_bytes < 100 * rpc.ByteSize()
    await queue.pop()
    assert queue.push(rpc)


async def test_gossip_parameters(world):
    router = (await world.start(0)).net._router
    assert router.protocols == [PROTOCOL_ID_V11]
    assert router.heartbeat_interval == 1


async def _gossip_after_restart(world, restarted: int, reader: int) -> int:
    writer, other = await world.start(restarted), await world.start(reader)
    await world.connect(writer, other)
    await writer.net.broadcast(b"before", reliable=False)
    assert (await other.receive()).frame == b"before"
    await writer.stop()
    again = await world.start(restarted)
    await world.connect(again, other)
    await again.net.broadcast(b"after", reliable=False)
    with trio.move_on_after(1.5):
        return int((await other.net.inbound.receive()).frame == b"after")
    return 0


async def test_sequence_numbers_after_restart(world, monkeypatch):
    assert await _gossip_after_restart(world, 0, 1)
    # As in the library: the same start for two lives within one second.
    monkeypatch.setattr("node.net.gossip.time.time_ns", lambda: 1_700_000_000)
    assert not await _gossip_after_restart(world, 2, 3)


async def test_peer_exchange(world):
    node = await world.start(0)
    keys = key_pair_of(seed_of(9))
    name = ID.from_pubkey(keys.public_key)
    record = create_signed_peer_record(name, [Multiaddr("/ip4/127.0.0.1/tcp/1")], keys.private_key)
    stranger = rpc_pb2.PeerInfo(peerID=name.to_bytes(), signedPeerRecord=record.marshal_envelope())
    dialled: list[ID] = []

    async def connect(info: Any) -> None:
        dialled.append(info.peer_id)

    node.net._host.connect = connect
    await node.net._router._do_px([stranger])
    assert not dialled
    await GossipSub._do_px(node.net._router, [stranger])
    assert dialled == [name]


async def test_delivery_times(world):
    first, _ = await world.pair()
    for _ in range(5):
        await first.net.broadcast(b"x", reliable=False)
    assert not first.net._router.recent_message_deliveries


# ------------------------------------------------------------------ connections


async def test_port_in_use(world, monkeypatch):
    node = await world.start(0)
    address = node.net.listen_addresses()[0].rsplit("/p2p/")[0]
    with pytest.raises(NetError):
        await world.start(1, listen=address)
    with library_behaviour(tcp, "_open_reuseport_listeners"):
        third = await world.start(2)
        address = third.net.listen_addresses()[0].rsplit("/p2p/")[0]
        monkeypatch.setattr("node.net.network.check_free", nothing)
        await world.start(3, listen=address)


async def test_only_the_supervisor_dials(world):
    first, second = await world.start(0), await world.start(1)
    host = first.net._host
    peer = second.net._host.get_id()
    host.get_peerstore().add_addrs(peer, second.net._host.get_addrs(), 100)
    with pytest.raises(SwarmException):
        await host.get_network().dial_peer(peer)
    with pytest.raises(SwarmException):
        await host.new_stream(peer, [PROTOCOL_ID_V11])


async def _accepted(world, rogue: Rogue, index: int) -> int:
    node = await world.start(index, connections=4)
    accepted = 0
    for _ in range(8):
        (address,) = node.net.listen_addresses()
        conn = await dial(rogue.host, node.net.peer_id, address, 2)
        if conn is not None:
            accepted += 1
            await conn.close()
            swarm = node.net._host.get_network()
            await eventually(lambda swarm=swarm: not swarm.get_connections())
    return accepted


async def test_inbound_slots(world, rogue, monkeypatch):
    assert await _accepted(world, rogue, 0) == 8
    monkeypatch.setattr(
        OperatorSwarm, "_handle_inbound_connection", Swarm._handle_inbound_connection
    )
    assert await _accepted(world, rogue, 1) == 4


async def test_idle_sockets(world):
    first = await world.start(0, pending_per_ip=8, hello_timeout=8.0)
    second = await world.start(1)
    port = int(first.net.listen_addresses()[0].split("/")[4])
    idle = [
        await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") for _ in range(100)
    ]
    await eventually(lambda: first.refused["pending_cap"] == 92)
    with trio.fail_after(4):
        await world.connect(first, second)
    for stream in idle:
        await stream.aclose()


def test_tls_context(monkeypatch):
    files = 0
    original = tempfile.NamedTemporaryFile

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal files
        files += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", count)
    transport = CachedTls(key_pair_of(seed_of(0)))
    for _ in range(5):
        transport.create_ssl_context(server_side=True)
        transport.create_ssl_context(server_side=False)
    assert files == 4  # a certificate and a key, for each side, once
    super(CachedTls, transport).create_ssl_context(server_side=True)
    assert files == 6


@pytest.mark.parametrize("security", ["/noise", "/plaintext/2.0.0", "/secio/1.0.0"])
async def test_only_tls(world, security):
    node = await world.start(0)
    port = int(node.net.listen_addresses()[0].split("/")[4])
    line = b"/multistream/1.0.0\n"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.fail_after(3):
            await stream.send_all(bytes([len(line)]) + line)
            wish = security.encode() + b"\n"
            await stream.send_all(bytes([len(wish)]) + wish)
            answer = b""
            while b"na\n" not in answer:
                part = await stream.receive_some(1000)
                assert part, answer
                answer += part
    assert security.encode() not in answer


async def test_only_our_protocols(world, rogue):
    node = await world.start(0)
    conn = await rogue.dial(node)
    for protocol in ("/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.2.0", "/floodsub/1.0.0"):
        with pytest.raises(StreamBrokenError):
            await open_stream(conn, protocol, 2)
    muxers = node.net._host.get_network().upgrader.muxer_multistream.transports
    assert list(muxers) == [yamux.PROTOCOL_ID]


# ------------------------------------------------------------------ the end


async def test_threads(world):
    before = threading.active_count()
    node = await world.start(0)
    assert any("_background_cleanup" in t.name for t in threading.enumerate())
    await node.stop()
    assert not any("_background_cleanup" in t.name for t in threading.enumerate())
    assert threading.active_count() <= before + 2  # trio keeps idle worker threads for a while


async def test_ports_are_free_after_stop(world, monkeypatch):
    first, second = await world.pair()
    address = first.net.listen_addresses()[0].rsplit("/p2p/")[0]
    await first.stop()
    again = await world.start(0, listen=address)
    await world.connect(again, second)
    monkeypatch.setattr("node.net.network.close_listeners", nothing)
    await again.stop()
    with pytest.raises(NetError):
        await world.start(0, listen=address)
