"""Messages of others on their way to the mesh: gathered for a moment, then one RPC to each peer.

An origin sends to every operator itself, so a relay mends a loss and is in no hurry. Passed on at
once, one by one, relays are most of a node's network work at ten nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from node.net.counters import NetCounters

GATHER_SECONDS: Final = 0.1
MAX_WAITING: Final = 1_024
MAX_WAITING_BYTES: Final = 8 * 1_024 * 1_024


@dataclass(frozen=True, slots=True)
class Relay:
    """A message to pass on, and the peers that are known to have it."""

    message: rpc_pb2.Message
    holders: set[ID]


class Relays:
    """Bounded by number and bytes: when full, what comes is not relayed, and counted."""

    def __init__(self, counters: NetCounters) -> None:
        self._counters = counters
        self._waiting: dict[bytes, Relay] = {}
        self._bytes = 0
        self._wake = trio.Event()

    def put(self, message_id: bytes, message: rpc_pb2.Message, holders: set[ID]) -> None:
        """Have a message passed on to the mesh peers that are not among `holders`."""
        size = message.ByteSize()
        if len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self._counters.drops["gossip_relay_full"] += 1
            return
        self._waiting[message_id] = Relay(message, holders)
        self._bytes += size
        self._wake.set()

    def held_by(self, message_id: bytes, peer: ID) -> None:
        """Note that a peer sent the message, too: it needs no copy."""
        relay = self._waiting.get(message_id)
        if relay is not None:
            relay.holders.add(peer)

    async def gather(self) -> list[Relay]:
        """Wait for a message, then for those of the next moment."""
        await self._wake.wait()
        await trio.sleep(GATHER_SECONDS)
        gathered = list(self._waiting.values())
        self._waiting = {}
        self._bytes = 0
        self._wake = trio.Event()
        return gathered


def shares(relays: Iterable[Relay], peers: Iterable[ID]) -> dict[ID, rpc_pb2.RPC]:
    """What each peer lacks, in one RPC; peers that lack nothing are left out."""
    found: dict[ID, rpc_pb2.RPC] = {}
    for peer in peers:
        missing = [relay.message for relay in relays if peer not in relay.holders]
        if missing:
            found[peer] = rpc_pb2.RPC(publish=missing)
    return found
