"""The public record of a round's clearings: what a batch commits to, and anybody can recompute.

    record = record_of(clearings)      JSON for the API, see docs/api.md
    clearings = parse_record(record)   raises ValueError for what is no record
    markets_hash(clearings)            what the batch's leaf commits to

The hash is keccak256 over one canonical encoding of the markets by class: inputs, then results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.auction import (
    Buyer,
    MarketInput,
    MarketReceipt,
    MarketResult,
    Seller,
    SlotPrice,
    Trade,
)
from protocol.clearing import Rule, Verdict
from protocol.dispatch import KNOWN_CLASSES
from protocol.hashing import keccak
from protocol.outcomes import MAX_PROVERS
from protocol.types import ZERO_HASH, Address, Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]
Clearing = tuple[MarketInput, MarketResult]

_MAX_BIDS: Final = 65_536
"""Bids of one side: more than the requests that can wait, and than operators."""
_MAX_SLOTS: Final = 1 << 32
_TAG: Final = b"provernet/markets/1"


def markets_hash(clearings: Sequence[Clearing]) -> Hash:
    """keccak256 of tag and canonical JSON of `record_of`; zero if nothing was cleared."""
    if not clearings:
        return ZERO_HASH
    return Hash(keccak(_TAG + msgspec.json.encode(record_of(clearings), order="sorted")))


def record_of(clearings: Sequence[Clearing]) -> list[Json]:
    """The markets as JSON."""
    return [_market_json(market, result) for market, result in clearings]


def parse_record(record: object) -> list[Clearing]:
    """The markets of a record; whether they are true is for the caller to recompute.

    Raises:
        ValueError: it is no record of markets.
    """
    rows = msgspec.convert(record, list[_Market])
    return [(_input(row), _result(row)) for row in rows]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """JSON of a record: bytes as 0x hex, amounts as decimal strings."""


class _Price(_Strict, frozen=True):
    num: str
    den: str


class _BuyerRow(_Strict, frozen=True):
    request_id: str
    slots: Annotated[int, Meta(ge=1, le=MAX_PROVERS)]
    max_fee: str
    allowlist: list[str]
    held: list[str]
    combining: bool


class _SellerRow(_Strict, frozen=True):
    operator: str
    slots: Annotated[int, Meta(ge=1, le=_MAX_SLOTS)]
    ask: str
    quality: int


class _TradeRow(_Strict, frozen=True):
    request_id: str
    fee: str
    provers: list[str]
    pays: list[str]
    standby: list[str]


class _ReceiptRow(_Strict, frozen=True):
    bidder: str
    verdict: str
    slots: int
    amount: str


class _Market(_Strict, frozen=True):
    class_id: str
    name: str
    rule: str
    reference_price: str
    recent: list[str]
    beacon: str
    buyers: Annotated[list[_BuyerRow], Meta(max_length=_MAX_BIDS)]
    waiting: Annotated[list[str], Meta(max_length=_MAX_BIDS)]
    sellers: Annotated[list[_SellerRow], Meta(max_length=_MAX_BIDS)]
    price: _Price | None
    rate: _Price | None
    next_price: str
    trades: list[_TradeRow]
    receipts: list[_ReceiptRow]
    surplus: str


def _market_json(market: MarketInput, result: MarketResult) -> Json:
    known = KNOWN_CLASSES.get(market.class_id)
    return {
        "class_id": _hex(market.class_id),
        "name": "" if known is None else known.name,
        "rule": market.rule.value,
        "reference_price": str(market.price),
        "recent": [str(price) for price in market.recent],
        "beacon": _hex(market.beacon),
        "buyers": [
            {
                "request_id": _hex(buyer.request_id),
                "slots": buyer.slots,
                "max_fee": str(buyer.max_fee),
                "allowlist": [_hex(operator) for operator in buyer.allowlist],
                "held": [_hex(operator) for operator in buyer.held],
                "combining": buyer.combining,
            }
            for buyer in market.buyers
        ],
        "waiting": [_hex(request_id) for request_id in market.waiting],
        "sellers": [
            {
                "operator": _hex(seller.operator),
                "slots": seller.slots,
                "ask": str(seller.ask),
                "quality": seller.quality,
            }
            for seller in market.sellers
        ],
        "price": _price_json(result.price),
        "rate": _price_json(result.rate),
        "next_price": str(result.next_price),
        "trades": [
            {
                "request_id": _hex(trade.request_id),
                "fee": str(trade.fee),
                "provers": [_hex(operator) for operator in trade.provers],
                "pays": [str(pay) for pay in trade.pays],
                "standby": [_hex(operator) for operator in trade.standby],
            }
            for trade in result.trades
        ],
        "receipts": [
            {
                "bidder": _hex(receipt.bidder),
                "verdict": receipt.verdict.code,
                "slots": receipt.slots,
                "amount": str(receipt.amount),
            }
            for receipt in result.receipts
        ],
        "surplus": str(result.surplus),
    }


def _input(row: _Market) -> MarketInput:
    return MarketInput(
        class_id=Hash(_raw(row.class_id, 32)),
        rule=Rule(row.rule),
        price=_wei(row.reference_price),
        recent=tuple(_wei(price) for price in row.recent),
        beacon=Hash(_raw(row.beacon, 32)),
        buyers=tuple(
            Buyer(
                request_id=Hash(_raw(buyer.request_id, 32)),
                slots=buyer.slots,
                max_fee=_wei(buyer.max_fee),
                allowlist=_addresses(buyer.allowlist),
                held=_addresses(buyer.held),
                combining=buyer.combining,
            )
            for buyer in row.buyers
        ),
        waiting=tuple(Hash(_raw(late, 32)) for late in row.waiting),
        sellers=tuple(
            Seller(Address(_raw(each.operator, 20)), each.slots, _wei(each.ask), each.quality)
            for each in row.sellers
        ),
    )


def _result(row: _Market) -> MarketResult:
    return MarketResult(
        price=_price(row.price),
        rate=_price(row.rate),
        next_price=_wei(row.next_price),
        trades=tuple(
            Trade(
                request_id=Hash(_raw(trade.request_id, 32)),
                fee=_wei(trade.fee),
                provers=_addresses(trade.provers),
                pays=tuple(_wei(pay) for pay in trade.pays),
                standby=_addresses(trade.standby),
            )
            for trade in row.trades
        ),
        receipts=tuple(
            MarketReceipt(
                bidder=bytes.fromhex(receipt.bidder.removeprefix("0x")),
                verdict=_verdict(receipt.verdict),
                slots=receipt.slots,
                amount=_wei(receipt.amount),
            )
            for receipt in row.receipts
        ),
        surplus=_wei(row.surplus),
    )


_VERDICTS: Final = {verdict.code: verdict for verdict in Verdict}


def _verdict(code: str) -> Verdict:
    if code not in _VERDICTS:
        raise ValueError(f"{code[:80]!r} is no verdict")
    return _VERDICTS[code]


def _price_json(price: SlotPrice | None) -> Json | None:
    return None if price is None else {"num": str(price.num), "den": str(price.den)}


def _price(price: _Price | None) -> SlotPrice | None:
    return None if price is None else SlotPrice(_wei(price.num), _wei(price.den))


def _addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    return tuple(Address(_raw(text, 20)) for text in texts)


def _wei(text: str) -> Wei:
    """A decimal amount; lengths that take long to read are no amounts."""
    if not (text.isascii() and text.isdigit() and len(text) <= 80):
        raise ValueError(f"{text[:80]!r} is no amount")
    return Wei(int(text))


def _raw(text: str, size: int) -> bytes:
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != size:
        raise ValueError(f"{text[:80]!r} has not {size} bytes")
    return raw


def _hex(raw: bytes) -> str:
    return "0x" + bytes(raw).hex()
