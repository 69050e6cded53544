"""The switch that nodes are plugged into: what is cut is silent, what is healed goes on."""

from __future__ import annotations

import errno
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trio

from devnet.errors import DevnetError
from devnet.relay import listen_at, relay, tcp_socket
from devnet.switch import Switch, missing_for_switch, open_switch

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(missing_for_switch()), reason=missing_for_switch())

PORT = 5_000
TIMEOUT_S = 1.0
RETRY_S = 0.02
RETRANSMITTED_S = 10.0


@pytest.fixture
def switch() -> Iterator[Switch]:
    with open_switch(["a", "b", "c"]) as made:
        yield made


def listening(switch: Switch, name: str) -> socket.socket:
    made = switch.sockets[name].namespace.socket()
    made.bind((switch.sockets[name].address, PORT))
    made.listen()
    return made


def dial(switch: Switch, source: str, target: str) -> socket.socket:
    """A connection; raises TimeoutError if there is no way within the time."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        made = switch.sockets[source].namespace.socket()
        made.settimeout(TIMEOUT_S)
        try:
            made.connect((switch.sockets[target].address, PORT))
        except OSError as exc:
            made.close()
            # After a cut the kernel knows for a moment that nobody answered for the address.
            if exc.errno != errno.EHOSTUNREACH:
                raise
            if time.monotonic() > end:
                raise TimeoutError from exc
            time.sleep(RETRY_S)
        else:
            return made


def test_whoever_is_apart_reaches_its_own_and_nobody_else(switch: Switch) -> None:
    with listening(switch, "a"), listening(switch, "b"):
        switch.cut(["b", "c"])
        for source, target in (("a", "b"), ("b", "a"), ("c", "a")):
            with pytest.raises(TimeoutError):
                dial(switch, source, target)
        dial(switch, "c", "b").close()
        switch.heal()
        for source, target in (("a", "b"), ("b", "a"), ("c", "a")):
            dial(switch, source, target).close()


def test_a_connection_hears_nothing_of_a_cut_and_goes_on_when_it_is_healed(switch: Switch) -> None:
    with listening(switch, "a") as server:
        near = dial(switch, "b", "a")
        far, _ = server.accept()
        with near, far:
            far.settimeout(TIMEOUT_S)
            switch.cut(["b"])
            near.sendall(b"late")
            with pytest.raises(TimeoutError):
                far.recv(4)
            switch.heal()
            far.settimeout(RETRANSMITTED_S)
            assert far.recv(4) == b"late"


def test_a_name_that_is_not_plugged_in_is_told(switch: Switch) -> None:
    with pytest.raises(DevnetError):
        switch.cut(["d"])


def test_the_machines_own_network_is_left_alone() -> None:
    before = interfaces()
    threads = threading.active_count()
    with open_switch(["a"]) as switch:
        assert interfaces() == before
        inside = subprocess.run(
            [*switch.sockets["a"].namespace.command, "cat", "/proc/net/dev"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "net:" in inside
    assert interfaces() == before
    assert threading.active_count() == threads


def interfaces() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())


async def test_loopback_of_a_namespace_is_reached_through_a_relay(switch: Switch) -> None:
    inside = switch.sockets["a"].namespace.socket

    async def answer(stream: trio.SocketStream) -> None:
        asked = b""
        async for chunk in stream:
            asked += chunk
        await stream.send_all(asked[::-1])
        await stream.send_eof()

    listener = listen_at(tcp_socket, 0)
    port = listener.socket.getsockname()[1]
    server = listen_at(inside, PORT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, listener, inside, PORT)
        nursery.start_soon(trio.serve_listeners, answer, [server])
        with trio.fail_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"abc" * 100_000)
                await stream.send_eof()
                told = b"".join([chunk async for chunk in stream])
            assert told == b"cba" * 100_000
        nursery.cancel_scope.cancel()


async def test_where_nobody_answers_a_relayed_connection_ends(switch: Switch) -> None:
    listener = listen_at(tcp_socket, 0)
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, listener, switch.sockets["a"].namespace.socket, PORT)
        with trio.fail_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
