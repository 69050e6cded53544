"""A registered operator gone mad, as a program: all that one process can send, until it is killed.

Reads one line of JSON (who it is, whom it floods, how fast); prints one line of JSON each second.
While it is admitted it sends well-formed messages that cost no points and reach the replica. Once
it is refused it dials again and sends as fast until it is cut: the node has to read that, too.
"""

from __future__ import annotations

import json
import secrets
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from node.net import HelloInfo, NetConfig, Refusal, compat
from node.net.counters import NetCounters
from node.net.gossip import GOSSIP_PROTOCOL
from node.net.hello import HELLO_PROTOCOL, greet
from node.net.host import build_host, dial
from node.net.identity import key_pair_of
from node.net.outbox import FRAME_PROTOCOL
from node.net.records import MAX_STREAM_FRAME, Ack
from node.net.streams import PeerStream, StreamBrokenError, open_stream
from protocol.codec import encode
from protocol.messages import Envelope, Kind, OutcomeBody

CONNECTIONS: Final = 4
"""At once, as soon as the first is refused."""
BATCH: Final = 100
"""Messages in one write."""
PAUSE_S: Final = 0.05
"""Between dials that fail."""
NO_STREAM: Final = 4_001
"""A stream that was never opened: Yamux reads what is for it and drops it."""


@dataclass
class Flooder:
    """Where the flood comes from and goes to."""

    hello: HelloInfo
    peer_id: str
    address: str
    per_second: int
    counts: Counter[str] = field(default_factory=Counter)
    banned: trio.Event = field(default_factory=trio.Event)

    async def run(self, host: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keep_sending, host)
            await self.banned.wait()
            for _ in range(CONNECTIONS - 1):
                nursery.start_soon(self.keep_sending, host)

    async def keep_sending(self, host: Any) -> None:
        while True:
            with suppress(StreamBrokenError):
                conn = await dial(host, self.peer_id, self.address, 5)
                if conn is None:
                    self.counts["dial_failed"] += 1
                    await trio.sleep(PAUSE_S)
                    continue
                try:
                    await self.use(conn)
                finally:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                        await conn.close()

    async def use(self, conn: Any) -> None:
        stream = await open_stream(conn, HELLO_PROTOCOL, 5)
        refusal = (await greet(stream, self.hello, lambda _: Refusal.NONE)).refusal
        again = refusal is Refusal.NONE and self.banned.is_set()
        self.counts["let_in_again" if again else "hello_" + refusal.name.lower()] += 1
        if refusal is Refusal.BANNED:
            self.banned.set()
        if refusal is not Refusal.NONE:
            batch = [self.message() for _ in range(BATCH)]
            await self.send(lambda: write_raw(conn, batch))
            return
        stream = await open_stream(conn, FRAME_PROTOCOL, 30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.read_answers, stream, nursery.cancel_scope)
            with suppress(StreamBrokenError):
                await self.send(
                    lambda: stream.write(b"".join(framed(self.message()) for _ in range(BATCH)))
                )
            nursery.cancel_scope.cancel()

    async def send(self, write: Any) -> None:
        """At most so many a second, until a write fails; what was late is not made good."""
        due = trio.current_time()
        while True:
            await write()
            self.counts["sent"] += BATCH
            due = max(due + BATCH / self.per_second, trio.current_time() - 0.1)
            await trio.sleep_until(due)

    async def read_answers(self, stream: PeerStream, scope: trio.CancelScope) -> None:
        with suppress(StreamBrokenError):
            while True:
                self.counts[Ack((await stream.read_patiently(1))[0]).name.lower()] += 1
        scope.cancel()

    def message(self) -> bytes:
        """An outcome of a request that nobody knows."""
        body = OutcomeBody(2, secrets.token_bytes(32), b"", (), 0, 0, 0)
        return encode(Envelope(Kind.OUTCOME, self.hello.operator, body, b""))


def framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4) + frame


async def write_raw(conn: Any, frames: list[bytes]) -> None:
    """As data of a stream that is none, without asking Yamux. Raises StreamBrokenError."""
    raw = b"".join(struct.pack(">BBHII", 0, 0, 0, NO_STREAM, len(f)) + f for f in frames)
    with trio.move_on_after(5) as scope:
        try:
            await conn.muxed_conn.secured_conn.write(raw)
        except Exception as error:
            raise StreamBrokenError(type(error).__name__) from error
    if scope.cancelled_caught:
        raise StreamBrokenError("the node does not read")


async def acknowledge(inner: Any) -> None:
    """Take what the node sends: who acknowledges nothing is cut for that."""
    stream = PeerStream(inner, 30)
    with suppress(StreamBrokenError):
        while True:
            await stream.read_frame(MAX_STREAM_FRAME)
            await stream.write(bytes([Ack.OK]))


async def swallow(stream: Any) -> None:
    """Read what the node gossips."""
    while await stream.read(65_536):
        pass


async def report(counts: Counter[str]) -> None:
    start = trio.current_time()
    for second in range(1, 1_000_000):
        await trio.sleep_until(start + second)
        print(json.dumps(counts), flush=True)


async def main() -> None:
    told = json.loads(sys.stdin.readline())
    chain_id, registry, parameters, operator = told["hello"]
    hello = HelloInfo(chain_id, *map(bytes.fromhex, (registry, parameters, operator)))
    flooder = Flooder(hello, told["peer_id"], told["address"], told["per_second"])
    compat.install()
    with TemporaryDirectory() as folder:
        config = NetConfig(("/ip4/127.0.0.1/tcp/0",), Path(folder))
        host = build_host(config, key_pair_of(bytes.fromhex(told["seed"])), NetCounters())
        host.set_stream_handler(FRAME_PROTOCOL, acknowledge)
        host.set_stream_handler(GOSSIP_PROTOCOL, swallow)
        async with host.run([]), trio.open_nursery() as nursery:
            nursery.start_soon(report, flooder.counts)
            nursery.start_soon(flooder.run, host)


if __name__ == "__main__":
    trio.run(main)
