"""Mutants of every kind over a real connection, into a node that has rounds to decide meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from node.net.outbox import FRAME_PROTOCOL, PAUSE_FIRST
from node.net.records import MAX_STREAM_FRAME, Ack, Refusal
from node.net.streams import PeerStream, StreamBrokenError, open_stream
from protocol.bounds import SIGNATURE_SIZES
from protocol.codec import decode, decode_decided, encode
from protocol.eip712 import signed_digest
from protocol.errors import Rejection, RejectionReason
from protocol.messages import Envelope, FetchBatches, Kind
from tests.node import test_four_nodes as four
from tests.node.net.conftest import Rogue, World, eventually, running
from tests.node.net.live import HONEST, chunks, live_network, rss_mb
from tests.node.operators import BLS_KEYS, DOMAIN, OPERATORS, SESSIONS, WORD
from tests.protocol.mutants import applied, edits, pairs
from tests.protocol.wire_samples import Palette, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MUTANTS: Final = 10_000
ME: Final = OPERATORS[HONEST]
PALETTE: Final = Palette(numbers=(1,), words=(ME, WORD))
LONGEST: Final = 65_536
IN_FLIGHT: Final = 64
GROWTH_LIMIT_MB: Final = 96
"""As of a node beside a hostile one: its queue for arriving frames alone may hold 64 MiB."""
# What the first steps of ingress refuse is known beforehand, frame by frame.
FORESEEN: Final = frozenset(
    {RejectionReason.MALFORMED, RejectionReason.UNKNOWN_KIND, RejectionReason.FRAME_TOO_LARGE}
)
# All of it must get as far as it can: that a peer is limited and banned for it has its own tests.
UNLIMITED: Final = dict.fromkeys(
    ("ban_points", "rate_frames", "burst_frames", "rate_bytes", "burst_bytes"), 1e12
)


async def test_ten_thousand_mutants_stop_no_round(
    world: World, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("node.ingress.BURST_TOKENS", 10**12)
    rogue = Rogue(HONEST, tmp_path / "rogue", world.hello)
    heard: Counter[int] = Counter()
    rogue.host.set_stream_handler(FRAME_PROTOCOL, partial(acknowledge, heard))
    async with (
        running(rogue.host),
        live_network(world, rogue, tmp_path, **UNLIMITED) as network,
    ):
        victim, *others = network.nodes
        own, foreign = mutants(*four.request_frames(network.genesis_ms, views=30))
        frames = own + foreign
        assert len(frames) >= MUTANTS
        foreseen = Counter(filter(None, map(refusal, frames)))
        conn, refused = await rogue.greet(victim.wire)
        assert refused is Refusal.NONE
        stream = await open_stream(conn, FRAME_PROTOCOL, 30)
        before, start = rss_mb(), trio.current_time()
        # While nothing is to be decided, what names the first round is of now.
        await deliver(stream, own)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.expire_a_request, 4)
            await deliver(stream, foreign)
        counts = victim.ingress.refusals
        await eventually(lambda: all(counts[why.code] >= foreseen[why] for why in FORESEEN), 60)
        grown, took = rss_mb() - before, trio.current_time() - start
        print(f"{len(frames)} mutants in {took:.1f} s, grown by {grown:.0f} MB")
        mine = {
            kind: count for (who, kind), count in victim.admitted.items() if who == sender_of(kind)
        }
        print(f"admitted {mine}, refused {dict(counts)}")
        # Most kinds got as far as the replica; a certificate can not be made by one alone.
        assert len(mine) > len(Kind) // 2
        assert sum(mine.values()) > 20 * len(Kind)
        assert counts.keys() >= {"malformed", "unknown_kind", "bad_signature", "wrong_sender"}
        assert grown < GROWTH_LIMIT_MB
        for why in RejectionReason:
            charged = victim.net.counters.penalties.get(why.code, 0)
            assert charged == counts[why.code] * why.value.penalty, why

        # It still answers, and still decides.
        heard.clear()
        await deliver(stream, [encode(Envelope(Kind.FETCH_BATCHES, ME, FetchBatches(1), b""))])
        await eventually(lambda: heard[Kind.BATCHES])
        await network.expire_a_request(3)
        assert [node.faults for node in network.nodes] == [[]] * HONEST
        # The honest pay for nothing, though some of what the rogue signed was handed on to them.
        for node in others:
            assert not node.net.counters.penalties
        held = [await node.store.decided(1, 100) for node in network.nodes]
        common = min(map(len, held))
        assert common >= 2
        assert len({rounds[:common] for rounds in values_of(held)}) == 1


def mutants(request: bytes, bid: bytes) -> tuple[list[bytes], list[bytes]]:
    """As many of each kind: changed once and signed again; changed once, and changed twice."""
    share = -(-MUTANTS // (3 * len(Kind)))
    strangers = [frames_of(kind, PALETTE, sender_of(kind))[-1] for kind in Kind]
    own: dict[bytes, None] = {}
    foreign: dict[bytes, None] = {}
    for kind in Kind:
        chance = random.Random(int(kind))
        known = {Kind.REQUEST: [request], Kind.SEALED_BID: [bid]}
        bases = [*frames_of(kind, PALETTE, sender_of(kind)), *known.get(kind, [])]
        pools = [(base, edits(base, strangers)) for base in bases]
        changed = [[applied(base, edit) for edit in pool] for base, pool in pools]
        for frames in changed:
            chance.shuffle(frames)
        # The richest and the poorest by turns: a certificate inside can not be signed again.
        once = [frame for both in zip(changed[0], changed[-1], strict=False) for frame in both]
        fill(own, signed([*bases, *once]), share)
        fill(foreign, iter(once), share)
        fill(foreign, pairs(*pools[0], chance), share)
    return list(own), list(foreign)


def fill(found: dict[bytes, None], source: Iterator[bytes], count: int) -> None:
    """Take so many more that differ, or all there are."""
    wanted = len(found) + count
    for frame in source:
        if 0 < len(frame) <= LONGEST:
            found[frame] = None
        if len(found) == wanted:
            return


def sender_of(kind: Kind) -> bytes:
    """Requests are signed by an account, all else by the operator."""
    return SESSIONS[HONEST].address if kind in {Kind.REQUEST, Kind.CANCEL} else ME


def signed(frames: list[bytes]) -> Iterator[bytes]:
    """Those that are messages, with the rogue's own signature: they get past ingress, or nearly."""
    for frame in frames:
        if refusal(frame) is None:
            envelope = decode(frame)
            size = SIGNATURE_SIZES[Kind(envelope.kind)]
            if size:
                key = BLS_KEYS[HONEST] if size == 96 else SESSIONS[HONEST]
                with suppress(Rejection):  # evidence of statements that are none has no digest
                    signature = key.sign(signed_digest(DOMAIN, envelope))
                    envelope = msgspec.structs.replace(envelope, signature=signature)
            yield encode(envelope)


