"""Typed events of our contracts, decoded from the logs that a `Follower` yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chain.interfaces import (
    BATCH_SETTLED,
    DEPOSITED,
    EPOCH_OPENED,
    MULTIADDRS_UPDATED,
    OPERATOR_DEREGISTERED,
    OPERATOR_REGISTERED,
    PROGRAM_REGISTERED,
    TABLE_FROZEN,
    WITHDRAWAL_REQUESTED,
    WITHDRAWN,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chain.abi import Event
    from chain.deployments import Contracts
    from chain.rpc_values import Log
    from protocol.types import Address, Epoch, Hash, RoundNumber, Wei


@dataclass(frozen=True, slots=True)
class OperatorRegistered:
    """An operator joined the operator set, or came back with new keys."""

    operator: Address
    key_id: int
    session: Address
    peer_id: bytes


@dataclass(frozen=True, slots=True)
class OperatorDeregistered:
    """An operator left; it is in no later table."""

    operator: Address
    key_id: int


@dataclass(frozen=True, slots=True)
class MultiaddrsUpdated:
    """Where an operator's node listens from now on, comma-separated and unchecked."""

    operator: Address
    multiaddrs: str


@dataclass(frozen=True, slots=True)
class TableFrozen:
    """The operator table of an epoch is fixed; its seed is not known yet."""

    epoch: Epoch
    size: int
    total_weight: int
    table_hash: Hash


@dataclass(frozen=True, slots=True)
class EpochOpened:
    """An epoch is in force."""

    epoch: Epoch
    seed: Hash


@dataclass(frozen=True, slots=True)
class ProgramAdded:
    """A program can be requested."""

    program_id: Hash
    class_id: Hash


@dataclass(frozen=True, slots=True)
class EscrowDeposited:
    """A requester's escrow grew."""

    requester: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class WithdrawalRequested:
    """So much of a requester's escrow backs no new request; `available_at_s` in Unix seconds."""

    requester: Address
    amount: Wei
    available_at_s: int


@dataclass(frozen=True, slots=True)
class EscrowWithdrawn:
    """A requester's escrow shrank."""

    requester: Address
    amount: Wei


@dataclass(frozen=True, slots=True)
class BatchOnChain:
    """A batch is settled: what operators were paid, what requesters were charged."""

    sequence: int
    epoch: Epoch
    round: RoundNumber
    root: Hash
    paid: Wei
    collected: Wei
    transaction: Hash
    block_number: int


ChainEvent = (
    OperatorRegistered
    | OperatorDeregistered
    | MultiaddrsUpdated
    | TableFrozen
    | EpochOpened
    | ProgramAdded
    | EscrowDeposited
    | WithdrawalRequested
    | EscrowWithdrawn
    | BatchOnChain
)

_PLAIN: Final[tuple[tuple[Event, Callable[..., ChainEvent]], ...]] = (
    (OPERATOR_REGISTERED, OperatorRegistered),
    (OPERATOR_DEREGISTERED, OperatorDeregistered),
    (MULTIADDRS_UPDATED, MultiaddrsUpdated),
    (TABLE_FROZEN, TableFrozen),
    (EPOCH_OPENED, EpochOpened),
    (PROGRAM_REGISTERED, ProgramAdded),
    (WITHDRAWAL_REQUESTED, WithdrawalRequested),
    (WITHDRAWN, EscrowWithdrawn),
)
_BY_TOPIC: Final = {kind.topic: (kind, build) for kind, build in _PLAIN}


def watched(contracts: Contracts) -> tuple[Address, Address]:
    """The contracts whose logs a node follows."""
    return contracts.prover_registry, contracts.proof_market


def decode_events(logs: Iterable[Log]) -> tuple[ChainEvent, ...]:
    """The events that we know, in order; others of the same contracts are left out.

    Raises:
        BadResponseError: a log with a known topic has another shape.
    """
    decoded = (_decode(entry) for entry in logs)
    return tuple(found for found in decoded if found is not None)


def _decode(entry: Log) -> ChainEvent | None:
    topic = entry.topics[0] if entry.topics else b""
    if topic in _BY_TOPIC:
        kind, build = _BY_TOPIC[topic]
        return build(*kind.decode(entry))
    if topic == DEPOSITED.topic:
        requester, _, amount = DEPOSITED.decode(entry)
        return EscrowDeposited(requester, amount)
    if topic == BATCH_SETTLED.topic:
        sequence, epoch, round_number, root, paid, collected = BATCH_SETTLED.decode(entry)
        return BatchOnChain(
            sequence=sequence,
            epoch=epoch,
            round=round_number,
            root=root,
            paid=paid,
            collected=collected,
            transaction=entry.transaction,
            block_number=entry.block_number,
        )
    return None
