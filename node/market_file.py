"""Market files: what `node auction clear` reads, checked to the last field, and what it answers.

The format stands in docs/auction.md. Whoever wrote the file is not trusted: no float, no unknown
field, no id twice, no amount beyond 2**255, no file beyond its bounds gets as far as the clearing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from node.errors import InputError
from protocol.clearing import (
    FULL_QUALITY,
    Cleared,
    Lot,
    Offer,
    Rule,
    clear_thick,
    clear_thin,
    rule_for,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_BYTES: Final = 512 << 20
MAX_ROWS: Final = 2_000_000
"""Buyers and sellers together."""
MAX_AMOUNT: Final = 1 << 255
MAX_SLOTS: Final = 1 << 53
MAX_COPIED_SLOTS: Final = 20_000_000
"""Slots that all buyers want where any wants copies: these are assigned one by one."""
MAX_ID_BYTES: Final = 256
_DECIMAL: Final = re.compile(r"[0-9]{1,77}")
_BEACON: Final = re.compile(r"0x(?:[0-9a-fA-F]{2}){0,64}")


class _BuyerRow(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    slots: int
    max_fee: int | str
    copies: int = 1


class _SellerRow(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    slots: int
    ask: int | str
    quality: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["thick", "thin", "auto"]
    reference_price: int | str
    beacon: str
    buyers: list[_BuyerRow]
    sellers: list[_SellerRow]


class Market(msgspec.Struct, frozen=True):
    """A market as a file gives it; `rule` is what its mode comes to."""

    rule: Rule
    reference_price: int
    beacon: bytes
    buyers: tuple[Lot, ...]
    sellers: tuple[Offer, ...]

    def clear(self) -> Cleared:
        """Clear it by its rule."""
        if self.rule is Rule.THICK:
            return clear_thick(self.buyers, self.sellers, self.beacon)
        return clear_thin(self.buyers, self.sellers, self.beacon, self.reference_price)


def load_market(path: Path) -> Market:
    """Read a market file; raises InputError that names what is wrong with it and where."""
    try:
        large = path.stat().st_size > MAX_BYTES
        with path.open("rb") as file:
            # Of a pipe or a device nobody knows the size before.
            raw = b"" if large else file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise InputError(f"can not read {path}: {exc.strerror}", "give a market file") from exc
    if large or len(raw) > MAX_BYTES:
        raise _bad(path, f"more than {MAX_BYTES >> 20} MiB", "split the market by class")
    try:
        found = msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _bad(path, str(exc)) from exc
    if len(found.buyers) + len(found.sellers) > MAX_ROWS:
        raise _bad(path, f"more than {MAX_ROWS} buyers and sellers", "split the market by class")
    try:
        return _checked(found)
    except ValueError as exc:
        raise _bad(path, str(exc)) from exc


def shown(market: Market, cleared: Cleared) -> dict[str, Any]:
    """The answer as JSON: one row for each bid, in the order of the file."""
    buyer_verdicts, seller_verdicts = cleared.verdicts
    price = cleared.price
    return {
        "mode": cleared.rule.value,
        "buyer_price": price and {"num": price.numerator, "den": price.denominator},
        "buyers": [
            {
                "id": lot.id.decode(),
                "won": verdict.code == "won",
                "pays": pays,
                "reason": verdict.code,
            }
            for lot, verdict, pays in zip(market.buyers, buyer_verdicts, cleared.pays, strict=True)
        ],
        "sellers": [
            {
                "id": offer.id.decode(),
                "slots_sold": sold,
                "receives": receives,
                "reason": verdict.code,
            }
            for offer, verdict, sold, receives in zip(
                market.sellers, seller_verdicts, cleared.sold, cleared.receives, strict=True
            )
        ],
        "treasury": cleared.treasury,
    }


def _checked(found: _File) -> Market:
    if _BEACON.fullmatch(found.beacon) is None:
        raise ValueError("$.beacon: at most 64 bytes as 0x and hexadecimal digits")
    price = _amount(found.reference_price, "$.reference_price")
    buyers = tuple(_lot(row, f"$.buyers[{at}]") for at, row in enumerate(found.buyers))
    sellers = tuple(_offer(row, f"$.sellers[{at}]") for at, row in enumerate(found.sellers))
    copied = any(lot.copies > 1 for lot in buyers)
    if copied and sum(lot.slots for lot in buyers) > MAX_COPIED_SLOTS:
        raise ValueError(f"$.buyers: with copies, all want at most {MAX_COPIED_SLOTS} slots")
    _distinct([lot.id for lot in buyers], "$.buyers")
    _distinct([offer.id for offer in sellers], "$.sellers")
    rule = rule_for(len(buyers), len(sellers)) if found.mode == "auto" else Rule(found.mode)
    if rule is Rule.THIN and price < 1:
        raise ValueError("$.reference_price: a posted price is at least 1")
    return Market(rule, price, bytes.fromhex(found.beacon[2:]), buyers, sellers)


def _lot(row: _BuyerRow, where: str) -> Lot:
    slots = _between(row.slots, 1, MAX_SLOTS, f"{where}.slots")
    copies = _between(row.copies, 1, slots, f"{where}.copies")
    if slots % copies:
        raise ValueError(f"{where}.slots: segments times copies, so a multiple of {copies}")
    return Lot(_id(row.id, where), slots, _amount(row.max_fee, f"{where}.max_fee"), copies)


def _offer(row: _SellerRow, where: str) -> Offer:
    return Offer(
        _id(row.id, where),
        _between(row.slots, 1, MAX_SLOTS, f"{where}.slots"),
        _amount(row.ask, f"{where}.ask"),
        _between(row.quality, 1, FULL_QUALITY, f"{where}.quality"),
    )


def _id(text: str, where: str) -> bytes:
    raw = text.encode()
    if not 0 < len(raw) <= MAX_ID_BYTES:
        raise ValueError(f"{where}.id: 1 to {MAX_ID_BYTES} bytes")
    return raw


def _amount(given: int | str, where: str) -> int:
    if isinstance(given, str):
        if _DECIMAL.fullmatch(given) is None:
            raise ValueError(f"{where}: an integer, or decimal digits in a string")
        given = int(given)
    return _between(given, 0, MAX_AMOUNT, where)


def _between(given: int, low: int, high: int, where: str) -> int:
    if not low <= given <= high:
        raise ValueError(f"{where}: from {low} to {high}")
    return given


def _distinct(ids: Sequence[bytes], where: str) -> None:
    seen: set[bytes] = set()
    for at, each in enumerate(ids):
        if each in seen:
            raise ValueError(f"{where}[{at}].id: {each.decode()!r} is there already")
        seen.add(each)


def _bad(path: Path, cause: str, mend: str = "see docs/auction.md") -> InputError:
    return InputError(f"{path} is no market: {cause}", mend)
