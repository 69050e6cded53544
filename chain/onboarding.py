"""The calls by which operators join and rotate, programs are registered, and escrow is funded.

Each builder returns calldata and target; who signs stands in its docstring. Order: register, stake
and delegate, wait out the allocation-configuration delay, allocate, be allowed by the registry's
owner, join.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chain import interfaces
from chain.abi import encode_all
from chain.deployments import OPERATOR_SET
from protocol.types import ZERO_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.deployments import Contracts

WAD: Final = 10**18
"""All of an operator's magnitude in one strategy (EigenLayer)."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call that someone has to send; `label` names it for people, `value` in wei."""

    label: str
    to: bytes
    data: bytes
    value: int = 0


@dataclass(frozen=True, slots=True)
class OperatorKeys:
    """What an operator registers with, and rotates to.

    `session` is a 20-byte address, `bls_key` a 128-byte EIP-2537 G1 point, `proof_of_possession` a
    256-byte G2 point (the BLS key's signature over `protocol.eip712.key_registration_digest`),
    `sealing_key` 32 bytes, `peer_id` a multihash, `multiaddrs` comma-separated.
    """

    session: bytes
    bls_key: bytes
    proof_of_possession: bytes
    sealing_key: bytes
    peer_id: bytes
    multiaddrs: str

    def values(self) -> tuple[object, ...]:
        """The fields of the contract's struct."""
        return (
            self.session,
            self.bls_key,
            self.proof_of_possession,
            self.sealing_key,
            self.peer_id,
            self.multiaddrs,
        )

    def encode(self) -> bytes:
        """abi.encode(OperatorKeys), as the registrar decodes it."""
        return encode_all([interfaces.OPERATOR_KEYS], [self.values()])


def register_as_operator(
    contracts: Contracts, *, allocation_delay_blocks: int, metadata_uri: str
) -> Step:
    """Signed by the operator: makes the account an EigenLayer operator that anyone may delegate to.

    Allocations take effect `allocation_delay_blocks` after they are made; 0 is legal.
    """
    data = interfaces.REGISTER_AS_OPERATOR.call(ZERO_ADDRESS, allocation_delay_blocks, metadata_uri)
    return Step("registerAsOperator", contracts.delegation_manager, data)


def approve(token: bytes, spender: bytes, amount: int) -> Step:
    """Signed by the token's holder."""
    return Step("approve", token, interfaces.APPROVE.call(spender, amount))


def deposit_stake(contracts: Contracts, amount: int) -> Step:
    """Signed by the staker, who has approved the StrategyManager; amount in the stake token."""
    data = interfaces.DEPOSIT_INTO_STRATEGY.call(
        contracts.stake_strategy, contracts.stake_token, amount
    )
    return Step("depositIntoStrategy", contracts.strategy_manager, data)


def delegate_to(contracts: Contracts, operator: bytes) -> Step:
    """Signed by the staker; the operator asked for no approval."""
    data = interfaces.DELEGATE_TO.call(operator, (b"", 0), bytes(32))
    return Step("delegateTo", contracts.delegation_manager, data)


def allocate(contracts: Contracts, operator: bytes, magnitude: int) -> Step:
    """Signed by the operator: puts so much of its stake (of WAD) at stake for our operator set.

    Possible from the allocation-configuration delay after `register_as_operator`.
    """
    operator_set = (contracts.prover_registry, OPERATOR_SET)
    allocations = [(operator_set, [contracts.stake_strategy], [magnitude])]
    data = interfaces.MODIFY_ALLOCATIONS.call(operator, allocations)
    return Step("modifyAllocations", contracts.allocation_manager, data)


def allow(contracts: Contracts, operator: bytes) -> Step:
    """Signed by the registry's owner."""
    data = interfaces.SET_ALLOWED.call(operator, True)
    return Step("setAllowed", contracts.prover_registry, data)


def join(contracts: Contracts, operator: bytes, keys: OperatorKeys) -> Step:
    """Signed by the operator: enters the operator set through our registrar."""
    parameters = (contracts.prover_registry, [OPERATOR_SET], keys.encode())
    data = interfaces.REGISTER_FOR_OPERATOR_SETS.call(operator, parameters)
    return Step("registerForOperatorSets", contracts.allocation_manager, data)


def rotate_keys(contracts: Contracts, operator: bytes, keys: OperatorKeys) -> Step:
    """Signed by the operator: the next table that is frozen names these keys; the peer id stays."""
    data = interfaces.ROTATE_KEYS.call(operator, keys.values())
    return Step("rotateKeys", contracts.prover_registry, data)


def leave(contracts: Contracts, operator: bytes) -> Step:
    """Signed by the operator: is in no later table, and stays slashable for a while."""
    parameters = (operator, contracts.prover_registry, [OPERATOR_SET])
    data = interfaces.DEREGISTER_FROM_OPERATOR_SETS.call(parameters)
    return Step("deregisterFromOperatorSets", contracts.allocation_manager, data)


def freeze_table(contracts: Contracts) -> Step:
    """Signed by anyone, when due."""
    return Step("freezeTable", contracts.prover_registry, interfaces.FREEZE_TABLE.call())


def open_epoch(contracts: Contracts) -> Step:
    """Signed by anyone, when the seed's block is mined."""
    return Step("openEpoch", contracts.prover_registry, interfaces.OPEN_EPOCH.call())


def register_program(
    contracts: Contracts, program_id: bytes, class_id: bytes, verifying_keys: Sequence[bytes]
) -> Step:
    """Signed by the market's owner; Groth16 keys in the order of the program's circuits."""
    circuits = [(contracts.groth16_verifier, key) for key in verifying_keys]
    data = interfaces.REGISTER_PROGRAM.call(program_id, (class_id, circuits))
    return Step("registerProgram", contracts.proof_market, data)


def deposit_escrow(contracts: Contracts, amount: int) -> Step:
    """Signed by the requester, who has approved the market; amount in wei of the fee token."""
    return Step("deposit", contracts.proof_market, interfaces.DEPOSIT.call(amount))
