"""Names of what an operator may say only once, read off a statement itself.

Whoever publishes a statement names its slot; this gives the same name to one that was heard.
"""

from __future__ import annotations

from protocol.evidence import key_of
from protocol.messages import (
    Accept,
    BidList,
    BidReceipt,
    BidShares,
    Body,
    Commit,
    Evidence,
    Kind,
    Proposal,
    SealedBid,
    SegmentResult,
    Status,
    Timeout,
    Unavailable,
    Vote,
)
from protocol.rounds.turn import slot_of
from protocol.sealing import is_ask


def slot_named(kind: Kind, body: Body) -> bytes | None:
    """The slot under which an operator publishes this; None for what it does not sign."""
    match body:
        case BidList() | BidShares() | Proposal() | Vote() | Commit() | Timeout() | Status():
            return slot_of(kind, body)
        case Evidence():
            return bytes([kind]) + key_of(body)
        case BidReceipt():
            return bytes([kind]) + body.round.to_bytes(8, "big") + body.bid_id
        case SealedBid() if is_ask(body):
            return bytes([kind]) + body.round.to_bytes(8, "big") + body.class_id
        case Accept() | SegmentResult() | Unavailable():
            return bytes([kind]) + body.request_id + body.segment.to_bytes(4, "big")
        case _:
            return None
