"""Values that cross the border of the network adapter, and its limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

PROTOCOL_VERSION = 1
MAX_STREAM_FRAME = 1 * MIB
MAX_GOSSIP_FRAME = 512 * KIB
MAX_BLOB = 64 * MIB
MAX_BLOB_NAME = 128
BLOB_CHUNK = 60 * KIB


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What the on-chain registry says about one operator's node."""

    operator: bytes  # 20 bytes
    peer_id: str  # base58
    multiaddrs: tuple[str, ...]  # /ip4|ip6|dns*/.../tcp/PORT


@dataclass(frozen=True, slots=True)
class Inbound:
    """One frame from an operator whose identity libp2p has proven."""

    operator: bytes  # 20 bytes
    frame: bytes
    via: Literal["gossip", "stream"]


@dataclass(frozen=True, slots=True)
class HelloInfo:
    """What both ends of a connection must agree on, and who this end is."""

    chain_id: int
    registry: bytes  # 20 bytes, the ProverRegistry
    parameters_hash: bytes  # 32 bytes
    operator: bytes  # 20 bytes
    version: int = PROTOCOL_VERSION


class Refusal(IntEnum):
    """Why a connection is not admitted; the code is told to the peer."""

    NONE = 0
    MALFORMED = 1
    WRONG_VERSION = 2
    WRONG_CHAIN = 3
    WRONG_REGISTRY = 4
    WRONG_PARAMETERS = 5
    UNKNOWN_OPERATOR = 6
    WRONG_PEER_ID = 7
    BANNED = 8
    TIMEOUT = 9
    DUPLICATE = 10


class Ack(IntEnum):
    """The one-byte answer to a frame or a blob. 64 and above are the blob handler's own."""

    OK = 0
    FULL = 1
    RATE_LIMITED = 2
    TOO_LARGE = 3
    MALFORMED = 4
    BAD_HASH = 5
    BUSY = 6
    HANDLER_FAILED = 7


class NetError(Exception):
    """The network could not start: the message names the cause."""


@dataclass(frozen=True, slots=True)
class NetConfig:
    """Where to listen, and every limit. Times in seconds, sizes in bytes."""

    listen: tuple[str, ...]
    blob_dir: Path
    topic: str = "provernet/1"

    hello_timeout: float = 5.0
    linger: float = 1.0  # for a refused peer to read the refusal
    io_timeout: float = 10.0  # one frame, one write, one acknowledgement
    dial_timeout: float = 10.0
    stop_timeout: float = 5.0
    send_expiry: float = 30.0

    redial_first: float = 0.3
    redial_cap: float = 30.0
    yield_delay: float = 1.0  # the operator with the higher address lets the other dial first
    race_window: float = 10.0  # two connections this close in age come from a simultaneous dial
    jitter: Callable[[], float] = field(default=random.random)  # uniform in [0, 1)

    pending_per_ip: int = 32
    pending_total: int = 128
    unadmitted_total: int = 64
    connections: int = 512
    streams_per_connection: int = 64

    inbound_frames: int = 2048
    inbound_bytes: int = 64 * MIB
    outbox_frames: int = 2048
    outbox_bytes: int = 32 * MIB
    in_flight: int = 64

    rate_frames: float = 500.0  # a second, per peer, gossip it forwards included
    burst_frames: float = 2000.0
    rate_bytes: float = 8.0 * MIB
    burst_bytes: float = 32.0 * MIB

    ban_points: float = 100.0
    ban_seconds: float = 600.0
    points_decay: float = 1.0  # points forgotten each second

    blobs_per_operator: int = 2
    partial_bytes: int = 256 * MIB  # unfinished blobs of one operator on disk
    partial_age: float = 600.0
