"""Who is on the committee and who leads a view: pure functions of the frozen operator table.

OperatorTable(epoch, seed, operators)      weights, positions, quorum
committee(table, params) -> addresses      by table position
tolerated(members) -> f                    faulty members that a committee of that size stands
gateway(table, members, view) -> address   leader of the view's attempt
view_at(now_ms, genesis_ms, view_ms), view_start_ms(view, genesis_ms, view_ms)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.inputs import Operator
from protocol.params import ProtocolParams
from protocol.types import Address, Hash, TimestampMs, View

_CIRCLE: Final = 1 << 256
_GOLDEN: Final = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95
"""floor(2**256 / golden ratio), made odd: the additive recurrence of lowest discrepancy."""


@dataclass(frozen=True, slots=True)
class OperatorTable:
    """The operators of one epoch, frozen on chain; certificates name them by position."""

    epoch: int
    seed: Hash
    operators: tuple[Operator, ...]
    total: int = field(init=False)
    heaviest: int = field(init=False)
    """Weight of the operator with the most stake."""
    _positions: dict[bytes, int] = field(init=False, repr=False, compare=False)
    _drawn: dict[int, tuple[Address, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    """Committees by size: every step of a node asks for its own, and a draw takes milliseconds."""

    def __post_init__(self) -> None:
        positions = {row.operator: place for place, row in enumerate(self.operators)}
        if not positions or len(positions) != len(self.operators):
            raise LocalProtocolError("an operator table is empty or names an operator twice")
        if any(row.weight <= 0 for row in self.operators):
            raise LocalProtocolError("an operator without stake is in the table")
        object.__setattr__(self, "total", sum(row.weight for row in self.operators))
        object.__setattr__(self, "heaviest", max(row.weight for row in self.operators))
        object.__setattr__(self, "_positions", positions)

    def position_of(self, operator: bytes) -> int | None:
        """Table position of an operator, or None for a stranger."""
        return self._positions.get(operator)

    def weight_of(self, operator: bytes) -> int:
        """Stake of an operator; 0 for a stranger."""
        place = self._positions.get(operator)
        return 0 if place is None else self.operators[place].weight

    def committee_of(self, size: int) -> tuple[Address, ...]:
        """So many operators in table order, drawn once."""
        if size not in self._drawn:
            everyone = size == len(self.operators)
            rows = list(enumerate(self.operators)) if everyone else _draw(self, size)
            self._drawn[size] = tuple(Address(row.operator) for _, row in rows)
        return self._drawn[size]

    def too_few(self, signers: int) -> bool:
        """Tell whether so many operators are no quorum whoever they are: told without counting."""
        return not self.quorum(signers * self.heaviest)

    def quorum(self, signed: int) -> bool:
        """Tell whether this weight is strictly more than two thirds of the stake."""
        return 3 * signed > 2 * self.total


def tolerated(members: int) -> int:
    """The most faulty members that a committee of this size stands: f = floor((N - 1) / 3)."""
    return (members - 1) // 3


def committee(table: OperatorTable, params: ProtocolParams) -> tuple[Address, ...]:
    """Members in table order: all operators, or a draw by weight without replacement."""
    return table.committee_of(min(len(table.operators), params.max_committee))


def gateway(table: OperatorTable, members: tuple[Address, ...], view: int) -> Address:
    """Leader of a view: each member's share of the views is its share of the members' stake.

    The views step around a circle of stake by the golden ratio, so that shares hold over short
    spans too and nobody with less than 38% of the stake leads two views in succession: a dead
    gateway is always replaced by another one. The members' order on the circle is the seed's.
    """
    order = sorted(members, key=lambda member: keccak(table.seed + b"circle" + member))
    total = sum(table.weight_of(member) for member in members)
    phase = int.from_bytes(keccak(table.seed + b"phase"), "big")
    point = ((phase + view * _GOLDEN) % _CIRCLE) * total >> 256
    for member in order:
        point -= table.weight_of(member)
        if point < 0:
            return member
    raise LocalProtocolError("the committee has no stake in this table")


def view_at(now_ms: int, genesis_ms: int, view_ms: int) -> View:
    """View that holds this time; 0 before genesis."""
    return View(max(0, now_ms - genesis_ms) // view_ms)


def view_start_ms(view: int, genesis_ms: int, view_ms: int) -> TimestampMs:
    """First millisecond of a view."""
    return TimestampMs(genesis_ms + view * view_ms)


def _draw(table: OperatorTable, size: int) -> list[tuple[int, Operator]]:
    """Weighted sample without replacement, in table order.

    Each draw takes a 512-bit number modulo what is left of the stake: its bias is below 2**-256.
    """
    left = list(enumerate(table.operators))
    total = table.total
    drawn: list[tuple[int, Operator]] = []
    for turn in range(size):
        text = table.seed + b"committee" + turn.to_bytes(8, "big")
        ticket = int.from_bytes(keccak(text + b"\x00") + keccak(text + b"\x01"), "big") % total
        for place, (_, row) in enumerate(left):
            ticket -= row.weight
            if ticket < 0:
                drawn.append(left.pop(place))
                total -= row.weight
                break
    return sorted(drawn, key=lambda pair: pair[0])
