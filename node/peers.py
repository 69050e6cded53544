"""From an operator table to the addresses that the network dials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.net.records import PeerRecord

if TYPE_CHECKING:
    from protocol.inputs import TableOpened
    from protocol.types import Address


def records_of(table: TableOpened, me: Address) -> dict[bytes, PeerRecord]:
    """Every other operator that has a peer id today."""
    return {
        row.operator: PeerRecord(row.operator, row.peer_id, row.multiaddrs)
        for row in table.operators
        if row.operator != me and row.peer_id
    }
