"""A class's market and an operator's standing as they are now, as JSON for the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocol.dispatch import KNOWN_CLASSES
from protocol.ledger import market_of, occupied
from protocol.reputation import MIN_QUALITY, NEWCOMER, quality, slot_cap

if TYPE_CHECKING:
    from protocol.ledger import Ledger
    from protocol.params import ProtocolParams
    from protocol.types import Address, Hash

Json = dict[str, Any]


def market_json(ledger: Ledger, class_id: Hash, params: ProtocolParams) -> Json:
    """The market that the next round clears; amounts in wei as decimal strings."""
    market = market_of(ledger, class_id, params)
    busy = occupied(ledger.open.values(), class_id)
    waiting = [
        entry
        for _, entry in sorted(ledger.open.items())
        if entry.award is None and entry.class_id == class_id
    ]
    return {
        "class_id": _hex(class_id),
        "name": KNOWN_CLASSES[class_id].name,
        "round": ledger.round + 1,
        "epoch": market.epoch,
        "rule": market.rule.value,
        "next_epoch_rule": market.next_rule().value,
        "reference_price": str(market.price),
        "bid_fee_bps": params.bid_fee_bps,
        "clearings": market.clearings,
        "buyers": market.buyers,
        "sellers": market.sellers,
        "waiting": [
            {
                "request_id": _hex(entry.request_id),
                "slots": entry.slots,
                "missing": entry.missing,
                "max_fee": str(entry.max_fee),
                "bid_fee": str(entry.bid_fee),
                "deadline_view": entry.request.deadline_view,
                "verdict": entry.verdict,
            }
            for entry in waiting
        ],
        "announced": [
            {"operator": _hex(operator), "slots": slots, "busy": busy.get(operator, 0)}
            for operator, slots in sorted(market.announced.items())
        ],
    }


def standing_json(ledger: Ledger, operator: Address, params: ProtocolParams) -> Json:
    """An operator's reputation, and what it allows; weights in thousandths of a slot."""
    standing = ledger.standings.get(operator, NEWCOMER)
    return {
        "operator": _hex(operator),
        "proven": standing.proven,
        "good": standing.good,
        "bad": standing.bad,
        "quality": quality(standing),
        "min_quality": MIN_QUALITY,
        "eligible": quality(standing) >= MIN_QUALITY,
        "slot_cap": slot_cap(standing, params.newcomer_slots),
        "earned": str(ledger.credits.get(operator, 0)),
    }


def _hex(raw: bytes) -> str:
    return "0x" + bytes(raw).hex()
