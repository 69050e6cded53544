"""A decided Value with the bodies that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.errors import RejectionReason
from protocol.inputs import ProgramRegistered
from protocol.messages import AskBid, RequestBody, Value
from protocol.outcomes import Outcome
from protocol.types import Hash


@dataclass(frozen=True, slots=True)
class RoundContent:
    """A decided Value with all that it names, by id, and the programs of its requests."""

    value: Value
    buys: Mapping[Hash, RequestBody]
    asks: Mapping[Hash, AskBid]
    outcomes: Mapping[Hash, Outcome]
    programs: Mapping[Hash, ProgramRegistered]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A decided bid or outcome without effect, and why."""

    identity: Hash
    reason: RejectionReason
