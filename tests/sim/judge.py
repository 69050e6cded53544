"""What must hold while a world runs: told by what honest nodes sign, hear and decide.

The judge keeps its own account of lists and receipts and counts for itself: it asks the machines
for nothing but what they are about to sign upon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocol.eip712 import Domain, digest, value_digest
from protocol.messages import (
    BidList,
    BidReceipt,
    BidShares,
    Body,
    Commit,
    DecidedRound,
    Envelope,
    Kind,
    Timeout,
    Value,
    Vote,
)
from protocol.params import ProtocolParams
from protocol.rotation import tolerated
from protocol.types import Address

if TYPE_CHECKING:
    from tests.sim.world import NodePort, Shell


class ViolationError(AssertionError):
    """An invariant does not hold."""


class Judge:
    """The invariants of one world; each method raises ViolationError."""

    def __init__(
        self, domain: Domain, params: ProtocolParams, members: Sequence[Address], honest: set[bytes]
    ) -> None:
        self.domain = domain
        self.params = params
        self.honest = honest
        self.members = frozenset(members)
        self.enough = len(members) - tolerated(len(members))
        self.promises = 0
        """Receipts that an honest list had to honour."""
        self.acknowledged = 0
        """Bids that every honest member acknowledged for a round whose Value embeds its list."""
        self._committed: dict[int, bytes] = {}
        self._revealed: dict[int, bytes] = {}
        """Round -> the Value of which an honest member revealed a share."""
        self._lists: dict[bytes, BidList] = {}
        """Every list that reached anybody, by id."""
        self._heard: dict[tuple[bytes, int], dict[bytes, int]] = {}
        """Node and round -> member -> when, on the node's clock, the first list of it came."""
        self._receipts: dict[tuple[int, bytes], set[bytes]] = {}
        """Round and bid -> honest members that acknowledged it."""
        self._decided: dict[bytes, int] = {}
        """Bid -> the round that decided it."""
        self._judged: dict[int, Value] = {}

    # ------------------------------------------------------------------ an honest node signs

    def signs(self, shell: Shell, kind: Kind, body: Body, signed: bytes) -> None:
        """An honest node is about to sign, for the first time for this slot."""
        match body:
            case Vote() if kind is Kind.LOCK:
                _after_no_timeout(shell, body)
            case Vote():
                self._fair(shell, body)
            case BidShares():
                if not decided_on(shell.machine, body.round, body.value):
                    raise ViolationError(f"node {shell.index} reveals before its LockCert")
                if self._revealed.setdefault(body.round, body.value) != body.value:
                    raise ViolationError(f"bids of two Values of round {body.round} are revealed")
            case BidList():
                self._keeps_promises(shell, body)
            case BidReceipt():
                self._receipts.setdefault((body.round, body.bid_id), set()).add(body.member)
            case Commit():
                if self._committed.setdefault(body.round, signed) != signed:
                    raise ViolationError(f"fork: two batches of round {body.round} are signed")
            case _:
                pass

    def _fair(self, shell: Shell, body: Vote) -> None:
        """PREPARE of a fresh Value: its sets are those of its lists, none that came is missing."""
        state = shell.machine.round
        heard = state.proposed.get(body.view)
        if (state.round, state.view) != (body.round, body.view) or heard is None:
            return  # said again after a crash, when the node has moved on
        proposal = heard.body
        if proposal.prepare is not None:
            return
        embedded = self._embedded(proposal.value)
        if embedded is None or len(embedded) < self.enough:
            raise ViolationError(f"node {shell.index} votes for too few lists, or unknown ones")
        self._sets(proposal.value, embedded)
        params = self.params
        wait = params.list_wait_ms + 2 * params.gossip_bound_ms + params.clock_bound_ms
        present = {held.member for held in embedded}
        for member, at in self._heard.get((shell.machine.address, body.round), {}).items():
            if at < state.attempt_ms + wait and member not in present:
                raise ViolationError(f"node {shell.index} votes although a list is left out")

    def _keeps_promises(self, shell: Shell, body: BidList) -> None:
        """An honest list carries what receipts say, though a round before it decided the bid."""
        for _, said in shell.signed.values():
            promise = said.body
            place = (body.epoch, body.round)
            if isinstance(promise, BidReceipt) and (promise.epoch, promise.round) == place:
                self.promises += 1
                if promise.bid_id not in body.bids:
                    raise ViolationError(f"node {shell.index} breaks its receipt's promise")

    # ------------------------------------------------------------------ something is heard

    def hears(self, shell: Shell, envelope: Envelope, now_ms: int) -> None:
        """A node is handed a message."""
        body = envelope.body
        if not isinstance(body, BidList) or body.member != envelope.sender:
            return
        self._lists[digest(self.domain, body)] = body
        state = shell.machine.round
        if (state.epoch, state.round) == (body.epoch, body.round) and body.member in self.members:
            heard = self._heard.setdefault((shell.machine.address, body.round), {})
            heard.setdefault(body.member, now_ms)

    def steps(self, shell: Shell) -> None:
        """An honest node took a step: what it holds against others is never against honest ones.

        Evidence that is more than `RoundState.conflicts` belongs here too.
        """
        accused = self.honest.intersection(shell.machine.round.conflicts)
        if accused:
            raise ViolationError(f"node {shell.index} holds evidence against an honest node")

    # ------------------------------------------------------------------ a round is decided

    def decides(self, record: DecidedRound) -> bool:
        """An honest node decided a round; True for the first one to do so."""
        number = record.value.round
        if self._revealed.get(number, b"") not in {b"", value_digest(self.domain, record.value)}:
            raise ViolationError(f"round {number} decided what nobody revealed")
        if number in self._judged:
            if self._judged[number] != record.value:
                raise ViolationError(f"fork: two Values of round {number} are decided")
            return False
        self._judged[number] = record.value
        embedded = self._embedded(record.value)
        if embedded is None:
            raise ViolationError(f"round {number} is decided upon lists that nobody saw")
        self._sets(record.value, embedded)
        self._acknowledged(record.value, embedded)
        for bid_id in record.value.bids:
            self._decided.setdefault(bid_id, number)
        return True

    def _acknowledged(self, value: Value, embedded: list[BidList]) -> None:
        """What every honest member acknowledged is in the set, if their lists reached it."""
        honest = self.honest & self.members
        if not honest.issubset(held.member for held in embedded):
            return
        for (place, bid_id), members in self._receipts.items():
            if place == value.round and members >= honest and bid_id not in self._decided:
                self.acknowledged += 1
                if bid_id not in value.bids:
                    raise ViolationError(f"round {place} leaves an acknowledged bid out")

    def _embedded(self, value: Value) -> list[BidList] | None:
        """Bodies of a Value's lists, if each is known."""
        if any(list_id not in self._lists for list_id in value.lists):
            return None
        return [self._lists[list_id] for list_id in value.lists]

    def _sets(self, value: Value, embedded: list[BidList]) -> None:
        """A Value's sets are what at least N - f of its lists carry, of as many members."""
        if len({held.member for held in embedded} & self.members) != len(value.lists):
            raise ViolationError("a Value embeds two lists of one member, or a stranger's")
        for named, lists in (
            (value.bids, [held.bids for held in embedded]),
            (value.outcomes, [held.outcomes for held in embedded]),
        ):
            counts = Counter(item for carried in lists for item in carried)
            if set(named) != {item for item, count in counts.items() if count >= self.enough}:
                raise ViolationError("a Value leaves out, or adds to, what its lists carry")


def decided_on(machine: NodePort, number: int, value: bytes) -> bool:
    """Whether a machine holds the LockCert of this Value, or decided the round by it."""
    lock = machine.round.lock
    if machine.round.round == number:
        return lock is not None and lock.value == value
    history = machine.decisions()
    return number <= len(history) and history[number - 1][0] == value


def _after_no_timeout(shell: Shell, body: Vote) -> None:
    for _, said in shell.signed.values():
        if isinstance(said.body, Timeout) and (said.body.round, said.body.view) == (
            body.round,
            body.view,
        ):
            raise ViolationError(f"node {shell.index} would LOCK after its Timeout")
