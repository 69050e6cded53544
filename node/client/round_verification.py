"""Recomputes a decided round from its public record, and compares what several nodes say of it.

A certificate is over the batch, the batch commits to inputs and results of the round's clearings:
so over two thirds of the stake answer for what went in, and anybody can recompute what came out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from node.client.bundle_format import (
    BatchDocument,
    BundleError,
    CertificateDocument,
    Hash32,
    InclusionDocument,
    TableDocument,
    batch_of,
    certificate_of,
    raw,
    table_of,
)
from node.client.table_hash import TableHashError, table_hash
from node.client.verification import (
    FailedError,
    Step,
    check_batch,
    check_certificate,
    require,
    run_step,
)
from node.crypto import Crypto
from protocol.auction import clear
from protocol.batch import markets_leaf
from protocol.eip712 import value_digest
from protocol.market_record import markets_hash, parse_record, record_of
from protocol.merkle import verify_proof
from protocol.messages import Value

if TYPE_CHECKING:
    from protocol.eip712 import Domain
    from protocol.market_record import Clearing

Json = dict[str, Any]

_MAX_IDS: Final = 4_096
Ids = Annotated[list[Hash32], Meta(max_length=_MAX_IDS)]


class RoundDocument(msgspec.Struct, frozen=True):
    """What `GET /v1/rounds/{n}` gives, as far as it can be checked."""

    round: int
    epoch: int
    parent: Hash32
    lists: Ids
    bids: Ids
    outcomes: Ids
    evidence: Ids
    next_epoch: int
    markets: list[Any]
    batch: BatchDocument
    inclusion: InclusionDocument | None
    certificate: CertificateDocument


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What one node's record of a round is worth."""

    node: str
    steps: tuple[Step, ...]
    markets: list[Json]
    """What the node says was cleared."""
    batch: str
    """Digest that the certificate is over, 0x hex."""

    @property
    def difference(self) -> str:
        """The first step that does not hold, empty if all do."""
        return next((f"{step.name}: {step.detail}" for step in self.steps if not step.ok), "")

    def as_json(self) -> Json:
        """What `node auction verify --json` prints of a node."""
        rows = [{"name": step.name, "ok": step.ok, "detail": step.detail} for step in self.steps]
        return {"node": self.node, "ok": not self.difference, "batch": self.batch, "steps": rows}


def verify_round(
    node: str, document: object, table: object, domain: Domain, trusted: bytes | None = None
) -> RoundReport:
    """Check one node's record of a round.

    `trusted` is the hash of the epoch's operator table, if the caller knows it; without it, whoever
    made the record could have invented the operators.

    Raises:
        ValueError: it is no record.
    """
    try:
        held = msgspec.convert(document, RoundDocument)
        operators = table_of(msgspec.convert(table, TableDocument))
        batch, certificate = batch_of(held.batch), certificate_of(held.certificate)
    except BundleError as exc:
        raise ValueError(str(exc)) from exc
    clearings = parse_record(held.markets)
    crypto = Crypto()

    def value() -> str:
        computed = value_digest(
            domain,
            Value(
                epoch=held.epoch,
                round=held.round,
                parent=raw(held.parent),
                lists=_bytes(held.lists),
                bids=_bytes(held.bids),
                outcomes=_bytes(held.outcomes),
                evidence=_bytes(held.evidence),
                next_epoch=held.next_epoch,
            ),
        )
        require(computed == batch.value, "the batch is of another Value")
        return f"{len(held.bids)} bids, {len(held.outcomes)} outcomes, {len(held.lists)} lists"

    def committed() -> str:
        leaf = markets_leaf(markets_hash(clearings))
        if held.inclusion is None:
            require(batch.root == leaf, "the batch commits to other clearings")
        else:
            siblings = [raw(sibling) for sibling in held.inclusion.siblings]
            found = verify_proof(batch.root, leaf, siblings, held.inclusion.index)
            require(found, "the batch commits to other clearings")
        return "the batch commits to them"

    def table_known() -> str:
        try:
            computed = table_hash(operators.operators)
        except TableHashError as exc:
            raise FailedError(f"its hash can not be recomputed: {exc}") from exc
        if trusted is None:
            return f"its hash is 0x{computed.hex()}; NOT compared, give it with --table-hash"
        require(computed == trusted, f"its hash is 0x{computed.hex()}, not the one you trust")
        return f"0x{computed.hex()}, the hash you trust"

    checks = (
        ("value", value),
        ("clearings", lambda: _recomputed(clearings)),
        ("commitment", committed),
        ("batch", lambda: check_batch(batch, certificate, domain)),
        ("certificate", lambda: check_certificate(certificate, operators, crypto)),
        ("operator table", table_known),
    )
    steps = tuple(run_step(name, check) for name, check in checks)
    return RoundReport(node, steps, record_of(clearings), held.certificate.digest)


def compare(reports: list[RoundReport]) -> str:
    """The first difference between what nodes say of a round; empty if there is none."""
    first, *others = reports
    for other in others:
        found = first_difference(first.markets, other.markets, "markets")
        if not found and first.batch != other.batch:
            found = f"batch: {first.batch} and {other.batch}"
        if found:
            return f"{first.node} and {other.node}: {found}"
    return ""


def first_difference(left: object, right: object, where: str) -> str:
    """Where two JSON values differ first, and how; empty if they are the same."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        pairs = [(left[name], right[name], f"{where}.{name}") for name in left]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        rows = enumerate(zip(left, right, strict=True))
        pairs = [(one, two, f"{where}[{at}]") for at, (one, two) in rows]
    else:
        return "" if left == right else f"{where}: {_short(left)} and {_short(right)}"
    found = (first_difference(*pair) for pair in pairs)
    return next((difference for difference in found if difference), "")


def _recomputed(clearings: list[Clearing]) -> str:
    again = [(market, clear(market)) for market, _ in clearings]
    found = first_difference(record_of(clearings), record_of(again), "markets")
    if found:
        raise FailedError(f"recorded and recomputed: {found}")
    slots = sum(len(trade.provers) for _, result in clearings for trade in result.trades)
    return f"{len(clearings)} markets, {slots} slots sold: recomputed, identical"


def _bytes(ids: list[str]) -> tuple[bytes, ...]:
    return tuple(raw(text) for text in ids)


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 100 else text[:97] + "..."
