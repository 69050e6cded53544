"""Evidence that a node finds, hears of and keeps: one for each fault of one operator.

What its own round machine saw, and receipts that lists do not honour, it reports; what others
report it checks before it keeps it. A wrong batch is believed on own execution alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.documents import evidence_document
from protocol.effects import Effect, KeepEvidence, Publish, Record
from protocol.errors import Rejection
from protocol.evidence import Fault, accuse, fault_of, holds, key_of
from protocol.messages import Envelope, Evidence, Kind
from protocol.rounds.state import list_envelope, unpack
from protocol.types import Address, TimestampMs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.eip712 import Domain
    from protocol.replica_state import ReplicaState, SignedReceipt
    from protocol.rounds.context import RoundContext
    from protocol.rounds.state import RoundState

MAX_KNOWN: Final = 1_024
"""Faults that are told apart; the store keeps what went before."""


class Accusations:
    """The evidence in a replica's state."""

    def __init__(self, me: Address, domain: Domain, state: ReplicaState) -> None:
        self._me = me
        self._domain = domain
        self._state = state
        self._looked_at: set[tuple[int, bytes]] = set()
        """Round with an operator whose conflict, the id of a list, or the key of a fault."""
        self._receipts: list[SignedReceipt] = []
        """Heard since the last look."""

    def forget(self) -> None:
        """After a restart what was found is found again: it may not have been signed."""
        self._looked_at.clear()

    def heard_receipt(self, receipt: SignedReceipt) -> None:
        """A receipt that came after the list that it names has to be compared with it, too."""
        self._receipts.append(receipt)

    def found(self, ctx: RoundContext) -> list[Effect]:
        """Publish evidence of what this node saw itself in the open round."""
        effects: list[Effect] = []
        round_state = self._state.round
        if round_state is None:
            return effects
        self._looked_at = {seen for seen in self._looked_at if seen[0] == round_state.round}
        for statements in (*self._conflicts(round_state), *self._broken_receipts(round_state)):
            fault = fault_of(self._domain, statements, ctx.enough_lists)
            if fault is None:
                continue
            body = accuse(statements, fault, self._me)
            key = key_of(body)
            # One list can break many receipts: that is one fault, and is said once.
            if key not in self._state.evidence and self._first_look(round_state.round, key):
                effects.append(Publish(Kind.EVIDENCE, body, bytes([Kind.EVIDENCE]) + key))
        return effects

    def hear(
        self, envelope: Envelope, body: Evidence, ctx: RoundContext, now_ms: int
    ) -> list[Effect]:
        """Keep evidence that holds, the first of each fault."""
        key, known = key_of(body), self._state.evidence
        own = envelope.sender == self._me
        if key in known or (body.fault == Fault.WRONG_BATCH and not own):
            return []
        try:
            sound = holds(self._domain, body, ctx.enough_lists)
        except Rejection:
            sound = False
        if not sound:
            return []
        known[key] = body.round
        for oldest in list(known)[:-MAX_KNOWN]:
            del known[oldest]
        fault = Fault(body.fault).code
        told = (("fault", fault), ("operator", body.accused.hex()), ("round", body.round))
        return [
            KeepEvidence(key, body.round, evidence_document(key, fault, envelope, body)),
            Record("fault_proven", TimestampMs(now_ms), told),
        ]

    def _first_look(self, number: int, what: bytes) -> bool:
        seen = (number, what) in self._looked_at
        self._looked_at.add((number, what))
        return not seen

    def _conflicts(self, round_state: RoundState) -> Iterator[list[Envelope]]:
        for operator, conflict in round_state.conflicts.items():
            if self._first_look(round_state.round, operator):
                yield [unpack(statement) for statement in conflict.statements]

    def _broken_receipts(self, round_state: RoundState) -> Iterator[list[Envelope]]:
        """Receipts, each with the list of its member for the round."""
        fresh, self._receipts = self._receipts, []
        for list_id, signed in round_state.lists.items():
            member = Address(signed.body.member)
            due = [held for held in fresh if held.body.member == member]
            if self._first_look(round_state.round, list_id):
                known = self._state.receipts.values()
                due = [held[member] for held in known if member in held]
            for receipt in due:
                promise = Envelope(Kind.BID_RECEIPT, member, receipt.body, receipt.signature)
                yield [promise, list_envelope(signed)]
