"""Every change we need inside py-libp2p 0.8.1, in one place, each with a regression test.

`install()` replaces a handful of functions once per process and keeps the originals, so that a test
can put one back and watch it fail. What can be done by a subclass or an argument is done in
`host.py` and `gossip.py` instead.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

import trio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.pubsub import gossipsub, pubsub, rpc_queue
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service.trio_manager import TrioManager
from libp2p.transport.tcp import tcp

LIBP2P_VERSION = "0.8.1"

FRAME_WRITE_TIMEOUT = 5.0  # seconds for one yamux frame to leave for the kernel
MAX_WINDOW = 2 * 1024 * 1024  # receive window a stream can grow to, bytes
STREAM_BUFFER = 2 * MAX_WINDOW  # unread bytes of one stream before its sender broke the window
STREAMS_PER_CONNECTION = 64
JOINED_RPC = 64 * 1024  # bytes up to which waiting gossip is put together in one RPC

_log = logging.getLogger(__name__)
ORIGINALS: dict[tuple[Any, str], Any] = {}


def install() -> None:
    """Apply all changes, once. Raises RuntimeError on another libp2p version."""
    found = version("libp2p")
    if found != LIBP2P_VERSION:
        raise RuntimeError(
            f"the network adapter is written for libp2p {LIBP2P_VERSION}, not {found}"
        )
    if ORIGINALS:
        return
    # It logs at a peer's pace, and at ERROR for what is a peer's fault: we count instead.
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    for owner, name, replacement in _REPLACEMENTS:
        ORIGINALS[(owner, name)] = getattr(owner, name)
        setattr(owner, name, replacement)


def report_fault(service: Any, name: str, error: Exception) -> None:
    """Count an exception that a guard caught, if the service has a counter."""
    count: Callable[[str], None] | None = getattr(service, "count_fault", None)
    _log.debug("caught in %s: %s", name, type(error).__name__)
    if count is not None:
        count(f"{name}:{type(error).__name__}")


# ------------------------------------------------------------------ a peer must not end the host


async def _handle_muxed_stream(self: SwarmConn, muxed_stream: Any) -> None:
    """An exception in a stream handler ends the stream; unguarded it ends the whole host."""
    # Duck-typed: only our swarm has the limit, other swarms of a test keep the default.
    limit = getattr(self.swarm, "streams_per_connection", STREAMS_PER_CONNECTION)
    if len(self.streams) >= limit:
        report_fault(self.swarm, "too_many_streams", RuntimeError())
        await muxed_stream.reset()
        return
    try:
        await ORIGINALS[(SwarmConn, "_handle_muxed_stream")](self, muxed_stream)
    except Exception as error:  # noqa: BLE001
        report_fault(self.swarm, "stream", error)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await muxed_stream.reset()


def _run_task(
    self: TrioManager,
    async_fn: Callable[..., Awaitable[Any]],
    *args: Any,
    daemon: bool = False,
    name: str | None = None,
    _internal: bool = False,
) -> None:
    """A short task of a service may fail without ending the service; its main loops may not."""
    original = ORIGINALS[(TrioManager, "run_task")]
    if daemon or _internal:
        original(self, async_fn, *args, daemon=daemon, name=name, _internal=_internal)
        return

    async def guarded() -> None:
        try:
            await async_fn(*args)
        except Exception as error:  # noqa: BLE001
            report_fault(self._service, "task", error)

    original(self, guarded, name=name or getattr(async_fn, "__name__", "task"))


# ------------------------------------------------------------------ yamux


async def _write_frame(self: yamux.Yamux, data: bytes) -> None:
    """A frame leaves whole or the connection ends: a cancelled half of one corrupts the session."""
    with trio.CancelScope(shield=True) as scope:
        scope.deadline = trio.current_time() + FRAME_WRITE_TIMEOUT
        async with self._write_lock:
            await self.secured_conn.write(data)
    if scope.cancelled_caught:
        self.event_shutting_down.set()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await self.secured_conn.close()
        raise MuxedStreamError("the peer does not read")


async def _window_update(self: yamux.YamuxStream, *, bytes_read: int = 0) -> None:
    """On streams marked `lazy_window` give credit by half windows, not after every small read."""
    if not getattr(self, "lazy_window", False):
        await ORIGINALS[(yamux.YamuxStream, "_auto_tune_and_send_window_update")](
            self, bytes_read=bytes_read
        )
        return
    self._pending_recv_release += bytes_read
    if self._pending_recv_release >= self.target_recv_window // 2:
        increment, self._pending_recv_release = self._pending_recv_release, 0
        self.recv_window += increment
        await self.send_window_update(increment, skip_lock=True)


class _StreamBuffer(bytearray):
    """Unread bytes of a stream; a sender that ignores its window gets an error, not our memory."""

    def extend(self, data: Any) -> None:
        if len(self) + len(data) > STREAM_BUFFER:
            raise MuxedStreamError("the peer ignores the receive window")
        super().extend(data)


class _StreamBuffers(dict[int, bytearray]):
    def __setitem__(self, stream_id: int, buffer: bytearray) -> None:
        super().__setitem__(stream_id, _StreamBuffer(buffer))


def _yamux_init(self: yamux.Yamux, *args: Any, **kwargs: Any) -> None:
    ORIGINALS[(yamux.Yamux, "__init__")](self, *args, **kwargs)
    self.stream_buffers = _StreamBuffers()


# ------------------------------------------------------------------ gossip


def _no_record_to_send(_host: Any) -> tuple[bytes, bool]:
    """Addresses come from the on-chain registry alone: no signed record travels with each RPC."""
    return b"", False


def _no_record_to_check(_message: Any, _host: Any, _peer: Any) -> bool:
    """Checking the sender's signed record on every RPC took most of a node's time at 10 nodes."""
    return True


class BoundedRpcQueue(rpc_queue.RpcQueue):
    """The library's queue holds 32 RPCs, of any size; ours is bounded by frames and by bytes."""

    max_frames = 1024
    max_bytes = 8 * 1024 * 1024

    def __init__(self) -> None:
        super().__init__(max_size=self.max_frames)
        self._queued_bytes = 0

    def push(self, rpc: Any, priority: bool = False) -> bool:
        """Queue an RPC, or refuse it when the peer reads too slowly."""
        size = rpc.ByteSize()
        if self._queued_bytes + size > self.max_bytes or not super().push(rpc, priority):
            return False
        self._queued_bytes += size
        return True

    async def pop(self) -> Any:
        """The next RPC with what else waits, as one write costs more than the bytes; None: closed.

        Only messages are put together: the reader bounds subscriptions and control by RPC.
        """
        rpc = await super().pop()
        if rpc is None:
            return None
        size = rpc.ByteSize()
        self._queued_bytes -= size
        waiting = self._queue._non_priority  # noqa: SLF001
        while _only_messages(rpc) and waiting and _only_messages(waiting[0]):
            size += waiting[0].ByteSize()
            if size > JOINED_RPC:
                break
            joined = waiting.popleft()
            self._queued_bytes -= joined.ByteSize()
            rpc.MergeFrom(joined)
        return rpc


