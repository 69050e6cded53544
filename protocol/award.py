"""What a request won in its clearings: who proves which segment, and who comes next.

A segment's attempt is the number of operators that had it before. Each operator has a segment once,
so a request that nobody proves goes back to its market after as many attempts as there are eligible
operators.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from protocol.types import Address, RoundNumber, Wei

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class Assignment:
    """One segment's prover, what the segment earns, and those that had it before."""

    operator: Address
    pay: Wei
    """For whoever proves it."""
    tried: tuple[Address, ...]

    @property
    def attempt(self) -> int:
        """0 for the clearing's choice."""
        return len(self.tried)


@dataclass(frozen=True, slots=True)
class Award:
    """Certified outcome of clearings for one request, kept up to date by reassignments."""

    round: RoundNumber
    """The round whose clearing completed it."""
    fee: Wei
    """What its slots cost the requester if it completes; the bid fee comes on top."""
    assignments: tuple[Assignment, ...]
    """By segment; the last one is the combining segment."""
    standby: tuple[Address, ...]
    """Every eligible operator, whose turn is next first."""

    @property
    def provers(self) -> tuple[Address, ...]:
        """Current prover of each segment."""
        return tuple(assignment.operator for assignment in self.assignments)

    def extend(self, later: Award) -> Award:
        """This tranche and a later one."""
        return Award(
            round=later.round,
            fee=Wei(self.fee + later.fee),
            assignments=(*self.assignments, *later.assignments),
            standby=tuple(dict.fromkeys((*later.standby, *self.standby))),
        )

    def reassign(self, segment: int, members: Collection[bytes]) -> Award | None:
        """The award after the segment went to the standby; None if no operator is left for it.

        Whoever takes over goes to the end of the order, so that a lost operator's segments spread;
        whoever lost the segment goes behind all others: it may be down.
        """
        old = self.assignments[segment]
        tried = (*old.tried, old.operator)
        heirs = [op for op in self.standby if op in members and op not in tried]
        if not heirs:
            return None
        heir = heirs[0]
        waiting = [operator for operator in self.standby if operator not in {heir, old.operator}]
        assignments = list(self.assignments)
        assignments[segment] = Assignment(heir, old.pay, tried)
        return replace(self, assignments=tuple(assignments), standby=(*waiting, heir, old.operator))
