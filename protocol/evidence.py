"""Evidence: signed statements that prove an operator's fault to whoever reads them.

    fault_of(domain, statements, enough) -> Fault | None     what these envelopes prove, if anything
    accuse(statements, fault, reporter) -> Evidence
    holds(domain, evidence, enough)                          whether evidence proves what it says
    key_of(evidence)                                         one for each fault of an operator

The accused's own statement comes first. All faults but one are proven by the signatures alone; that
a batch is not what follows from its Value only a node with the state before it can tell, or a
contract by recomputing a broken step.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from protocol.codec import decode, encode
from protocol.eip712 import Domain, digest, signed_digest, value_digest
from protocol.hashing import keccak
from protocol.messages import (
    BidList,
    BidReceipt,
    Commit,
    Envelope,
    Evidence,
    Kind,
    Proposal,
    Timeout,
    Vote,
)
from protocol.rounds.lists import sets_of
from protocol.rounds.turn import slot_of
from protocol.types import Hash

if TYPE_CHECKING:
    from collections.abc import Sequence


class Fault(IntEnum):
    """What signed statements prove; never reused."""

    DOUBLE_PREPARE = 1
    DOUBLE_LOCK = 2
    DOUBLE_COMMIT = 3
    DOUBLE_TIMEOUT = 4
    DOUBLE_PROPOSAL = 5
    DOUBLE_LIST = 6
    LOCK_AFTER_TIMEOUT = 7
    BROKEN_RECEIPT = 8
    """The list of the round that a receipt names does not carry its bid."""
    WRONG_SET = 9
    """A proposal's sets are not what the lists that it embeds carry: omission, most often."""
    WRONG_BATCH = 10
    """A COMMIT to another batch than follows from the Value: not shown by the statements alone."""

    @property
    def code(self) -> str:
        """Stable identifier for records, the API and the command line."""
        return self.name.lower()


_DOUBLE: Final = {
    Kind.PREPARE: Fault.DOUBLE_PREPARE,
    Kind.LOCK: Fault.DOUBLE_LOCK,
    Kind.COMMIT: Fault.DOUBLE_COMMIT,
    Kind.TIMEOUT: Fault.DOUBLE_TIMEOUT,
    Kind.PROPOSAL: Fault.DOUBLE_PROPOSAL,
    Kind.BID_LIST: Fault.DOUBLE_LIST,
}
"""Kinds of which an operator says one for each slot."""


def fault_of(domain: Domain, statements: Sequence[Envelope], enough: int) -> Fault | None:
    """What these statements, whose signatures were checked, prove of the first one's sender.

    enough: lists that carry whatever is in a set, N - f of the epoch's committee. None: nothing.
    """
    first, *others = statements
    bodies = [each.body for each in others]
    match first.body, bodies:
        case Proposal() as proposal, [BidList(), *_]:
            lists = [body for body in bodies if isinstance(body, BidList)]
            return Fault.WRONG_SET if _wrong_set(domain, proposal, lists, enough) else None
        case Commit() as commit, [Proposal() as proposal]:
            named = value_digest(domain, proposal.value) == commit.value
            return Fault.WRONG_BATCH if named else None
        case _ if len(others) != 1 or others[0].sender != first.sender:
            return None
        case Timeout() as timeout, [Vote() as lock] if others[0].kind == Kind.LOCK:
            late = _place(timeout) == _place(lock) and timeout.prepare_view < lock.view
            return Fault.LOCK_AFTER_TIMEOUT if late else None
        case BidReceipt() as receipt, [BidList() as kept]:
            due = (receipt.epoch, receipt.round) == (kept.epoch, kept.round)
            return Fault.BROKEN_RECEIPT if due and receipt.bid_id not in kept.bids else None
        case _:
            return _doubled(domain, first, others[0])


def accuse(statements: Sequence[Envelope], fault: Fault, reporter: bytes) -> Evidence:
    """Evidence that the reporter has to sign; the fault is what `fault_of` says."""
    first = statements[0]
    body = first.body
    return Evidence(
        fault=int(fault),
        accused=first.sender,
        epoch=body.epoch,  # type: ignore[union-attr]
        round=body.round,  # type: ignore[union-attr]
        view=getattr(body, "view", 0),
        statements=tuple(encode(each) for each in statements),
        reporter=reporter,
    )


def holds(domain: Domain, evidence: Evidence, enough: int) -> bool:
    """Tell whether the statements prove the fault that the evidence names, of whom it names.

    Raises:
        Rejection: a statement is no envelope.
    """
    statements = [decode(frame) for frame in evidence.statements]
    fault = fault_of(domain, statements, enough)
    if fault is None:
        return False
    return accuse(statements, fault, evidence.reporter) == evidence


def key_of(evidence: Evidence) -> Hash:
    """One for each fault of one operator, whoever reports it by whichever statements."""
    numbers = (evidence.fault, evidence.epoch, evidence.round, evidence.view)
    text = evidence.accused + b"".join(number.to_bytes(8, "big") for number in numbers)
    return Hash(keccak(b"provernet/fault/1" + text))


def _doubled(domain: Domain, first: Envelope, second: Envelope) -> Fault | None:
    kind = Kind(first.kind)
    if kind not in _DOUBLE or second.kind != kind:
        return None
    same_slot = slot_of(kind, first.body) == slot_of(kind, second.body)
    different = signed_digest(domain, first) != signed_digest(domain, second)
    return _DOUBLE[kind] if same_slot and different else None


def _wrong_set(domain: Domain, proposal: Proposal, lists: Sequence[BidList], enough: int) -> bool:
    """Whether these are the lists that the proposal embeds, and carry something else."""
    value = proposal.value
    embedded = sorted(digest(domain, each) for each in lists) == list(value.lists)
    return embedded and sets_of(lists, enough) != (value.bids, value.outcomes)


def _place(body: Timeout | Vote) -> tuple[int, int, int]:
    return body.epoch, body.round, body.view
