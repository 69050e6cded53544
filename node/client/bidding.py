"""Seals a requester's bid to the committee of the open epoch, as its node tells it.

The committee's keys come from the node that is asked, as the provers' do: ask one that you trust,
or compare them with the registry's table.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from node.box import BidCiphers
from protocol.codec import encode
from protocol.eip712 import digest
from protocol.messages import Envelope, Kind
from protocol.sealing import Offer, Terms, seal

if TYPE_CHECKING:
    from node.client.api import Json
    from node.crypto import SessionKey
    from protocol.eip712 import Domain


def default_reserve(max_fee: int) -> int:
    """Wei of escrow to set aside: public, so it says no more of the fee than its power of two."""
    return min(1 << (max_fee - 1).bit_length(), (1 << 96) - 1)


def sealed_bid(
    domain: Domain,
    request_id: bytes,
    class_id: bytes,
    max_fee: int,
    key: SessionKey,
    sealing: Json,
) -> bytes:
    """Frame of a bid, sealed anew for the committee in `sealing` (of GET /v1/node)."""
    terms = Terms(
        epoch=int(sealing["epoch"]),
        round=int(sealing["round"]),
        class_id=class_id,
        bidder=key.address,
        request_id=request_id,
    )
    keys = [_bytes(row["sealing_key"]) for row in sealing["committee"]]
    body = seal(domain, terms, Offer(max_fee), keys, secrets.token_bytes(32), BidCiphers())
    signature = key.sign(digest(domain, body))
    return encode(Envelope(int(Kind.SEALED_BID), key.address, body, signature))


def _bytes(text: object) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x"))
