"""The batch of a decided round: its header, its leaves, its debits, and inclusion proofs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.merkle import merkle_proof, merkle_root
from protocol.types import ZERO_HASH, Address, Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Sequence

AMOUNT_BITS: Final = 96
"""Width of every amount that a contract stores."""


class ResultStatus(IntEnum):
    """How a request ended; all but SETTLED are refunded."""

    SETTLED = 1
    EXPIRED = 2
    CANCELLED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Header of a batch, the body that COMMIT signs. EIP-712 `Batch`.

    sequence is 0 for a batch that is not settled; then parent and debits_hash are zero, and root is
    the leaf of its clearings.
    """

    epoch: int
    round: int
    value: Hash
    sequence: int
    parent: Hash
    root: Hash
    paid: Wei
    debits_hash: Hash


@dataclass(frozen=True, slots=True)
class Result:
    """How one request ended: what the contract records and a consumer reads."""

    request_id: Hash
    program_id: Hash
    requester: Address
    status: ResultStatus
    issued_at: int
    claim: bytes
    """Program-defined bytes; empty unless settled."""
    fee: Wei
    """What the requester paid: the bid fee alone unless settled."""


@dataclass(frozen=True, slots=True)
class AccountAmount:
    """An amount that stands beside an account: a credit, a debit or a bound stake."""

    account: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Proof that a leaf stands in a settled batch."""

    leaf: Hash
    index: int
    siblings: tuple[Hash, ...]


@dataclass(frozen=True, slots=True)
class SettledBatch:
    """A batch that goes on chain: the header, what `settle` needs, what proofs need."""

    header: Batch
    results: tuple[Result, ...]
    credits: tuple[AccountAmount, ...]
    debits: bytes
    """Packed `address | uint96` words, ascending by address."""
    leaves: tuple[Hash, ...]

    def result_proof(self, request_id: bytes) -> InclusionProof | None:
        """Inclusion proof of a request's result, None if it is not in this batch."""
        ids = [result.request_id for result in self.results]
        return self._proof(ids.index(Hash(request_id))) if request_id in ids else None

    def credit_proof(self, operator: bytes) -> InclusionProof | None:
        """Inclusion proof of an operator's cumulative credit, None if it is not in this batch."""
        accounts = [credit.account for credit in self.credits]
        if operator not in accounts:
            return None
        return self._proof(len(self.results) + accounts.index(Address(operator)))

    def markets_proof(self) -> InclusionProof:
        """Inclusion proof of the leaf of the round's clearings, the last one."""
        return self._proof(len(self.leaves) - 1)

    def _proof(self, index: int) -> InclusionProof:
        return InclusionProof(self.leaves[index], index, merkle_proof(self.leaves, index))


def unsettled_batch(epoch: int, round_number: int, value: Hash, markets_hash: Hash) -> Batch:
    """Header of a round that touches neither money nor results: its root is the market leaf."""
    root = markets_leaf(markets_hash)
    return Batch(epoch, round_number, value, 0, ZERO_HASH, root, Wei(0), ZERO_HASH)


