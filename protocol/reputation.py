"""Reputation: a pure fold over certified outcomes, the same on every node.

    quality    recent work against recent failures, 1 to 10,000 basis points: asks are compared and
               paid by it
    slot cap   slots that an operator can sell: a newcomer few, more with every slot it proved,
               fewer with lower quality, none below `MIN_QUALITY`

Weights are thousandths of a slot. A proven slot weighs one, more if its request paid the protocol
more than its bid fee, so that trading with oneself costs what it gains. Each outcome of an operator
fades those before it; each epoch fades failures, so that who is shut out comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from protocol.clearing import FULL_QUALITY
from protocol.hashing import keccak
from protocol.merkle import merkle_root
from protocol.outcomes import ReassignReason
from protocol.types import ZERO_HASH, Address, Hash

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOT: Final = 1_000
"""Weight of one proven slot."""
MAX_WEIGHT: Final = 4 * SLOT
"""Weight of one proven slot, whatever its request paid."""
FAILURES: Final = {
    ReassignReason.NOT_ACCEPTED: SLOT // 4,
    ReassignReason.NO_RESULT: 2 * SLOT,
}
"""Weight of a lost segment: little before its prover was liable, heavy afterwards."""
MIN_QUALITY: Final = 2_500
"""Below, an operator is not eligible."""
_PRIOR: Final = 8 * SLOT
"""Good weight that everybody starts with: one failure is no disaster."""
_FADE: Final = 32
"""Each outcome takes one part in so many of the weight of those before."""
_FORGIVE: Final = 4
"""Each epoch takes one part in so many of the failures."""
_ROOT_TAG: Final = b"provernet/standing/1"
_LIMIT: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What is certified of one operator; weights in thousandths of a slot, below 2^64."""

    proven: int
    """All that it ever proved."""
    good: int
    """Recent proofs, faded."""
    bad: int
    """Recent failures, faded."""


NEWCOMER: Final = Standing(0, 0, 0)


def weight_of(protocol_fee: int, bid_fee: int) -> int:
    """Weight of each slot of a completed request that paid the protocol so much, both in wei.

    The bid fee, in proportion to slots and price, is the least that a request pays the protocol.
    """
    return min(MAX_WEIGHT, SLOT * protocol_fee // bid_fee)


def proved(standing: Standing, weight: int) -> Standing:
    """After one proven slot."""
    faded = _faded(standing)
    return Standing(min(faded.proven + weight, _LIMIT), faded.good + weight, faded.bad)


def lost(standing: Standing, reason: ReassignReason) -> Standing:
    """After a segment went to somebody else."""
    faded = _faded(standing)
    return replace(faded, bad=faded.bad + FAILURES[reason])


def forgiven(standing: Standing) -> Standing:
    """After an epoch."""
    return replace(standing, bad=standing.bad - -(-standing.bad // _FORGIVE))


def quality(standing: Standing) -> int:
    """Basis points, 1 to 10,000; 10,000 without a failure."""
    good = standing.good + _PRIOR
    return max(1, FULL_QUALITY * good // (good + standing.bad))


def slot_cap(standing: Standing, newcomer_slots: int) -> int:
    """Slots that the operator can have sold at a time; 0 if it is not eligible."""
    found = quality(standing)
    if found < MIN_QUALITY:
        return 0
    return max(1, (newcomer_slots + standing.proven // SLOT) * found // FULL_QUALITY)


def reputation_root(standings: Mapping[Address, Standing]) -> Hash:
    """Merkle root over keccak256(tag | operator | proven | good | bad), ascending by operator.

    Weights have 8 big-endian bytes; of nobody the root is zero.
    """
    leaves = [
        Hash(keccak(_ROOT_TAG + operator + _uint64(row.proven, row.good, row.bad)))
        for operator, row in sorted(standings.items())
    ]
    return merkle_root(leaves) if leaves else ZERO_HASH


def _faded(standing: Standing) -> Standing:
    good = standing.good - standing.good // _FADE
    return replace(standing, good=good, bad=standing.bad - standing.bad // _FADE)


def _uint64(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "big") for value in values)