def refusal(frame: bytes) -> RejectionReason | None:
    """Why the decoder refuses a frame."""
    try:
        decode(frame)
    except Rejection as exc:
        return exc.reason
    return None


async def acknowledge(heard: Counter[int], inner: Any) -> None:
    """Take the victim's own frames: a peer that acknowledges nothing is cut."""
    stream = PeerStream(inner, 30)
    with suppress(StreamBrokenError):
        while True:
            heard[(await stream.read_frame(MAX_STREAM_FRAME))[2]] += 1
            await stream.write(bytes([Ack.OK]))


async def deliver(stream: PeerStream, frames: list[bytes]) -> None:
    """Send all, and again what the node had no room for, as an honest outbox does."""
    for batch in chunks(frames, IN_FLIGHT):
        left = batch
        while left:
            await stream.write(b"".join(len(frame).to_bytes(4) + frame for frame in left))
            acks = await stream.read_exactly(len(left))
            assert set(acks) <= {Ack.OK, Ack.FULL}
            left = [frame for frame, ack in zip(left, acks, strict=True) if ack == Ack.FULL]
            if left:
                await trio.sleep(PAUSE_FIRST)


def values_of(held: list[list[bytes]]) -> list[tuple[bytes, ...]]:
    """The Values of stored rounds: certificates of one round may differ in who signed."""
    return [
        tuple(msgspec.msgpack.encode(decode_decided(raw).value) for raw in rounds)
        for rounds in held
    ]
