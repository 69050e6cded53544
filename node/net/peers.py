"""Who is connected: the registry's operators, one session per connection, one link per operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.rcmgr import Direction

from node.net.counters import NetCounters
from node.net.hello import HELLO_PROTOCOL, Outcome, answer, greet
from node.net.host import OperatorSwarm, dial
from node.net.ledger import PeerLedger
from node.net.outbox import FRAME_PROTOCOL, Outbox, Pump
from node.net.records import HelloInfo, NetConfig, PeerRecord, Refusal
from node.net.streams import PeerStream, StreamBrokenError, open_stream

LASTING = 5.0  # seconds after which a connection counts as a success of its dial
MAX_ADDRESSES = 4


@dataclass(slots=True, eq=False)
class Session:
    """One connection, from its hello to its end."""

    conn: SwarmConn
    peer_id: str
    outbound: bool
    opened_at: float
    operator: bytes | None = None  # once admitted
    greeted: trio.Event = field(default_factory=trio.Event)  # hello is over, either way
    admitted: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    frame_streams: int = 0
    blob_streams: int = 0


@dataclass(slots=True, eq=False)
class Link:
    """One operator of the registry: its record, what waits for it, and its session if any."""

    record: PeerRecord
    outbox: Outbox
    session: Session | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    changed: trio.Event = field(default_factory=trio.Event)

    def notify(self) -> None:
        """Wake whoever waits for this link to change."""
        self.changed.set()
        self.changed = trio.Event()


class Peers:
    """Dials the operators that are missing, admits those that prove who they are, ends the rest."""

    def __init__(
        self,
        config: NetConfig,
        hello: HelloInfo,
        host: BasicHost,
        ledger: PeerLedger,
        counters: NetCounters,
        hold: Callable[[Session], Awaitable[None]],
        left: Callable[[Session], None],
    ) -> None:
        self._config = config
        self._hello = hello
        self._host = host
        self._ledger = ledger
        self._counters = counters
        self._hold = hold
        self._left = left
        self._sessions: dict[SwarmConn, Session] = {}
        self._operators: dict[str, list[bytes]] = {}  # by peer id
        self._admitted = cast(OperatorSwarm, host.get_network()).admitted
        self._nursery: trio.Nursery | None = None
        self._dials = trio.CapacityLimiter(8)
        self.links: dict[bytes, Link] = {}

    def start(self, nursery: trio.Nursery) -> None:
        """Begin to dial; all tasks live in this nursery."""
        self._nursery = nursery
        for link in self.links.values():
            nursery.start_soon(self._keep, link)

    # -------------------------------------------------------------- registry

    def set_operators(self, records: Mapping[bytes, PeerRecord]) -> None:
        """Replace the registry: unknown peers are disconnected, new ones dialled."""
        wanted = {o: r for o, r in records.items() if o != self._hello.operator}
        for operator in [o for o, link in self.links.items() if wanted.get(o) != link.record]:
            link = self.links.pop(operator)
            link.scope.cancel()
            if link.session is not None:
                link.session.scope.cancel()
            link.notify()
            if operator in wanted:
                # The same operator at another place: what waits for it is still for it.
                self._add(wanted[operator], link.outbox)
        for operator in wanted.keys() - self.links.keys():
            self._add(wanted[operator], Outbox(self._config, self._counters))
        self._operators = {}
        for operator, link in self.links.items():
            self._operators.setdefault(link.record.peer_id, []).append(operator)
        self._ledger.keep_only(frozenset(wanted), trio.current_time())

    def operator_of(self, peer_id: str) -> bytes | None:
        """The operator behind this peer id: by its hello, or else by the registry.

        The registry does not prove that an operator owns the peer id it registers, so another could
        claim its gossip; when several name the same peer id, only a hello decides.
        """
        conn = self._admitted.get(peer_id)
        if conn is not None and (session := self._sessions.get(conn)) is not None:
            return session.operator
        registered = self._operators.get(peer_id, [])
        return registered[0] if len(registered) == 1 else None

    def connected(self) -> frozenset[bytes]:
        """Operators with an admitted connection."""
        return frozenset(o for o, link in self.links.items() if link.session is not None)

    def ban(self, operator: bytes) -> None:
        """End the session of an operator whose points ran over."""
        self._counters.refused["banned"] += 1
        link = self.links.get(operator)
        if link is not None and link.session is not None:
            link.session.scope.cancel()

    def _add(self, record: PeerRecord, outbox: Outbox) -> None:
        link = self.links[record.operator] = Link(record, outbox)
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, link)

    # -------------------------------------------------------------- sessions

    def session_of(self, conn: SwarmConn) -> Session:
        """The session of a connection; streams may come before the connection is announced."""
        session = self._sessions.get(conn)
        if session is None:
            outbound = conn.direction is Direction.OUTBOUND
            peer_id = str(conn.muxed_conn.peer_id)
            session = Session(conn, peer_id, outbound, trio.current_time())
            if not conn.is_closed:
                self._sessions[conn] = session
        return session

    def connection_opened(self, conn: SwarmConn) -> None:
        """Called by the swarm for every new connection, after TLS."""
        if self._nursery is not None:
            self._nursery.start_soon(self._run, self.session_of(conn))

    async def answer_hello(self, stream: PeerStream) -> None:
        """The handler of inbound hello streams."""
        session = self.session_of(stream.conn)
        if session.outbound or session.greeted.is_set():
            await stream.reset()
            return
        try:
            outcome = await answer(stream, self._hello, lambda o: self._judge(session, o))
        except StreamBrokenError:
            await stream.reset()
            return
        await self._conclude(session, stream, outcome)

    async def _run(self, session: Session) -> None:
        """One connection from hello to end."""
        with session.scope:
            try:
                await self._introduce(session)
                if session.operator is not None:
                    await self._serve(session, session.operator)
            except StreamBrokenError:
                self._counters.drops["stream_broken"] += 1
            except Exception as error:  # noqa: BLE001
                # Whatever a peer managed to provoke inside the library ends its own session only.
                self._counters.faults[f"session:{type(error).__name__}"] += 1
            finally:
                self._sessions.pop(session.conn, None)
                self._leave(session)
                session.greeted.set()
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                    await session.conn.close()

    async def _introduce(self, session: Session) -> None:
        config = self._config
        waiting = sum(1 for s in self._sessions.values() if s.operator is None)
        if not session.outbound and waiting > config.unadmitted_total:
            self._counters.refused["unadmitted_cap"] += 1
            return
        with trio.move_on_after(config.hello_timeout):
            if session.outbound:
                stream = await open_stream(session.conn, HELLO_PROTOCOL, config.hello_timeout)
                outcome = await greet(stream, self._hello, lambda o: self._judge(session, o))
                await self._conclude(session, stream, outcome)
            else:
                await self._until(session.greeted, session.conn.event_closed)
        if not session.greeted.is_set() and not session.conn.is_closed:
            self._counters.refused[Refusal.TIMEOUT.name.lower()] += 1

    def _judge(self, session: Session, operator: bytes) -> Refusal:
        link = self.links.get(operator)
        if link is None:
            return Refusal.UNKNOWN_OPERATOR
        if link.record.peer_id != session.peer_id:
            return Refusal.WRONG_PEER_ID
        if self._ledger.banned_for(operator, trio.current_time()):
            return Refusal.BANNED
        return Refusal.NONE

    async def _conclude(self, session: Session, stream: PeerStream, outcome: Outcome) -> None:
        refusal, operator = outcome.refusal, outcome.operator
        if operator is not None and not self._join(session, operator):
            refusal = Refusal.DUPLICATE
        if refusal is not Refusal.NONE:
            name = refusal.name.lower()
            self._counters.refused[f"by_peer_{name}" if outcome.by_peer else name] += 1
            if not outcome.by_peer:
                # Closing at once could overtake the refusal on its way to the peer.
                with trio.move_on_after(self._config.linger):
                    await session.conn.event_closed.wait()
        session.greeted.set()
        await stream.close()

    def _join(self, session: Session, operator: bytes) -> bool:
        """Make this the session of its operator, unless another connection to it is to stay."""
        link = self.links.get(operator)
        if link is None or session.scope.cancel_called:
            return False
        old = link.session
        if old is not None and not old.conn.is_closed:
            racing = abs(session.opened_at - old.opened_at) < self._config.race_window
            if racing and old.outbound != session.outbound and self._preferred(old, operator):
                return False
            old.scope.cancel()
        session.operator = operator
        link.session = session
        link.notify()
        self._admitted[session.peer_id] = session.conn
        session.admitted.set()
        return True

    def _preferred(self, session: Session, operator: bytes) -> bool:
        """Both ends keep the connection that the operator with the lower address dialled."""
        dialler = self._hello.operator if session.outbound else operator
        return dialler == min(self._hello.operator, operator)

    def _leave(self, session: Session) -> None:
        if session.operator is None:
            return
        link = self.links.get(session.operator)
        if link is not None and link.session is session:
            link.session = None
            link.notify()
        if self._admitted.get(session.peer_id) is session.conn:
            del self._admitted[session.peer_id]
        self._left(session)

    async def _serve(self, session: Session, operator: bytes) -> None:
        """Carry the outbox over this connection until it ends."""
        link = self.links.get(operator)
        if link is None:
            return
        stream = await open_stream(session.conn, FRAME_PROTOCOL, self._config.io_timeout)
        pump = Pump(link.outbox, stream, self._config, self._counters)
        async with trio.open_nursery() as nursery:

            async def until_closed() -> None:
                await session.conn.event_closed.wait()
                nursery.cancel_scope.cancel()

            async def carry() -> None:
                try:
                    await pump.run()
                except StreamBrokenError:
                    self._counters.drops["stream_broken"] += 1
                    nursery.cancel_scope.cancel()

            nursery.start_soon(until_closed)
            nursery.start_soon(self._hold, session)
            nursery.start_soon(carry)

    # -------------------------------------------------------------- supervisor

    async def _keep(self, link: Link) -> None:
        """Keep one operator connected for as long as it is in the registry."""
        config = self._config
        operator = link.record.operator
        delay = config.redial_first
        with link.scope:
            if self._hello.operator > operator:
                await self._wait_changed(link, config.yield_delay * (1 + config.jitter()))
            while True:
                if link.session is not None:
                    since = trio.current_time()
                    while link.session is not None:
                        await link.changed.wait()
                    if trio.current_time() - since > LASTING:
                        delay = config.redial_first
                pause = self._ledger.banned_for(operator, trio.current_time())
                if not pause:
                    await self._dial(link)
                    if link.session is not None:
                        continue
                    link.outbox.expire()
                await self._wait_changed(link, max(pause, delay * (0.5 + config.jitter())))
                delay = min(2 * delay, config.redial_cap)

    async def _dial(self, link: Link) -> None:
        config = self._config
        async with self._dials:
            for address in link.record.multiaddrs[:MAX_ADDRESSES]:
                if link.session is not None:
                    return
                conn = await dial(self._host, link.record.peer_id, address, config.dial_timeout)
                if conn is None:
                    self._counters.refused["dial_failed"] += 1
                    continue
                session = self._sessions.get(conn)
                if session is not None:
                    await session.greeted.wait()  # its task sets it before it ends
                return

    async def _wait_changed(self, link: Link, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while link.session is None:
                await link.changed.wait()

    async def _until(self, *events: trio.Event) -> None:
        """Wait for the first of these events."""
        async with trio.open_nursery() as nursery:

            async def one(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            for event in events:
                nursery.start_soon(one, event)
