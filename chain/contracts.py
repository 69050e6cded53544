"""What a node asks our contracts, and the calldata of what it sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chain import interfaces, rpc_values
from chain.client import execution
from chain.signer import Transaction
from protocol.batch import Batch, InclusionProof, Result, ResultStatus
from protocol.types import Address, Epoch, Hash, Wei

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.abi import Function
    from chain.client import BlockTag, ChainClient

SETTLE_GAS: Final = 1_000_000
"""Gas limit of a settlement without debits and non-signers: four times what the targets allow."""
SETTLE_GAS_PER_DEBIT: Final = 40_000
SETTLE_GAS_PER_NON_SIGNER: Final = 15_000
RECORD_GAS: Final = 500_000


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What the registry holds of an epoch; `opened_block` 0 = frozen, not open."""

    frozen_block: int
    opened_block: int
    seed: Hash
    total_weight: int
    size: int


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of an operator table as the registry holds it; `bls_key` is x | y, 96 bytes."""

    operator: Address
    session: Address
    weight: int
    bls_key: bytes
    sealing_key: bytes
    peer_id_hash: Hash


@dataclass(frozen=True, slots=True)
class RegisteredKeys:
    """What an operator registered last, for the next table; `bls_key` is x | y, 96 bytes."""

    session: Address
    bls_key: bytes
    sealing_key: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """A registered peer id (a multihash) and comma-separated multiaddrs, unchecked."""

    peer_id: bytes
    multiaddrs: str


@dataclass(frozen=True, slots=True)
class ProverRegistry:
    """Reads of the registry."""

    client: ChainClient
    address: Address

    async def current_epoch(self, at: BlockTag = "latest") -> Epoch:
        """Number of the epoch in force; 0 before the first."""
        (epoch,) = await _read(self.client, self.address, interfaces.CURRENT_EPOCH, at=at)
        return Epoch(epoch)

    async def epoch_of(self, epoch: int, at: BlockTag = "latest") -> EpochRecord | None:
        """The epoch's record; None if its table is not frozen yet."""
        values = await _read(self.client, self.address, interfaces.EPOCH_OF, epoch, at=at)
        record = EpochRecord(*values)
        return record if record.frozen_block else None

    async def table_of(self, epoch: int, at: BlockTag = "latest") -> tuple[TableRow, ...]:
        """Rows by position; empty if there is no such table."""
        (rows,) = await _read(self.client, self.address, interfaces.TABLE_OF, epoch, at=at)
        return tuple(
            TableRow(operator, session, weight, b"".join(key), sealing_key, peer_id_hash)
            for operator, session, weight, key, sealing_key, peer_id_hash in rows
        )

    async def peers_of(self, operators: Sequence[bytes]) -> tuple[Peer, ...]:
        """Where operators are reached, in their order; empty values for who is not registered."""
        function = interfaces.PEER_OF
        calls = [
            execution(self.address, function.call(operator), None, "latest")
            for operator in operators
        ]
        outputs = await self.client.batch(calls)
        return tuple(Peer(*function.result(rpc_values.data(output))) for output in outputs)

    async def registered_keys(self, operator: bytes) -> RegisteredKeys | None:
        """The keys that the next table to be frozen will name; None for who is not registered."""
        (key_id,) = await _read(self.client, self.address, interfaces.KEY_ID_OF, operator)
        if not key_id:
            return None
        (record,) = await _read(self.client, self.address, interfaces.KEY_RECORD, key_id)
        key, _, _, session, sealing_key, _ = record
        return RegisteredKeys(Address(session), b"".join(key), sealing_key)

    async def stake_of(self, operator: bytes) -> int:
        """Stake that stays slashable for a table's lifetime, in the weight unit."""
        (stake,) = await _read(self.client, self.address, interfaces.STAKE_OF, operator)
        return int(stake)

    async def operator_of_session(self, session: bytes) -> Address | None:
        """The operator that registered this session key."""
        (operator,) = await _read(
            self.client, self.address, interfaces.OPERATOR_OF_SESSION, session
        )
        return Address(operator) if any(operator) else None

    async def epoch_blocks(self) -> int:
        """Blocks from the opening of an epoch until the next table may be frozen."""
        (blocks,) = await _read(self.client, self.address, interfaces.EPOCH_BLOCKS)
        return int(blocks)

    async def table_seed_delay(self) -> int:
        """Blocks from the freezing of a table to the block whose hash seeds it."""
        (blocks,) = await _read(self.client, self.address, interfaces.TABLE_SEED_DELAY)
        return int(blocks)

    async def table_lifetime(self) -> int:
        """Blocks after its freezing for which a table's certificates count."""
        (blocks,) = await _read(self.client, self.address, interfaces.TABLE_LIFETIME)
        return int(blocks)


