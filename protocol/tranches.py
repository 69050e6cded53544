"""Large requests in a thick market: they buy their slots in tranches, one request at a time.

One huge bid at the top of the order would be the marginal one and leave nothing to trade. So a
request that wants more than an eighth of the slots buys an eighth in each round. What it has bought
stays taken until it has all; two such requests could wait for each other's slots for ever, so they
take turns. Whose turn it is follows the beacon, not bids, and who can not pay the price loses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.clearing import tie_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.ledger import OpenRequest
    from protocol.types import Hash

TRANCHE_PARTS: Final = 8
"""A request trades for at most one part in so many of the slots that the sellers announced."""


def wanted_slots(waiting: Sequence[OpenRequest], announced: int, beacon: bytes) -> dict[Hash, int]:
    """Slots that each request trades for in a thick market, without those whose turn it is not.

    `announced` are the slots of the market's sellers, taken ones too: what a request may want at
    once must not shrink with every slot that is sold.
    """
    most = max(1, announced // TRANCHE_PARTS)
    large = [entry for entry in waiting if entry.held is not None or entry.missing > most]
    # Who holds slots goes on; there is one at most.
    large.sort(key=lambda entry: (entry.held is None, tie_rank(beacon, entry.request_id)))
    late = {entry.request_id for entry in large[1:]}
    return {
        entry.request_id: min(entry.missing, most)
        for entry in waiting
        if entry.request_id not in late
    }
