from __future__ import annotations

import trio

from node.net import PeerRecord
from node.net.counters import NetCounters
from node.net.ledger import PeerLedger
from node.net.records import NetConfig
from tests.node.net.conftest import eventually


async def test_a_peer_that_restarts_with_its_identity_gets_what_waited_and_all_new_gossip(world):
    first, second = await world.pair()
    for number in range(3):
        await second.net.broadcast(b"life 1, %d" % number, reliable=False)
        assert (await first.receive()).frame == b"life 1, %d" % number
    address = second.net.listen_addresses()[0].rsplit("/p2p/")[0]
    await second.stop()
    await first.net.send(second.operator, b"while you were away")
    again = await world.start(1, listen=address)
    await world.connect(first, again)
    assert (await again.receive()).frame == b"while you were away"
    for number in range(3):
        await again.net.broadcast(b"life 2, %d" % number, reliable=False)
        assert (await first.receive()).frame == b"life 2, %d" % number


async def test_many_restarts_leave_one_session_and_a_working_link(world):
    first = await world.start(0)
    for _ in range(4):
        second = await world.start(1)
        await world.connect(first, second)
        await second.stop()
    second = await world.start(1)
    await world.connect(first, second)
    assert len(first.net._peers._sessions) == 1
    assert len(first.net._host.get_network().get_connections()) == 1
    await second.net.broadcast(b"here", reliable=False)
    assert (await first.receive()).frame == b"here"


async def test_frames_in_flight_when_the_connection_is_cut_arrive(world):
    first, second = await world.pair()
    for number in range(200):
        await first.net.send(second.operator, b"%d" % number)
        if number % 50 == 25:
            await trio.sleep(0.01)
            session = second.net._peers.links[first.operator].session
            if session is not None:
                session.scope.cancel()
    got: set[bytes] = set()
    while len(got) < 200:
        got.add((await second.receive()).frame)
    assert got == {b"%d" % number for number in range(200)}


async def test_gossip_flows_again_when_only_its_stream_was_lost(world):
    first, second = await world.pair()
    (stream,) = first.net._pubsub.peers.values()
    await stream.reset()
    first.net._pubsub._handle_dead_peer(second.net._host.get_id())
    await eventually(lambda: first.net.gossip_reaches() == {second.operator})
    await first.net.broadcast(b"again", reliable=False)
    assert (await second.receive()).frame == b"again"


async def test_a_dead_address_before_the_live_one_does_not_keep_a_peer_away(world):
    first, second = await world.start(0), await world.start(1)
    good = second.record
    addresses = ("/ip4/127.0.0.1/tcp/1", "nonsense", "/ip4/127.0.0.1/udp/4", *good.multiaddrs)
    first.net.set_operators({good.operator: PeerRecord(good.operator, good.peer_id, addresses)})
    second.net.set_operators({first.operator: PeerRecord(first.operator, first.net.peer_id, ())})
    await eventually(first.net.connected)
    assert first.refused["dial_failed"] >= 2


async def test_someone_else_at_a_registered_address_is_not_mistaken_for_the_operator(world):
    first, second, third = [await world.start(i) for i in range(3)]
    false = PeerRecord(third.operator, third.net.peer_id, second.net.listen_addresses())
    address = tuple(a.rsplit("/p2p/")[0] for a in false.multiaddrs)
    first.net.set_operators({third.operator: PeerRecord(third.operator, false.peer_id, address)})
    await eventually(lambda: first.refused["dial_failed"])
    assert not first.net.connected()


def test_penalties_outlive_connections_decay_and_ban_for_a_while():
    config = NetConfig(listen=(), blob_dir=None, ban_points=100, ban_seconds=60, points_decay=1)
    ledger = PeerLedger(config, NetCounters())
    peer = b"\x01" * 20
    assert not ledger.penalise(peer, "x", 60, now=0)
    assert not ledger.penalise(peer, "x", 60, now=50)  # 60 - 50 + 60 = 70
    assert ledger.penalise(peer, "x", 60, now=60)  # 70 - 10 + 60 = 120
    assert ledger.banned_for(peer, 60) == 60
    assert not ledger.penalise(peer, "x", 500, now=61)  # banned already
    ledger.keep_only(frozenset(), 100)
    assert ledger.banned_for(peer, 100) == 20  # leaving the registry does not end a ban
    ledger.keep_only(frozenset(), 120)
    assert ledger.banned_for(peer, 120) == 0


def test_the_rate_is_refilled_and_a_burst_is_bounded():
    config = NetConfig(
        listen=(), blob_dir=None, rate_frames=10, burst_frames=20, rate_bytes=100, burst_bytes=200
    )
    ledger = PeerLedger(config, NetCounters())
    peer = b"\x01" * 20
    assert sum(ledger.allow(peer, 1, 0, 0.0) for _ in range(100)) == 20
    assert sum(ledger.allow(peer, 1, 0, 1.0) for _ in range(100)) == 10
    assert sum(ledger.allow(peer, 1, 0, 1000.0) for _ in range(100)) == 20
    assert ledger.allow(peer, 0, 200, 1000.0)
    assert not ledger.allow(peer, 0, 1, 1000.0)
