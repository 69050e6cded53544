"""A registered operator's node is replaced by a hostile one: the other three go on."""

from __future__ import annotations

import os
import random
import secrets
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from chain.contracts import ProverRegistry
from chain.tables import read_table
from devnet.cluster import ClusterSpec, run_cluster
from devnet.node_files import PASSWORD
from node.keys import load_keys
from node.net import HelloInfo, NetConfig, Refusal, compat, open_network
from node.net.counters import NetCounters
from node.net.gossip import GOSSIP_PROTOCOL
from node.net.hello import HELLO_PROTOCOL, greet
from node.net.host import build_host, dial
from node.net.identity import key_pair_of
from node.net.outbox import FRAME_PROTOCOL
from node.net.streams import StreamBrokenError, open_stream
from node.peers import records_of
from protocol.codec import encode
from protocol.messages import WIRE_VERSION, Envelope, Kind, Vote
from protocol.params import NETWORKS
from protocol.types import Address
from tests.e2e.workload import (
    ask,
    check_escrow,
    check_logs,
    documents_of,
    draw_accounts,
    logs_shown,
    settle_one,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from devnet.cluster import Cluster
    from node.net import PeerRecord

FLOOD: Final = 4_000
"""Frames in a row, without waiting: twice a peer's burst."""
GROWTH_LIMIT_MB: Final = 96
"""The queue for arriving frames alone may hold 64 MiB."""
REAL_FRAMES: Final = 40
VOTES: Final = frozenset({Kind.PREPARE, Kind.LOCK, Kind.COMMIT})
LISTEN: Final = "/ip4/127.0.0.1/tcp/0"

OVERSIZED: Final = "oversized"
# Whoever has cost too much is banned: a few of each kind first, and then all that goes through.
PLAN: Final = (
    {"stale": 200, "far ahead": 200, "replay": 200, "garbage": FLOOD},
    {"bad signature": 2, "unknown operator": 4, "mutated": FLOOD},
    {"too large": 2, OVERSIZED: 1, "unknown kind": 20, "mutated": FLOOD},
)
REASONS: Final = frozenset(
    {
        "stale",
        "too_early",
        "replayed",
        "malformed",
        "not_a_member",
        "bad_signature",
        "unknown_kind",
        "frame_too_large",
    }
)


async def nothing(_operator: bytes, _name: bytes, _path: Path) -> int:
    """Takes no blob."""
    return 64


async def swallow(stream: Any) -> None:
    """Read what a node sends and acknowledge nothing."""
    while await stream.read(65_536):
        pass


@dataclass
class Rogue:
    """Holds the keys of a registered operator and keeps no rule."""

    hello: HelloInfo
    seed: bytes
    victims: dict[bytes, PeerRecord]
    folder: Path
    heard: list[bytes] = field(default_factory=list)
    """Real frames, to be changed and sent again."""
    round: int = 0
    """The round that the victims work on."""
    refusals: Counter[Refusal] = field(default_factory=Counter)

    async def listen(self, address: str) -> None:
        """Take part like anybody else for a while, and keep what the others say."""
        config = NetConfig((address,), self.folder / "listener")
        async with open_network(config, self.seed, self.hello, nothing) as network:
            network.set_operators(self.victims)
            async for arrival in network.inbound:
                self.heard.append(arrival.frame)
                votes = sum(frame[2] in VOTES for frame in self.heard)
                if votes and len(self.heard) >= REAL_FRAMES:
                    break
            for _ in range(2):
                await network.broadcast(secrets.token_bytes(200), reliable=False)

    @asynccontextmanager
    async def host(self, seed: bytes) -> AsyncIterator[Any]:
        """A libp2p host without any of our manners."""
        compat.install()
        host = build_host(
            NetConfig((LISTEN,), self.folder / "rogue"), key_pair_of(seed), NetCounters()
        )
        for protocol in (FRAME_PROTOCOL, GOSSIP_PROTOCOL):
            host.set_stream_handler(protocol, swallow)
        async with host.run([]):
            try:
                yield host
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 3):
                    for connection in host.get_network().get_connections():
                        await connection.close()

    async def greet(self, host: Any, victim: PeerRecord, hello: HelloInfo) -> Any:
        """A connection with its hello done; None if it was refused."""
        connection = await dial(host, victim.peer_id, victim.multiaddrs[0], 10)
        assert connection is not None
        stream = await open_stream(connection, HELLO_PROTOCOL, 10)
        refusal = (await greet(stream, hello, lambda _: Refusal.NONE)).refusal
        self.refusals[refusal] += 1
        if refusal is Refusal.NONE:
            return connection
        await connection.close()
        return None

    async def attack(self, host: Any, victim: PeerRecord, plan: dict[str, int]) -> None:
        """Send one node every kind of nonsense in turn, each over a new connection."""
        attacks = self.attacks()
        for name, count in plan.items():
            connection = await self.greet(host, victim, self.hello)
            if connection is None:
                return
            with suppress(StreamBrokenError):
                stream = await open_stream(connection, FRAME_PROTOCOL, 10)
                if name == OVERSIZED:
                    await stream.write(b"\xff" * 64)  # announces 4 GiB
                else:
                    for number in range(count):
                        await stream.write_frame(attacks[name](number))
                # Its answer to the last byte, or its end: it has read everything.
                await stream.read_exactly(1 if name == OVERSIZED else count)
            await connection.close()
        assert await self.greet(host, victim, self.hello) is None

    def attacks(self) -> dict[str, Callable[[int], bytes]]:
        """Frames by what is wrong with them; the argument makes them differ."""
        me = self.hello.operator
        chance = random.Random(7)
        frames = [frame for frame in self.heard if frame[2] in VOTES]
        number = self.round

        def vote(sender: bytes, epoch: int, round_number: int) -> bytes:
            body = Vote(epoch, round_number, 1, secrets.token_bytes(32))
            return encode(Envelope(Kind.PREPARE, sender, body, bytes(96)))

        def mutated(_: int) -> bytes:
            frame = bytearray(chance.choice(self.heard))
            for _ in range(chance.randint(1, 4)):
                frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
            return bytes(frame)

        return {
            "garbage": lambda n: secrets.token_bytes(1 + n % 700),
            "unknown kind": lambda n: bytes([0x95, WIRE_VERSION, 100 + n % 27]) + bytes(40),
            "too large": lambda n: bytes([0x95, WIRE_VERSION, Kind.PREPARE]) + bytes(60_000 + n),
            "mutated": mutated,
            "bad signature": lambda n: vote(me, 1, number + n),
            "unknown operator": lambda n: vote((n + 1).to_bytes(20, "big"), 1, number),
            "stale": lambda n: vote(me, 0, number + n % 8),
            "far ahead": lambda n: vote(me, 1, number + 10_000 + n),
            "replay": lambda n: frames[n // 20 % len(frames)],
        }


async def strangers(rogue: Rogue) -> None:
    """A key that nobody registered, with every name it could give, and no TLS at all."""
    stranger = secrets.token_bytes(32)
    first, second = list(rogue.victims)[:2]
    hellos = {
        Refusal.UNKNOWN_OPERATOR: replace(rogue.hello, operator=secrets.token_bytes(20)),
        Refusal.WRONG_PEER_ID: replace(rogue.hello, operator=second),
        Refusal.WRONG_REGISTRY: replace(rogue.hello, registry=bytes(20)),
    }
    async with rogue.host(stranger) as host:
        for expected, hello in hellos.items():
            before = rogue.refusals[expected]
            assert await rogue.greet(host, rogue.victims[first], hello) is None
            assert rogue.refusals[expected] == before + 1
    for victim in rogue.victims.values():
        port = int(victim.multiaddrs[0].split("/")[4])
        for size in (1, 100, 10_000):
            with suppress(OSError):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(os.urandom(size))


async def test_three_nodes_settle_beside_a_hostile_fourth(tmp_path: Path) -> None:
    spec = ClusterSpec(nodes=4, hold=1)
    async with logs_shown(tmp_path), run_cluster(spec, tmp_path / "devnet", print) as cluster:
        rogue, listen = await rogue_of(cluster, tmp_path)
        before = memory_mb(cluster)
        settled: list[dict[str, Any]] = []

        async def submit(seed: int) -> None:
            settled.append(await settle_one(cluster, draw_accounts(24, seed), 200))

        with trio.fail_after(180):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(submit, 1)
                await rogue.listen(listen)
            rogue.round = (await ask(cluster.api_urls[0], "/v1/node"))["round"] + 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(submit, 2)
                nursery.start_soon(strangers, rogue)
                async with rogue.host(rogue.seed) as host, trio.open_nursery() as floods:
                    for victim, plan in zip(rogue.victims.values(), PLAN, strict=True):
                        floods.start_soon(rogue.attack, host, victim, plan)
        counted = await refused(cluster)
        grown = {name: size - before[name] for name, size in memory_mb(cluster).items()}
        print(f"round {rogue.round}; refused {dict(counted)}; grown by {grown} MB")
        print(f"hellos {dict(rogue.refusals)}")

        assert [document["state"] for document in settled] == ["settled"] * 2
        assert all(document["root_matches"] for document in settled)
        fees = 0
        for document in settled:
            everywhere = await documents_of(cluster, document["request_id"])
            assert {found["state"] for found in everywhere} == {"settled"}
            fees += int(everywhere[0]["result"]["fee"])
        await check_escrow(cluster, fees)
        assert counted.keys() >= REASONS, REASONS - counted.keys()
        assert rogue.refusals[Refusal.BANNED] == len(rogue.victims)
        assert counted["network:frame_too_large"] == 1
        assert max(grown.values()) < GROWTH_LIMIT_MB
        assert cluster.ended() == {}
        for name in list(cluster.nodes)[:3]:
            assert await cluster.stop(name) == 0
        check_logs(tmp_path / "devnet")


async def rogue_of(cluster: Cluster, folder: Path) -> tuple[Rogue, str]:
    """The hostile replacement of the node that was not started, and where it is to listen."""
    (held,) = [node for node in cluster.nodes.values() if node.child is None]
    keys = load_keys(held.files.folder / "keys", PASSWORD)
    deployment = cluster.deployment
    registry = ProverRegistry(cluster.client, deployment.contracts.prover_registry)
    table = await read_table(registry, 1)
    assert table is not None
    operator = next(
        Address(row.operator) for row in table.operators if row.session == keys.session.address
    )
    hello = HelloInfo(
        deployment.chain_id,
        deployment.contracts.prover_registry,
        NETWORKS[deployment.params].hash(),
        operator,
    )
    records = records_of(table, operator)
    return Rogue(hello, keys.peer_seed, records, folder), held.files.multiaddr


async def refused(cluster: Cluster) -> Counter[str]:
    """What all nodes refused, by reason, as their metrics show it."""
    found: Counter[str] = Counter()
    async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
        for url in cluster.api_urls:
            text = (await http.get(url + "/metrics")).raise_for_status().text
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == "provernet_frames_refused_total":
                        found[sample.labels["reason"]] += int(sample.value)
                    elif sample.name in {
                        "provernet_network_drops_total",
                        "provernet_network_refused_total",
                    }:
                        found["network:" + sample.labels["by"]] += int(sample.value)
    return found


def memory_mb(cluster: Cluster) -> dict[str, float]:
    """Resident memory of each running node."""
    found = {}
    for name, node in cluster.nodes.items():
        if node.child is not None:
            status = Path(f"/proc/{node.child.pid}/status").read_text()
            (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
            found[name] = int(line.split()[1]) / 1_024
    return found
