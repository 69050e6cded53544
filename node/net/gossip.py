"""Gossip: gossipsub 1.1 with our own gate, read loop and delivery."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.pubsub_notifee import PubsubNotifee
from libp2p.pubsub.validators import signature_validator

from node.net.counters import NetCounters
from node.net.host import OperatorSwarm
from node.net.records import MAX_GOSSIP_FRAME, MIB
from node.net.relays import Relays, shares
from node.net.streams import FrameTooLargeError, PeerStream, StreamBrokenError

GOSSIP_PROTOCOL = PROTOCOL_ID_V11
MAX_RPC = 1 * MIB  # several messages may share one RPC
SEEN_SECONDS = 120
REOPEN_SECONDS = 0.2  # before a failed gossip stream is opened again

# The origin's peer id and the frame; the answer is a reason to drop it, or None if it was taken.
Deliver = Callable[[str, bytes], str | None]
# A forwarder's peer id, messages, bytes: whether it stays within its rate.
Allow = Callable[[str, int, int], bool]
Blame = Callable[[str, str], None]


class OperatorGossip(GossipSub):
    """Gossipsub 1.1: 1.2's IDONTWANT collapses at ten nodes in this library."""

    def __init__(self, counters: NetCounters) -> None:
        super().__init__(
            protocols=[GOSSIP_PROTOCOL],
            # Every operator is dialled and what we publish goes to all of them: the mesh only
            # mends losses, and each further relay costs every node a copy of each message.
            degree=3,
            degree_low=2,
            degree_high=6,
            heartbeat_interval=1,  # seconds; the library's default is 120
            heartbeat_initial_delay=0.1,
            prune_back_off=10,
            spam_protection_enabled=False,  # it drops above 10 messages a second, silently
            eclipse_protection_enabled=False,  # peers are registered operators, by any address
            adaptive_gossip_enabled=False,
        )
        self._counters = counters
        self.relays = Relays(counters)

    def count_fault(self, name: str) -> None:
        """Called by the guards of `compat`."""
        self._counters.faults[name] += 1

    async def run(self) -> None:
        """The service: the library's tasks, and the relays."""
        self.manager.run_daemon_task(self._relay)
        await super().run()

    async def _relay(self) -> None:
        while True:
            gathered = await self.relays.gather()
            for peers in self.mesh.values():
                for peer, rpc in shares(gathered, peers).items():
                    self.send_rpc(peer, rpc)

    async def heartbeat(self) -> None:
        """The mesh must survive an exception in one beat."""
        while True:
            try:
                await super().heartbeat()
            except Exception as error:  # noqa: BLE001
                self._counters.faults[f"heartbeat:{type(error).__name__}"] += 1

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        """Send an own message at once, another's with the next relays.

        The library would keep time stamps of our messages for ever: they are forgotten.
        """
        pubsub = self.pubsub
        if pubsub is None or msg_forwarder == pubsub.my_id:
            await super().publish(msg_forwarder, pubsub_msg)
            self.recent_message_deliveries.clear()
            return
        self.mcache.put(pubsub_msg)
        holders = {msg_forwarder, ID(pubsub_msg.from_id)}
        self.relays.put(pubsub.get_message_id(pubsub_msg), pubsub_msg, holders)

    def _get_peers_to_send(
        self,
        topic_ids: Iterable[str],
        msg_forwarder: ID,
        origin: ID,
        msg_id: bytes | None = None,
    ) -> Iterable[ID]:
        """Our own messages go to every subscriber, the mesh only relays (1.1's flood publishing).

        Without it a message published before the mesh is made or mended is lost.
        """
        pubsub = self.pubsub
        if pubsub is None or msg_forwarder != pubsub.my_id:
            return super()._get_peers_to_send(topic_ids, msg_forwarder, origin, msg_id)
        return [
            peer
            for topic in topic_ids
            for peer in pubsub.peer_topics.get(topic, ())
            if peer in pubsub.peers
        ]

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """A peer does not tell us whom to dial."""

    def _handle_dropped_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, reason: str) -> None:
        self._counters.drops[f"gossip_out_{reason}"] += max(1, len(rpc.publish))
        super()._handle_dropped_rpc(peer_id, rpc, reason)