@dataclass(frozen=True, slots=True)
class ProofMarket:
    """Reads of the market."""

    client: ChainClient
    address: Address

    async def escrow_of(self, requester: bytes, at: BlockTag = "latest") -> Wei:
        """Escrow that is not being withdrawn."""
        (amount,) = await _read(self.client, self.address, interfaces.ESCROW_OF, requester, at=at)
        return Wei(amount)

    async def last_sequence(self) -> int:
        """Number of the last settled batch; 0 = none."""
        (sequence,) = await _read(self.client, self.address, interfaces.LAST_SEQUENCE)
        return int(sequence)

    async def root_of(self, sequence: int) -> Hash | None:
        """Merkle root of a settled batch."""
        (root,) = await _read(self.client, self.address, interfaces.ROOTS, sequence)
        return Hash(root) if any(root) else None

    async def verifying_key_hash(self, program_id: bytes, circuit: int) -> Hash:
        """keccak256 of a circuit's verifying key; raises RevertedError for an unknown program."""
        (found,) = await _read(
            self.client, self.address, interfaces.VERIFYING_KEY_HASH_OF, program_id, circuit
        )
        return Hash(found)

    async def status_of(self, request_id: bytes) -> ResultStatus | None:
        """How a recorded request ended; None if its result is not recorded."""
        (status,) = await _read(self.client, self.address, interfaces.STATUS_OF, request_id)
        return ResultStatus(status) if status else None

    async def verify_inclusion(self, sequence: int, proof: InclusionProof) -> bool:
        """Whether the leaf stands in the settled batch."""
        (holds,) = await _read(
            self.client,
            self.address,
            interfaces.VERIFY_INCLUSION,
            sequence,
            proof.leaf,
            proof.siblings,
            proof.index,
        )
        return bool(holds)

    async def accrued_fees(self) -> Wei:
        """What operators earned and nobody has fetched."""
        (amount,) = await _read(self.client, self.address, interfaces.ACCRUED_FEES)
        return Wei(amount)


async def token_balance(client: ChainClient, token: bytes, account: bytes) -> Wei:
    """ERC-20 balance in the token's smallest unit."""
    (amount,) = await _read(client, token, interfaces.BALANCE_OF, account)
    return Wei(amount)


async def gate_is_open(client: ChainClient, gate: bytes) -> bool:
    """Whether the SolvencyGate lets its stablecoin be minted."""
    (is_open,) = await _read(client, gate, interfaces.GATE_IS_OPEN)
    return bool(is_open)


def settle(
    market: Address, header: Batch, debits: bytes, signature: bytes, non_signers: bytes
) -> Transaction:
    """The transaction that settles a certified batch.

    `debits` and `non_signers` are packed as `protocol.batch` packs them; `signature` is the
    aggregate as a 256-byte EIP-2537 G2 point.
    """
    data = interfaces.SETTLE.call(_header(header), debits, signature, non_signers)
    gas = SETTLE_GAS
    gas += SETTLE_GAS_PER_DEBIT * (len(debits) // 32)
    gas += SETTLE_GAS_PER_NON_SIGNER * (len(non_signers) // 2)
    return Transaction(market, data, gas)


def record(market: Address, sequence: int, result: Result, proof: InclusionProof) -> Transaction:
    """The transaction that stores a settled result where `statusOf` and `resultOf` read it."""
    return Transaction(market, _with_result(interfaces.RECORD, sequence, result, proof), RECORD_GAS)


def update_gate(gate: Address, sequence: int, result: Result, proof: InclusionProof) -> Transaction:
    """The transaction that shows a settled result to the SolvencyGate."""
    data = _with_result(interfaces.GATE_UPDATE, sequence, result, proof)
    return Transaction(gate, data, RECORD_GAS)


def _with_result(function: Function, sequence: int, result: Result, proof: InclusionProof) -> bytes:
    row = (
        result.request_id,
        result.program_id,
        result.requester,
        int(result.status),
        result.issued_at,
        result.fee,
    )
    return function.call(sequence, row, result.claim, proof.siblings, proof.index)


def _header(batch: Batch) -> tuple[object, ...]:
    return (
        batch.epoch,
        batch.round,
        batch.value,
        batch.sequence,
        batch.parent,
        batch.root,
        batch.paid,
        batch.debits_hash,
    )


async def _read(
    client: ChainClient,
    address: bytes,
    function: Function,
    *arguments: object,
    at: BlockTag = "latest",
) -> tuple[Any, ...]:
    return function.result(await client.execute(address, function.call(*arguments), at=at))
