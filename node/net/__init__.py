"""The peer-to-peer adapter: bytes in, bytes out, over libp2p. It knows no kind of message."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # libp2p imports the old half of websockets for a transport that this project does not offer.
    warnings.filterwarnings("ignore", "websockets.legacy is deprecated", DeprecationWarning)
    import libp2p.pubsub.gossipsub  # noqa: F401

from node.net.identity import peer_id_bytes, peer_id_from_bytes, peer_id_of_seed
from node.net.network import Libp2pNetwork, open_network, run_network
from node.net.records import (
    HelloInfo,
    Inbound,
    NetConfig,
    NetError,
    PeerRecord,
    Refusal,
)

__all__ = [
    "HelloInfo",
    "Inbound",
    "Libp2pNetwork",
    "NetConfig",
    "NetError",
    "PeerRecord",
    "Refusal",
    "open_network",
    "peer_id_bytes",
    "peer_id_from_bytes",
    "peer_id_of_seed",
    "run_network",
]