class OperatorPubsub(Pubsub):
    """One topic, strict signing, and no unbounded or silent step between a peer and `deliver`."""

    def __init__(
        self,
        host: BasicHost,
        router: OperatorGossip,
        topic: str,
        timeout: float,
        counters: NetCounters,
        deliver: Deliver,
        allow: Allow,
        blame: Blame,
    ) -> None:
        super().__init__(
            host,
            router,
            seen_ttl=SEEN_SECONDS,
            strict_signing=True,
            max_inbound_rpc_size=MAX_RPC,
            max_subscriptions_per_rpc=4,
            max_subscriptions_per_peer=1,
            allowed_topics={topic},
        )
        # From int(time.time()) a restarted node reuses numbers, and its messages pass for old ones.
        self.counter = time.time_ns()
        self._gossip = router
        self._topic = topic
        self._timeout = timeout
        self._counters = counters
        self._deliver = deliver
        self._allow = allow
        self._blame = blame
        self._lost: dict[ID, trio.Event] = {}
        # A peer joins after its hello, not when its connection opens: see `hold`.
        self._swarm = swarm = cast(OperatorSwarm, host.get_network())
        (notifee,) = [n for n in swarm.notifees if isinstance(n, PubsubNotifee)]
        swarm.remove_notifee(notifee)

    def count_fault(self, name: str) -> None:
        """Called by the guards of `compat`."""
        self._counters.faults[name] += 1

    async def hold(self, conn: Any) -> None:
        """Keep the gossip stream to a peer open on its admitted connection, until cancelled.

        The library gives up for good at the first negotiation that fails.
        """
        peer_id = conn.muxed_conn.peer_id
        while True:
            lost = self._lost[peer_id] = trio.Event()
            stream = self.peers.get(peer_id)
            if stream is not None and stream.muxed_conn is conn.muxed_conn:
                await lost.wait()
                continue
            if stream is not None:
                self._handle_dead_peer(peer_id)  # it belongs to an older connection
            try:
                await self._handle_new_peer(peer_id)
            except Exception as error:  # noqa: BLE001
                self.count_fault(f"gossip_stream:{type(error).__name__}")
            if peer_id not in self.peers:
                await trio.sleep(REOPEN_SECONDS)

    def _schedule_peer_stream_retry(self, peer_id: ID) -> None:
        """`hold` opens the stream again."""
        if peer_id in self._lost:
            self._lost[peer_id].set()

    def forget(self, conn: Any) -> None:
        """A connection ended: drop its gossip stream, and the peer unless another one took over."""
        peer_id = conn.muxed_conn.peer_id
        stream = self.peers.get(peer_id)
        current = self._swarm.admitted.get(str(peer_id))
        if current is None or (stream is not None and stream.muxed_conn is conn.muxed_conn):
            self._handle_dead_peer(peer_id)
        if current is None:
            self._lost.pop(peer_id, None)

    def _forget_all_subscriptions(self, peer_id: ID) -> None:
        """Not for a mere change of streams: a peer announces its subscription only once."""
        if str(peer_id) not in self._swarm.admitted:
            super()._forget_all_subscriptions(peer_id)

    def reaches(self, peer_id: str) -> bool:
        """Whether gossip flows to this peer: its stream is open and it has subscribed."""
        peer = ID.from_string(peer_id)
        return peer in self.peers and peer in self.peer_topics.get(self._topic, ())

    async def continuously_read_stream(self, stream: Any) -> None:
        """Read RPCs until the stream ends; every one is bounded in size, rate and time."""
        peer = stream.muxed_conn.peer_id
        name = str(peer)
        reader = PeerStream(stream, self._timeout)
        reader.save_window_updates()
        while self.manager.is_running:
            try:
                raw = await reader.read_varint_frame(MAX_RPC)
            except FrameTooLargeError:
                self._refuse(name, "gossip_too_large")
                await reader.reset()
                return
            except StreamBrokenError:
                await reader.reset()
                return
            if not self._allow(name, 1, len(raw)):
                self._counters.drops["gossip_rate_limited"] += 1
                continue
            rpc = rpc_pb2.RPC()
            try:
                rpc.ParseFromString(raw)
            except Exception:  # noqa: BLE001
                self._refuse(name, "gossip_malformed")
                await reader.reset()
                return
            await self._take(rpc, peer, name)

    async def _take(self, rpc: rpc_pb2.RPC, peer: ID, name: str) -> None:
        if len(rpc.publish) > 1 and not self._allow(name, len(rpc.publish) - 1, 0):
            self._counters.drops["gossip_rate_limited"] += len(rpc.publish)
            return
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if len(rpc.subscriptions) > self.max_subscriptions_per_rpc:
            self._refuse(name, "gossip_malformed")
            return
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check one message, hand it over, and pass it on. Never raises for what a peer sent."""
        own = msg_forwarder == self.my_id
        if list(msg.topicIDs) != [self._topic]:
            self._refuse(str(msg_forwarder), "gossip_malformed")
            return
        if self._is_msg_seen(msg):
            self._gossip.relays.held_by(self.get_message_id(msg), msg_forwarder)
            return
        if not own and len(msg.data) > MAX_GOSSIP_FRAME:
            self._refuse(str(msg_forwarder), "gossip_too_large")
            return
        if not own and not self._signed(msg):
            self._refuse(str(msg_forwarder), "gossip_bad_signature")
            return
        self._mark_msg_seen(msg)
        if not own:
            origin = ID(msg.from_id)
            if origin == self.my_id:
                return
            reason = self._deliver(str(origin), msg.data)
            if reason is not None:
                self._counters.drops[reason] += 1
                if reason == "gossip_unknown_origin":
                    return  # not passed on
        await self.router.publish(msg_forwarder, msg)

    async def write_msg(self, stream: Any, rpc_msg: rpc_pb2.RPC) -> bool:
        """Also count what leaves."""
        sent = await super().write_msg(stream, rpc_msg)
        if sent:
            self._counters.frames_out["gossip"] += len(rpc_msg.publish)
            self._counters.bytes_out["gossip"] += rpc_msg.ByteSize()
        return sent

    def _signed(self, msg: rpc_pb2.Message) -> bool:
        try:
            return signature_validator(msg)
        except Exception:  # noqa: BLE001
            return False

    def _refuse(self, peer: str, reason: str) -> None:
        self._counters.drops[reason] += 1
        self._blame(peer, reason)


async def stop_threads(pubsub: OperatorPubsub) -> None:
    """The library's cache of seen messages runs a thread that nobody stops."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(pubsub.seen_messages.stop)
