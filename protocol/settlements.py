"""Certified batches on their way to the chain: who sends the transaction, and when.

Every operator holds the certificate, so any of them can settle. They take turns by rank, an order
drawn from the batch itself: the next one sends if the chain does not show the batch in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol.effects import Effect, Record, SubmitBatch, WatchEscrow
from protocol.hashing import keccak
from protocol.replica_state import Unsettled
from protocol.types import Address, Hash, TimestampMs

if TYPE_CHECKING:
    from protocol.execution import Execution
    from protocol.inputs import BatchSettled
    from protocol.messages import DecidedRound
    from protocol.params import ProtocolParams
    from protocol.replica_state import ReplicaState
    from protocol.rotation import OperatorTable


class Settlements:
    """The unsettled batches in a replica's state."""

    def __init__(self, me: Address, params: ProtocolParams, state: ReplicaState) -> None:
        self._me = me
        self._params = params
        self._state = state

    def certified(
        self, record: DecidedRound, execution: Execution, table: OperatorTable, now_ms: int
    ) -> None:
        """Remember a batch that has to go on chain."""
        settled = execution.settled
        if settled is None:
            return
        digest = record.certificate.digest
        order = sorted(row.operator for row in table.operators)
        order.sort(key=lambda operator: keccak(digest + operator))
        rank = order.index(self._me) if self._me in order else len(order)
        charged = {
            Address(settled.debits[i : i + 20]): int.from_bytes(
                settled.debits[i + 20 : i + 32], "big"
            )
            for i in range(0, len(settled.debits), 32)
        }
        self._state.unsettled[settled.header.sequence] = Unsettled(
            round=record.value.round,
            header=settled.header,
            debits=settled.debits,
            certificate=record.certificate,
            charged=charged,
            requests=tuple(result.request_id for result in settled.results),
            due_ms=now_ms + rank * self._params.settle_step_ms,
        )

    def on_chain(self, event: BatchSettled, now_ms: int) -> tuple[tuple[Hash, ...], list[Effect]]:
        """Requests whose result is final now, and what follows."""
        row = self._state.unsettled.pop(event.sequence, None)
        if row is None:
            return (), []
        effects: list[Effect] = []
        for requester, amount in row.charged.items():
            before = self._state.unrefreshed.get(requester, 0)
            self._state.unrefreshed[requester] = before + amount
            effects.append(WatchEscrow(requester))
        event_name = "settled" if event.root == row.header.root else "settled_another_root"
        fields = (("gas_used", event.gas_used), ("sequence", event.sequence))
        effects.append(Record(event_name, TimestampMs(now_ms), fields))
        return row.requests, effects

    def failed(self, sequence: int, now_ms: int) -> None:
        """This node's transaction did not go through: try again after everybody had a turn."""
        self._postpone(sequence, now_ms)

    def advance(self, now_ms: int) -> list[Effect]:
        """Send the lowest unsettled batch when it is this node's turn; each builds on the last."""
        if not self._state.unsettled:
            return []
        sequence = min(self._state.unsettled)
        row = self._state.unsettled[sequence]
        if now_ms < row.due_ms:
            return []
        self._postpone(sequence, now_ms)
        return [SubmitBatch(row.header, row.debits, row.certificate)]

    def next_deadline_ms(self) -> int | None:
        """When this node's turn comes."""
        if not self._state.unsettled:
            return None
        return self._state.unsettled[min(self._state.unsettled)].due_ms

    def _postpone(self, sequence: int, now_ms: int) -> None:
        row = self._state.unsettled.get(sequence)
        if row is not None:
            turns = len(self._state.tables[max(self._state.tables)].operators)
            due = now_ms + max(2, turns) * self._params.settle_step_ms
            self._state.unsettled[sequence] = msgspec.structs.replace(row, due_ms=due)
