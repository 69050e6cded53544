"""Who pays for a frame that goes no further."""

from __future__ import annotations

import pytest
import trio

from node.ingress import Ingress
from node.ingress_checks import Horizon
from node.metrics import Metrics
from node.net import Inbound
from node.services.intake import take_frames
from protocol.codec import encode
from protocol.messages import Envelope, Kind
from tests.node.operators import (
    CRYPTO,
    DOMAIN,
    EPOCH,
    OPERATORS,
    ROUND,
    frame_of,
    sealed_bid,
    table_of,
)

ASK = sealed_bid(OPERATORS[1])
FORGED = encode(Envelope(int(Kind.SEALED_BID), OPERATORS[1], ASK, bytes(65)))


class Peers:
    """The part of the network that is told who misbehaved."""

    def __init__(self):
        self.charged = []

    def penalise(self, operator, reason, points):
        self.charged.append((operator, reason))


class Clock:
    def now_ms(self):
        return 1_000


@pytest.mark.parametrize(
    ("frame", "via", "charged"),
    [
        (b"no message", "stream", ["malformed"]),
        (b"no message", "gossip", ["malformed"]),
        (FORGED, "stream", ["bad_signature"]),
        (FORGED, "gossip", []),
        (frame_of(1, Kind.SEALED_BID, ASK), "stream", []),
        (frame_of(1, Kind.SEALED_BID, ASK), "gossip", []),
    ],
)
async def test_who_signed_gossip_pays_for_garbage_alone(frame, via, charged):
    sender, arrivals = trio.open_memory_channel(1)
    await sender.send(Inbound(OPERATORS[2], frame, via))
    await sender.aclose()
    peers, taken, faults = Peers(), [], []

    async def submit(event):
        taken.append(event)

    await take_frames(
        arrivals,
        Ingress(DOMAIN, CRYPTO, faults.append),
        lambda: Horizon({EPOCH: table_of()}, ROUND),
        peers,
        submit,
        Metrics(),
        Clock(),
    )
    assert peers.charged == [(OPERATORS[2], reason) for reason in charged]
    assert bool(taken) == (frame not in (b"no message", FORGED))
    assert faults == []
