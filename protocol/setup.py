"""What a replica is told once: who it is, and on which network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.crypto import Aggregator, BidCipher
    from protocol.eip712 import Domain
    from protocol.params import ProtocolParams
    from protocol.types import Address


@dataclass(frozen=True, slots=True)
class Setup:
    """Who this replica is and on which network."""

    me: Address
    domain: Domain
    params: ProtocolParams
    genesis_ms: int
    secret: bytes
    """32 bytes that only this node knows: all that is random in its asks follows from it."""
    aggregator: Aggregator
    cipher: BidCipher
    """Opens what was sealed to this node's keys."""
