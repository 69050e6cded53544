"""Passes TCP connections on between networks: a node in a namespace keeps its loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

from devnet.anvil import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 65_536
_BACKLOG: Final = 128


def tcp_socket() -> socket.socket:
    """A TCP socket of the machine's own network."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def listen_at(make: Callable[[], socket.socket], port: int) -> trio.SocketListener:
    """Listen on the loopback address of a socket's network; raises OSError if the port is taken."""
    made = make()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    made.listen(_BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(made))


async def relay(
    listener: trio.SocketListener, make: Callable[[], socket.socket], port: int
) -> None:
    """Pass what connects to `listener` on to a loopback port of another network, until cancelled.

    Where nobody answers the connection is closed.
    """

    async def serve(near: trio.SocketStream) -> None:
        made = make()
        made.setblocking(False)
        there = trio.socket.from_stdlib_socket(made)
        try:
            await there.connect((HOST, port))
        except OSError:
            there.close()
            return
        async with trio.SocketStream(there) as far, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, near, far)
            await _copy(far, near)
            # Its answer is complete, and HTTP has nothing more to ask on a closed connection.
            nursery.cancel_scope.cancel()

    await trio.serve_listeners(serve, [listener])


async def _copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """Until the source ends or either breaks; the sink is then told that no more comes."""
    try:
        while chunk := await source.receive_some(_CHUNK):
            await sink.send_all(chunk)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
