"""Probation: a newcomer's first proof is one whose answer is known before, paid by the treasury.

A newcomer is an operator of the table that has not proven anything yet. One other operator sponsors
it for the epoch, drawn by the epoch's seed: it makes up an input, so that it knows the claim, and
asks for a proof like any requester, from its session account, naming the newcomer alone. The
network recognises such a request, one for each newcomer and epoch and no larger than it must be,
and pays the sponsor back out of what later batches bring the treasury.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.hashing import keccak
from protocol.reputation import NEWCOMER
from protocol.types import Address

if TYPE_CHECKING:
    from protocol.ledger import Ledger
    from protocol.messages import ProofRequest
    from protocol.rotation import OperatorTable

SLOTS: Final = 2
"""Of a probation request: one segment and the combining one."""
_TAG: Final = b"provernet/sponsor/1"


def sponsor_of(newcomer: bytes, table: OperatorTable) -> Address | None:
    """Who sponsors a newcomer in the table's epoch; None if it is alone in the table."""
    others = [row.operator for row in table.operators if row.operator != newcomer]
    if not others:
        return None
    return Address(min(others, key=lambda other: keccak(_TAG + table.seed + newcomer + other)))


def on_probation(operator: bytes, ledger: Ledger) -> bool:
    """Whether an operator has not proven anything, nor been tried in the ledger's epoch."""
    standing = ledger.standings.get(Address(operator), NEWCOMER)
    tried = ledger.probations.get(Address(operator), 0) == ledger.next_epoch
    return standing.proven == 0 and not tried


def sponsored(
    request: ProofRequest, ledger: Ledger, table: OperatorTable
) -> tuple[Address, Address] | None:
    """Sponsor and newcomer of a request that is a probation, None for any other."""
    if len(request.allowlist) != 1 or len(request.input_hashes) != SLOTS:
        return None
    newcomer = Address(request.allowlist[0])
    if table.position_of(newcomer) is None or not on_probation(newcomer, ledger):
        return None
    sponsor = sponsor_of(newcomer, table)
    sessions = {row.operator: row.session for row in table.operators}
    if sponsor is None or sessions[sponsor] != request.requester:
        return None
    return sponsor, newcomer