def build_batch(
    *,
    epoch: int,
    round_number: int,
    value: Hash,
    sequence: int,
    parent: Hash,
    results: Sequence[Result],
    credit_rows: Sequence[AccountAmount],
    debit_rows: Sequence[AccountAmount],
    stake_rows: Sequence[AccountAmount],
    reputation_root: Hash,
    parameters_hash: Hash,
    markets_hash: Hash,
    paid: Wei,
) -> SettledBatch:
    """Build a settled batch: credits are cumulative, debits are of this batch, stakes as bound now.

    Raises:
        LocalProtocolError: rows are not strictly ascending, an amount does not fit 96 bits, `paid`
            is above the debits, or a result that is not settled has a claim.
    """
    _require(sequence >= 1, "a settled batch has a sequence from 1")
    _require(len(parent) == 32 and (sequence > 1 or parent == ZERO_HASH), "parent")
    _require_ascending([result.request_id for result in results])
    for rows in (credit_rows, stake_rows):
        _require_ascending([row.account for row in rows])
    packed = pack_debits(debit_rows)
    _require(0 <= paid <= sum(row.amount for row in debit_rows), "paid is above the debits")
    leaves = (
        *[result_leaf(result) for result in results],
        *[credit_leaf(row) for row in credit_rows],
        *[bound_stake_leaf(row) for row in stake_rows],
        reputation_leaf(reputation_root),
        parameters_leaf(parameters_hash),
        markets_leaf(markets_hash),
    )
    header = Batch(
        epoch=epoch,
        round=round_number,
        value=value,
        sequence=sequence,
        parent=parent,
        root=merkle_root(leaves),
        paid=paid,
        debits_hash=Hash(keccak(packed)),
    )
    return SettledBatch(header, tuple(results), tuple(credit_rows), packed, leaves)


def pack_debits(debits: Sequence[AccountAmount]) -> bytes:
    """32-byte words `address (20) | wei (12)`; raises LocalProtocolError unless ascending."""
    _require_ascending([row.account for row in debits])
    return b"".join(_address(row.account) + _amount(row.amount, 12) for row in debits)


def result_leaf(result: Result) -> Hash:
    """Leaf with tag 1; raises LocalProtocolError if status and claim contradict each other."""
    if result.status != ResultStatus.SETTLED:
        _require(not result.claim, "a refunded request has no claim")
    return _leaf(
        1,
        _hash(result.request_id),
        _hash(result.program_id),
        bytes(12) + _address(result.requester),
        _uint(ResultStatus(result.status), 8),
        _uint(result.issued_at, 64),
        keccak(result.claim),
        _amount(result.fee, 32),
    )


def credit_leaf(row: AccountAmount) -> Hash:
    """Leaf with tag 2: an operator's cumulative earnings."""
    return _leaf(2, bytes(12) + _address(row.account), _amount(row.amount, 32))


def bound_stake_leaf(row: AccountAmount) -> Hash:
    """Leaf with tag 3: the stake that an operator's unfinished segments bind."""
    return _leaf(3, bytes(12) + _address(row.account), _amount(row.amount, 32))


def reputation_leaf(reputation_root: Hash) -> Hash:
    """Leaf with tag 4; a zero word keeps the preimage from being 64 bytes long."""
    return _leaf(4, _hash(reputation_root), bytes(32))


def parameters_leaf(parameters_hash: Hash) -> Hash:
    """Leaf with tag 5; a zero word keeps the preimage from being 64 bytes long."""
    return _leaf(5, _hash(parameters_hash), bytes(32))


def markets_leaf(markets_hash: Hash) -> Hash:
    """Leaf with tag 6: what the round's clearings were given, and what they gave."""
    return _leaf(6, _hash(markets_hash), bytes(32))


def _leaf(tag: int, *words: bytes) -> Hash:
    return Hash(keccak(_uint(tag, 8) + b"".join(words)))


def _uint(value: int, bits: int) -> bytes:
    _require(0 <= value < 1 << bits, f"{value} does not fit uint{bits}")
    return value.to_bytes(32, "big")


def _amount(value: int, size: int) -> bytes:
    _require(0 <= value < 1 << AMOUNT_BITS, f"the amount {value} does not fit uint{AMOUNT_BITS}")
    return value.to_bytes(size, "big")


def _hash(value: bytes) -> bytes:
    _require(len(value) == 32, "a hash has 32 bytes")
    return value


def _address(value: bytes) -> bytes:
    _require(len(value) == 20, "an address has 20 bytes")
    return value


def _require_ascending(keys: Sequence[bytes]) -> None:
    _require(all(left < right for left, right in pairwise(keys)), "rows are not strictly ascending")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise LocalProtocolError(what)