def _only_messages(rpc: Any) -> bool:
    return not rpc.subscriptions and not rpc.HasField("control")


# ------------------------------------------------------------------ tcp


async def _exclusive_listeners(host: str | None, port: int) -> Sequence[trio.SocketListener]:
    """Without SO_REUSEPORT: two nodes on one port must be an error, not a silent share."""
    return await trio.open_tcp_listeners(port, host=host, backlog=128)


_REPLACEMENTS: tuple[tuple[Any, str, Any], ...] = (
    (SwarmConn, "_handle_muxed_stream", _handle_muxed_stream),
    (TrioManager, "run_task", _run_task),
    (yamux.Yamux, "_write_frame", _write_frame),
    (yamux.Yamux, "__init__", _yamux_init),
    (yamux.YamuxStream, "_auto_tune_and_send_window_update", _window_update),
    (yamux, "MAX_WINDOW_SIZE", MAX_WINDOW),
    (pubsub, "env_to_send_in_RPC", _no_record_to_send),
    (gossipsub, "env_to_send_in_RPC", _no_record_to_send),
    (pubsub, "maybe_consume_signed_record", _no_record_to_check),
    (gossipsub, "maybe_consume_signed_record", _no_record_to_check),
    (pubsub, "RpcQueue", BoundedRpcQueue),
    (tcp, "_open_reuseport_listeners", _exclusive_listeners),
)
