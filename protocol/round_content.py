"""A decided Value with the bodies that it names, its bids opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.errors import RejectionReason
from protocol.inputs import ProgramRegistered
from protocol.messages import AskBid, BuyBid, ProofRequest, Value
from protocol.outcomes import Outcome
from protocol.types import Hash


@dataclass(frozen=True, slots=True)
class Buy:
    """A buyer's opened bid with the request that it is for."""

    request: ProofRequest
    bid: BuyBid


@dataclass(frozen=True, slots=True)
class Void:
    """A bid that opened to nothing that counts, the same for everybody, and why."""

    request_id: Hash
    """Zero for an ask."""
    deadline_view: int
    """Of the request; 0 for an ask."""
    reason: RejectionReason


@dataclass(frozen=True, slots=True)
class RoundContent:
    """A decided Value with all that it names, by id, and the programs of its requests."""

    value: Value
    buys: Mapping[Hash, Buy]
    asks: Mapping[Hash, AskBid]
    void: Mapping[Hash, Void]
    outcomes: Mapping[Hash, Outcome]
    programs: Mapping[Hash, ProgramRegistered]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A decided bid or outcome without effect, and why."""

    identity: Hash
    reason: RejectionReason
