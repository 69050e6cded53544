"""The network as the node sees it: operators in, frames and blobs out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from libp2p.abc import INotifee
from libp2p.host.basic_host import BasicHost
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from node.net import blobs, compat
from node.net.counters import NetCounters
from node.net.delivery import Delivery
from node.net.gossip import GOSSIP_PROTOCOL, OperatorGossip, OperatorPubsub, stop_threads
from node.net.hello import HELLO_PROTOCOL
from node.net.host import build_host, check_free, check_listening, close_listeners, listen_addresses
from node.net.identity import key_pair_of
from node.net.ledger import PeerLedger
from node.net.outbox import FRAME_PROTOCOL
from node.net.peers import Peers, Session
from node.net.records import (
    MAX_GOSSIP_FRAME,
    MAX_STREAM_FRAME,
    Ack,
    HelloInfo,
    Inbound,
    NetConfig,
    PeerRecord,
)
from node.net.streams import FrameTooLargeError, PeerStream, StreamBrokenError, open_stream
from node.ports import UndeliveredError
from protocol.errors import LocalProtocolError

if TYPE_CHECKING:
    # The stubs that libp2p's dependency trio-typing installs hide trio.TaskStatus from mypy.
    from trio_typing import TaskStatus

# Points of the ledger for what only a faulty or hostile peer does.
POINTS = {
    "gossip_malformed": 20.0,
    "gossip_too_large": 20.0,
    "gossip_bad_signature": 20.0,
    # An honest peer may have a whole window of frames in flight when its burst is used up.
    "rate_limited": 0.2,
    "frame_too_large": 20.0,
    "frame_empty": 10.0,
    "blob_malformed": 20.0,
}

_BLOB_RETRY = 0.2  # seconds before a cut blob is taken up again


class _Notifee(INotifee):
    """Tells us of new connections; the rest we see on the connections themselves."""

    def __init__(self, opened: Callable[[Any], None]) -> None:
        self._opened = opened

    async def connected(self, network: Any, conn: Any) -> None:  # noqa: ARG002
        self._opened(conn)

    async def disconnected(self, network: Any, conn: Any) -> None: ...
    async def opened_stream(self, network: Any, stream: Any) -> None: ...
    async def closed_stream(self, network: Any, stream: Any) -> None: ...
    async def listen(self, network: Any, multiaddr: Multiaddr) -> None: ...
    async def listen_close(self, network: Any, multiaddr: Multiaddr) -> None: ...


class Libp2pNetwork:
    """One node's place in the network. Made by `run_network` or `open_network` only."""

    def __init__(
        self, config: NetConfig, seed: bytes, hello: HelloInfo, on_blob: blobs.BlobHandler
    ) -> None:
        self.counters = NetCounters()
        self._config = config
        self._hello = hello
        self._on_blob = on_blob
        self._ledger = PeerLedger(config, self.counters)
        self._delivery = Delivery(config, self.counters)
        self._partials = blobs.PartialBlobs(config)
        self._host: BasicHost = build_host(config, key_pair_of(seed), self.counters)
        self._router = OperatorGossip(self.counters)
        self._pubsub = OperatorPubsub(
            self._host,
            self._router,
            config.topic,
            config.io_timeout,
            self.counters,
            deliver=self._gossip_arrived,
            allow=self._within_rate,
            blame=self._blame,
        )
        self._peers = Peers(
            config,
            hello,
            self._host,
            self._ledger,
            self.counters,
            hold=lambda session: self._pubsub.hold(session.conn),
            left=lambda session: self._pubsub.forget(session.conn),
        )
        self.inbound: trio.MemoryReceiveChannel[Inbound] = self._delivery.inbound
        self.peer_id = str(self._host.get_id())
        self._serve_protocols()

    # -------------------------------------------------------------- the public face

    def set_operators(self, records: Mapping[bytes, PeerRecord]) -> None:
        """Replace the set of operators; may be called at any time."""
        self._peers.set_operators(records)

    def connected(self) -> frozenset[bytes]:
        """Operators with an admitted connection, now."""
        return self._peers.connected()

    def gossip_reaches(self) -> frozenset[bytes]:
        """Connected operators that have joined the topic."""
        links = self._peers.links
        return frozenset(
            o for o in self.connected() if self._pubsub.reaches(links[o].record.peer_id)
        )

    def listen_addresses(self) -> tuple[str, ...]:
        """Multiaddrs this node really listens on, with its peer id."""
        return listen_addresses(self._host)

    def penalise(self, operator: bytes, reason: str, points: float) -> None:
        """Charge an operator; at the limit it is disconnected and banned for a while."""
        if self._ledger.penalise(operator, reason, points, trio.current_time()):
            self._peers.ban(operator)

    async def broadcast(self, frame: bytes, reliable: bool) -> None:
        """Gossip a frame; if `reliable`, also queue it for every operator as `send` does.

        Raises:
            LocalProtocolError: the frame is empty or above 512 KiB.
        """
        if not 0 < len(frame) <= MAX_GOSSIP_FRAME:
            raise LocalProtocolError(f"gossip frame of {len(frame)} bytes")
        if reliable:
            expires_at = trio.current_time() + self._config.send_expiry
            for link in self._peers.links.values():
                link.outbox.put(frame, expires_at)
        await self._pubsub.publish(self._config.topic, frame)
        await trio.lowlevel.checkpoint()

    async def send(self, operator: bytes, frame: bytes) -> None:
        """Queue a frame for one operator: at least once before the expiry, or counted as dropped.

        Raises:
            LocalProtocolError: the frame is empty or above 1 MiB.
        """
        if not 0 < len(frame) <= MAX_STREAM_FRAME:
            raise LocalProtocolError(f"stream frame of {len(frame)} bytes")
        link = self._peers.links.get(operator)
        if link is None:
            self.counters.drops["send_unknown_operator"] += 1
        else:
            link.outbox.put(frame, trio.current_time() + self._config.send_expiry)
        await trio.lowlevel.checkpoint()

    async def send_blob(self, operator: bytes, name: bytes, data: bytes, timeout: float) -> None:
        """Send a blob, over as many connections as it takes, going on where a cut left off.

        Raises:
            UndeliveredError: timeout, unknown_operator, or refused with the receiver's code.
            LocalProtocolError: the name or the data is out of bounds.
        """
        try:
            header = blobs.header_of(name, data)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from error
        with trio.move_on_after(timeout):
            while True:
                link = self._peers.links.get(operator)
                if link is None:
                    raise UndeliveredError("unknown_operator")
                if link.session is None:
                    await link.changed.wait()
                    continue
                if await self._try_blob(link.session, header, data):
                    return
                await trio.sleep(_BLOB_RETRY)
        raise UndeliveredError("timeout")

    async def _try_blob(self, session: Session, header: blobs.BlobHeader, data: bytes) -> bool:
        try:
            stream = await open_stream(session.conn, blobs.BLOB_PROTOCOL, self._config.io_timeout)
        except StreamBrokenError:
            return False
        done = False
        try:
            self.counters.bytes_out["blob"] += await blobs.send(stream, header, data)
            done = True
        except StreamBrokenError:
            self.counters.drops["blob_cut"] += 1
        except UndeliveredError as error:
            if error.code != Ack.BUSY:
                raise
        finally:
            await (stream.close() if done else stream.reset())
        return done

    # -------------------------------------------------------------- from the wire

    def _serve_protocols(self) -> None:
        host = self._host
        host.get_network().register_notifee(_Notifee(self._peers.connection_opened))

        async def hello(stream: Any) -> None:
            await self._peers.answer_hello(PeerStream(stream, self._config.hello_timeout))

        async def gossip(stream: Any) -> None:
            peer = PeerStream(stream, self._config.io_timeout)
            if await self._admitted(peer) is not None:
                await self._pubsub.stream_handler(stream)

        host.set_stream_handler(HELLO_PROTOCOL, hello)
        host.set_stream_handler(GOSSIP_PROTOCOL, gossip)
        host.set_stream_handler(FRAME_PROTOCOL, self._gated(self._take_frames))
        host.set_stream_handler(blobs.BLOB_PROTOCOL, self._gated(self._take_blob))

    def _gated(
        self, handler: Callable[[PeerStream, Session, bytes], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        async def gated(inner: Any) -> None:
            stream = PeerStream(inner, self._config.io_timeout)
            session = await self._admitted(stream)
            if session is None or session.operator is None:
                return
            try:
                await handler(stream, session, session.operator)
            except StreamBrokenError:
                await stream.reset()

        return gated

    async def _admitted(self, stream: PeerStream) -> Session | None:
        """The session of a stream once its hello is over; None, and a reset, if it was refused."""
        session = self._peers.session_of(stream.conn)
        with trio.move_on_after(self._config.hello_timeout):
            await session.greeted.wait()
            if session.admitted.is_set():
                return session
        self.counters.drops["before_hello"] += 1
        await stream.reset()
        return None

    async def _take_frames(self, stream: PeerStream, session: Session, operator: bytes) -> None:
        if session.frame_streams:
            self.counters.drops["second_frame_stream"] += 1
            await stream.reset()
            return
        session.frame_streams += 1
        stream.save_window_updates()
        try:
            while True:
                frame = await stream.read_frame(MAX_STREAM_FRAME)
                await stream.write(bytes([self._frame_arrived(operator, frame)]))
        except FrameTooLargeError:
            self._charge(operator, "frame_too_large")
            await stream.write(bytes([Ack.TOO_LARGE]))
            await stream.reset()
        finally:
            session.frame_streams -= 1

    def _frame_arrived(self, operator: bytes, frame: bytes) -> Ack:
        if not frame:
            self._charge(operator, "frame_empty")
            return Ack.MALFORMED
        if not self._ledger.allow(operator, 1, len(frame), trio.current_time()):
            # An honest peer waits when told so; one that does not pays for each frame.
            self._charge(operator, "rate_limited")
            return Ack.RATE_LIMITED
        return Ack.OK if self._delivery.offer(operator, frame, "stream") else Ack.FULL

    async def _take_blob(self, stream: PeerStream, session: Session, operator: bytes) -> None:
        if session.blob_streams >= self._config.blobs_per_operator:
            self.counters.drops["blob_busy"] += 1
            await stream.reset()
            return

        def count(size: int) -> None:
            self.counters.bytes_in["blob"] += size

        session.blob_streams += 1
        try:
            await blobs.receive(stream, operator, self._partials, self._on_blob, count)
            await stream.close()
        except FrameTooLargeError:
            self._charge(operator, "blob_malformed")
            await stream.reset()
        finally:
            session.blob_streams -= 1

    def _gossip_arrived(self, origin: str, frame: bytes) -> str | None:
        operator = self._peers.operator_of(origin)
        if operator is None or self._ledger.banned_for(operator, trio.current_time()):
            return "gossip_unknown_origin"
        if not frame:
            return "frame_empty"
        return None if self._delivery.offer(operator, frame, "gossip") else "gossip_in_full"

    def _within_rate(self, peer_id: str, frames: int, size: int) -> bool:
        operator = self._peers.operator_of(peer_id)
        if operator is None:
            return False
        if self._ledger.allow(operator, frames, size, trio.current_time()):
            return True
        self.penalise(operator, "rate_limited", POINTS["rate_limited"])
        return False

    def _charge(self, operator: bytes, reason: str) -> None:
        self.counters.drops[reason] += 1
        self.penalise(operator, reason, POINTS[reason])

    def _blame(self, peer_id: str, reason: str) -> None:
        operator = self._peers.operator_of(peer_id)
        if operator is not None:
            self.penalise(operator, reason, POINTS[reason])

    # -------------------------------------------------------------- life

    async def _run(self, stop: trio.Event, task_status: TaskStatus[None]) -> None:
        """Host, then gossip, then our own tasks; ended in the opposite order when `stop` is set."""
        config = self._config
        # Shielded: libp2p closes its sockets with awaits that a cancellation would skip.
        with trio.CancelScope(shield=True) as scope:
            try:
                async with self._host.run([Multiaddr(a) for a in config.listen]):
                    try:
                        check_listening(self._host, config.listen)
                        await self._run_gossip(stop, scope, task_status)
                    finally:
                        await close_listeners(self._host)
            finally:
                await stop_threads(self._pubsub)

    async def _run_gossip(
        self, stop: trio.Event, scope: trio.CancelScope, task_status: TaskStatus[None]
    ) -> None:
        async with background_trio_service(self._pubsub), background_trio_service(self._router):
            await self._pubsub.wait_until_ready()
            await self._pubsub.subscribe(self._config.topic)
            async with trio.open_nursery() as nursery:
                self._peers.start(nursery)
                nursery.start_soon(self._delivery.run)
                task_status.started()
                await stop.wait()
                scope.deadline = trio.current_time() + self._config.stop_timeout
                nursery.cancel_scope.cancel()


async def run_network(
    config: NetConfig,
    seed: bytes,
    hello: HelloInfo,
    on_blob: blobs.BlobHandler,
    *,
    task_status: TaskStatus[Libp2pNetwork] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the network until cancelled: `net = await nursery.start(run_network, ...)`.

    Raises:
        NetError: an address to listen on is taken.
    """
    compat.install()
    for address in config.listen:
        await check_free(address)  # before any nursery wraps the error in a group
    network = Libp2pNetwork(config, seed, hello, on_blob)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(network._run, stop)  # noqa: SLF001
            task_status.started(network)
            await trio.sleep_forever()
        finally:
            stop.set()


@asynccontextmanager
async def open_network(
    config: NetConfig, seed: bytes, hello: HelloInfo, on_blob: blobs.BlobHandler
) -> AsyncIterator[Libp2pNetwork]:
    """`run_network` as a context, for a program without a nursery at hand."""
    async with trio.open_nursery() as nursery:
        network = await nursery.start(run_network, config, seed, hello, on_blob)
        try:
            yield network
        finally:
            nursery.cancel_scope.cancel()
