"""What the round machine asks of its surroundings: the epoch's constants and the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.batch import Batch
from protocol.crypto import Aggregator
from protocol.eip712 import Domain
from protocol.errors import RejectionReason
from protocol.messages import BidShares, Value
from protocol.params import ProtocolParams
from protocol.rotation import OperatorTable, committee, tolerated
from protocol.types import Address, Hash


@dataclass(frozen=True, slots=True)
class RoundContext:
    """Constants of the epoch in which a round is decided."""

    me: Address
    table: OperatorTable
    members: tuple[Address, ...]
    """The committee, in table order."""
    genesis_ms: int
    params: ProtocolParams
    domain: Domain
    aggregator: Aggregator

    @property
    def announcers(self) -> int:
        """Members f + 1: so many members that say the same have an honest one among them."""
        return tolerated(len(self.members)) + 1

    @property
    def enough_lists(self) -> int:
        """N - f: lists that a fresh proposal embeds, and that carry an id of its sets."""
        return len(self.members) - tolerated(len(self.members))

    @property
    def list_cap(self) -> int:
        """Ids of one kind in one list, so that no set built from N lists breaks max_set_size."""
        return self.params.max_set_size * self.enough_lists // len(self.members)


def context(
    me: Address,
    table: OperatorTable,
    genesis_ms: int,
    params: ProtocolParams,
    domain: Domain,
    aggregator: Aggregator,
) -> RoundContext:
    """Context of an epoch, with the committee that follows from its table."""
    return RoundContext(me, table, committee(table, params), genesis_ms, params, domain, aggregator)


@dataclass(frozen=True, slots=True)
class Missing:
    """Bodies that are not held here; the machine fetches them and asks again."""

    ids: tuple[Hash, ...]


class Application(Protocol):
    """What is decided on: the machine knows ids alone. All answers are pure.

    A step with no event makes the machine ask again, so the owner takes one after every change of
    what these answers depend on.
    """

    def listable(self) -> tuple[tuple[Hash, ...], tuple[Hash, ...]]:
        """Ids of bids and of outcomes that this node vouches for now; the most urgent first."""
        ...

    def pending(self) -> bool:
        """Tell whether something waits for a round."""
        ...

    def next_epoch(self) -> int:
        """Epoch that a Value proposed now gives to the following round."""
        ...

    def may_vote(self) -> RejectionReason | None:
        """Why this node must not vote now (its clock), or None."""
        ...

    def judge(self, value: Value) -> Missing | RejectionReason | None:
        """None when every body of the Value is held and every outcome was verified here.

        A function of the Value and of certified and final state, never of the time: what one
        quorum prepared, each honest node must be able to accept later. A retryable reason is asked
        again at each step, any other stands for this view.
        """
        ...

    def reveal(self, value: Value) -> tuple[bytes, ...] | Missing:
        """This member's shares of the Value's bids, in its order; zero where it has none."""
        ...

    def execute(self, value: Value, shares: Sequence[BidShares]) -> Batch | Missing:
        """The Batch that follows from the Value and the certified state alone.

        Missing without ids: the shares, of members, do not open every bid yet. Whichever do, they
        open them to the same.
        """
        ...

    def envelopes(self, value: Value) -> tuple[bytes, ...]:
        """Frames of the bodies that the Value names, for the record of the decided round."""
        ...
