"""The libp2p host: TCP, TLS 1.3, Yamux, and nothing else on offer."""

from __future__ import annotations

import ssl
from collections import Counter, OrderedDict
from typing import Any

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.crypto.keys import KeyPair
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.tls.transport import PROTOCOL_ID as TLS_ID
from libp2p.security.tls.transport import TLSTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.net.counters import NetCounters
from node.net.records import NetConfig, NetError


class CachedTls(TLSTransport):
    """The library makes a TLS context, and writes its key to a temporary file, per connection."""

    def __init__(self, key_pair: KeyPair) -> None:
        super().__init__(key_pair)
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def create_ssl_context(self, server_side: bool = False) -> ssl.SSLContext:
        """The one context for this side."""
        if server_side not in self._contexts:
            context = super().create_ssl_context(server_side)
            # Resumed sessions carry no certificate, so the peer id could not be read from them.
            if server_side:
                context.num_tickets = 0
            self._contexts[server_side] = context
        return self._contexts[server_side]


class OperatorSwarm(Swarm):
    """A swarm that only dials when told to, and holds no slot for a connection that is gone."""

    def __init__(self, config: NetConfig, counters: NetCounters, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._config = config
        self._counters = counters
        self._pending: Counter[str] = Counter()
        self.streams_per_connection = config.streams_per_connection
        self.admitted: dict[str, SwarmConn] = {}  # by peer id, kept by the peer supervisor
        # It would dial whatever address it heard of until half the connection limit is reached.
        self.auto_connector.maybe_connect = self._dial_nobody  # type: ignore[method-assign]

    def count_fault(self, name: str) -> None:
        """Called by the guards of `compat`."""
        self._counters.faults[name] += 1

    async def new_stream(self, peer_id: ID) -> INetStream:
        """On the admitted connection only: gossip must not pick one that hello will refuse."""
        conn = self.admitted.get(str(peer_id))
        if conn is None:
            raise SwarmException(f"{peer_id} is not admitted")
        try:
            return await conn.new_stream()
        except Exception as error:
            raise SwarmException(f"no stream to {peer_id}") from error

    async def _dial_nobody(self) -> None:
        await trio.lowlevel.checkpoint()

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Refused: the peer supervisor dials, by the registry's addresses, with back-off."""
        raise SwarmException(f"no connection to {peer_id}")

    def _schedule_auto_connect(self) -> None:
        """The peer supervisor does this."""

    async def _handle_inbound_connection(self, read_write_closer: Any, maddr: Multiaddr) -> None:
        """Cap handshakes before they start, then stay until this connection ends.

        The library keeps the inbound slot of every connection it ever accepted until the host
        stops, so a node whose peers reconnect a few hundred times would accept nobody any more.
        """
        remote = read_write_closer.get_remote_address()
        address = remote[0] if remote else "unknown"
        config = self._config
        if self._pending[address] >= config.pending_per_ip or (
            self._pending.total() >= config.pending_total
        ):
            self._counters.refused["pending_cap"] += 1
            return  # the listener closes the socket when this returns
        self._pending[address] += 1
        raw = RawConnection(read_write_closer, initiator=False)
        try:
            muxed = await self.upgrade_inbound_raw_conn(raw, maddr)
        except Exception:  # noqa: BLE001
            self._counters.refused["handshake"] += 1
            return
        finally:
            self._pending[address] -= 1
            if not self._pending[address]:
                del self._pending[address]
        assert isinstance(muxed, Yamux)  # noqa: S101
        await muxed.event_closed.wait()


def build_host(config: NetConfig, key_pair: KeyPair, counters: NetCounters) -> BasicHost:
    """A host without identify, ping or any protocol that we did not write."""
    connection_config = ConnectionConfig(
        max_connections=config.connections,
        min_connections=0,
        low_watermark=0,
        high_watermark=config.connections,
        max_connections_per_peer=4,
        inbound_upgrade_timeout=config.hello_timeout,
        outbound_upgrade_timeout=config.hello_timeout,
        outbound_stream_protocol_negotiation_timeout=config.hello_timeout,
        inbound_stream_protocol_negotiation_timeout=config.hello_timeout,
        auto_connect_interval=86400.0,
    )
    upgrader = TransportUpgrader(
        secure_transports_by_protocol={TLS_ID: CachedTls(key_pair)},
        muxer_transports_by_protocol={TProtocol(YAMUX_ID): Yamux},
        negotiate_timeout=int(config.hello_timeout) or 1,
    )
    peer_id = ID.from_pubkey(key_pair.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(peer_id, key_pair)
    swarm = OperatorSwarm(
        config,
        counters,
        peer_id,
        peerstore,
        upgrader,
        transports=[TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=connection_config,
    )

    async def refuse(stream: INetStream) -> None:
        await stream.reset()

    # An empty table would bring in the library's own protocols.
    no_protocols: OrderedDict[TProtocol, StreamHandlerFn] = OrderedDict()
    no_protocols[TProtocol("/provernet/none")] = refuse
    host = BasicHost(swarm, default_protocols=no_protocols, disable_identify_address_discovery=True)
    swarm.notifees.clear()  # identify and peer tags
    return host


def listen_addresses(host: BasicHost) -> tuple[str, ...]:
    """Where the host really listens, with its peer id."""
    return tuple(str(address) for address in host.get_addrs())


async def check_free(address: str) -> None:
    """Raises NetError when the address cannot be bound."""
    try:
        multiaddr = Multiaddr(address)
        host = extract_ip_from_multiaddr(multiaddr)
        port = int(multiaddr.value_for_protocol("tcp"))
        for listener in await trio.open_tcp_listeners(port, host=host):
            await listener.aclose()
    except (OSError, ValueError, MultiaddrError) as error:
        raise NetError(f"cannot listen on {address}: {error}") from error


def check_listening(host: BasicHost, wanted: tuple[str, ...]) -> None:
    """Raises NetError naming the address that could not be bound; the library only logs it."""
    swarm = host.get_network()
    missing = [address for address in wanted if address not in swarm.listeners]
    if missing:
        raise NetError(f"cannot listen on {', '.join(missing)}: is the port in use?")


async def close_listeners(host: BasicHost) -> None:
    """The library stops its swarm by a cancellation that skips this, and the ports stay taken."""
    for listener in list(host.get_network().listeners.values()):
        await listener.close()


async def dial(host: BasicHost, peer_id: str, address: str, timeout: float) -> SwarmConn | None:
    """One attempt at one address. The connection, or None."""
    swarm = host.get_network()
    try:
        with trio.move_on_after(timeout):
            # By address: `dial_peer` would wait 250 ms per address and remember failures itself.
            conn = await swarm.dial_addr(Multiaddr(address), ID.from_string(peer_id))
            assert isinstance(conn, SwarmConn)  # noqa: S101
            return conn
    except Exception:  # noqa: BLE001
        return None
    return None
