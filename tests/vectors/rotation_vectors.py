"""The schedule for `rotation.json`: committees and gateways of two tables."""

from __future__ import annotations

from protocol.inputs import Operator
from protocol.params import DEVNET
from protocol.rotation import OperatorTable, committee, gateway
from tests.vectors.encoding import address, hex_of, word

SIZES = (5, 40)
VIEWS = range(1_000_000, 1_000_050)


def table(size: int) -> OperatorTable:
    """Operators with stakes that differ by a factor of up to nine."""
    rows = [
        Operator(
            operator=address(f"operator {place}"),
            session=address(f"session {place}"),
            bls_key=bytes(48),
            sealing_key=bytes(32),
            peer_id="",
            multiaddrs=(),
            weight=10**12 * (1 + place * 7 % 9),
        )
        for place in range(size)
    ]
    return OperatorTable(3, word(f"seed {size}"), tuple(rows))


def build() -> dict[str, object]:
    tables = [table(size) for size in SIZES]
    members = [committee(each, DEVNET) for each in tables]
    return {
        "sizes": list(SIZES),
        "seeds": [hex_of(each.seed) for each in tables],
        "operators": [hex_of(row.operator) for each in tables for row in each.operators],
        "weights": [row.weight for each in tables for row in each.operators],
        "committees": [hex_of(member) for each in members for member in each],
        "views": list(VIEWS),
        "gateways": [
            hex_of(gateway(each, chosen, view))
            for each, chosen in zip(tables, members, strict=True)
            for view in VIEWS
        ],
    }
