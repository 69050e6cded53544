"""One libp2p stream with deadlines, whole frames, and one exception for whatever goes wrong."""

from __future__ import annotations

import struct
from typing import Any

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

_LENGTH = struct.Struct(">I")
_READ = 64 * 1024  # one read of the library costs more than the bytes in it


class StreamBrokenError(Exception):
    """The stream ended, was reset, or a deadline passed."""


class FrameTooLargeError(Exception):
    """The peer announced a frame above the limit."""

    def __init__(self, length: int) -> None:
        super().__init__(f"frame of {length} bytes")
        self.length = length


class PeerStream:
    """Frames `u32 length | bytes`; every wait but the one for a next frame ends."""

    def __init__(self, inner: Any, timeout: float) -> None:
        self._inner = inner
        self._timeout = timeout
        self._unread = bytearray()

    @property
    def conn(self) -> SwarmConn:
        """The connection this stream belongs to."""
        conn: SwarmConn = self._inner.swarm_conn
        return conn

    def save_window_updates(self) -> None:
        """For streams of small frames: see `compat`."""
        self._inner.muxed_stream.lazy_window = True

    async def write(self, data: bytes) -> None:
        """Write all bytes. Raises StreamBrokenError."""
        with trio.move_on_after(self._timeout) as scope:
            try:
                await self._inner.write(data)
            except Exception as error:
                raise StreamBrokenError(type(error).__name__) from error
        if scope.cancelled_caught:
            raise StreamBrokenError("write deadline")

    async def write_frame(self, frame: bytes) -> None:
        """Write the length and the frame at once. Raises StreamBrokenError."""
        await self.write(_LENGTH.pack(len(frame)) + frame)

    async def read_exactly(self, count: int) -> bytes:
        """Read `count` bytes before the deadline. Raises StreamBrokenError."""
        with trio.move_on_after(self._timeout) as scope:
            return await self._read(count)
        assert scope.cancelled_caught  # noqa: S101
        raise StreamBrokenError("read deadline")

    async def read_frame(self, limit: int) -> bytes:
        """Wait as long as it takes for a frame to start, then have it before the deadline.

        Raises:
            StreamBrokenError: the stream ended, or the peer dawdles inside a frame.
            FrameTooLargeError: the announced length is above `limit`; nothing of it was read.
        """
        first = await self._read(1)
        (length,) = _LENGTH.unpack(first + await self.read_exactly(_LENGTH.size - 1))
        if length > limit:
            raise FrameTooLargeError(length)
        return await self.read_exactly(length) if length else b""

    def holds_frame(self) -> bool:
        """Tell whether the next `read_frame` need not wait."""
        unread = self._unread
        if len(unread) < _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack_from(unread)
        return len(unread) >= _LENGTH.size + int(length)

    async def read_frame_now(self, limit: int) -> bytes:
        """As `read_frame`, but the frame must start before the deadline too."""
        (length,) = _LENGTH.unpack(await self.read_exactly(_LENGTH.size))
        if length > limit:
            raise FrameTooLargeError(length)
        return await self.read_exactly(length) if length else b""

    async def read_patiently(self, count: int) -> bytes:
        """Read `count` bytes however long it takes: the caller has a deadline."""
        return await self._read(count)

    async def read_varint_frame(self, limit: int) -> bytes:
        """As `read_frame`, with the length as a protobuf varint of at most four bytes."""
        length = 0
        byte = (await self._read(1))[0]
        for shift in (0, 7, 14, 21):
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            byte = (await self.read_exactly(1))[0]
        else:
            raise FrameTooLargeError(length)
        if length > limit:
            raise FrameTooLargeError(length)
        return await self.read_exactly(length) if length else b""

    async def close(self) -> None:
        """End our side politely, or at all."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            try:
                await self._inner.close()
            except Exception:  # noqa: BLE001
                await self.reset()

    async def reset(self) -> None:
        """End both sides now."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            try:
                await self._inner.reset()
            except Exception:  # noqa: BLE001
                return

    async def _read(self, count: int) -> bytes:
        unread = self._unread
        while len(unread) < count:
            try:
                part = await self._inner.read(_READ)
            except Exception as error:
                raise StreamBrokenError(type(error).__name__) from error
            if not part:
                raise StreamBrokenError("end of stream")
            unread += part
        taken = bytes(unread[:count])
        del unread[:count]
        return taken


async def open_stream(conn: SwarmConn, protocol: TProtocol, timeout: float) -> PeerStream:
    """Open a stream on this very connection and agree on the protocol. Raises StreamBrokenError."""
    inner = None
    # Shielded: a cancelled open leaves a half-made stream and its backlog slot behind.
    with trio.CancelScope(shield=True) as scope:
        scope.deadline = trio.current_time() + timeout
        try:
            inner = await conn.new_stream()
        except Exception as error:
            raise StreamBrokenError(type(error).__name__) from error
    if inner is None:
        raise StreamBrokenError("open deadline")
    stream = PeerStream(inner, timeout)
    agreed = False
    try:
        with trio.move_on_after(timeout):
            talk = MultiselectCommunicator(inner)
            await MultiselectClient().select_one_of([protocol], talk, int(timeout) + 1)
            inner.set_protocol(protocol)
            agreed = True
    except Exception as error:
        raise StreamBrokenError(type(error).__name__) from error
    finally:
        if not agreed:
            await stream.reset()
    if not agreed:
        raise StreamBrokenError("negotiation deadline")
    return stream
