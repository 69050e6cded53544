"""Registers a devnet's operators on EigenLayer, step by step as on a public network.

What is devnet only: accounts from the well-known mnemonic, stake out of nothing, and blocks mined
to pass EigenLayer's delays, which are counted and reported.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from chain import onboarding
from chain.errors import ChainError
from chain.interfaces import GET_ALLOCATION_DELAY, MINT
from chain.onboarding import WAD, OperatorKeys, Step
from chain.signer import Sender, SendPolicy, Transaction
from devnet.accounts import OWNER, account, operator_index, staker_index
from devnet.errors import DevnetError
from node.onchain.registration import proven_keys
from protocol.eip712 import Domain
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from chain.client import ChainClient
    from chain.deployments import Deployment
    from chain.rpc_values import Receipt
    from chain.transaction import Account, SentTransaction
    from node.crypto import BlsKey
    from node.onchain.rotation import Rotation

STAKE: Final = 100 * 10**18
"""Tokens delegated to each operator, twice the minimum of `NetworkPlan`."""
SESSION_ETHER: Final = 10 * 10**18
"""Wei for a session key: settlement gas for a long devnet."""
ESCROW: Final = 1_000 * 10**18
_DEADLINE_S: Final = 30.0
# Transactions are mined at once while the devnet is set up, so look often and never replace.
_POLICY: Final = SendPolicy(
    poll_s=0.005,
    replace_after_s=_DEADLINE_S,
    receipt_lag_s=2.0,
    priority_fee=10**9,
    max_fee_cap=10**12,
)


@dataclass(frozen=True, slots=True)
class NewOperator:
    """An operator to be registered, as its node's keystore describes it.

    `position` chooses its accounts; `session` is an address, `sealing_key` 32 bytes, `peer_id` a
    multihash, `multiaddrs` comma-separated, `stake` in wei of the stake token.
    """

    position: int
    session: bytes
    bls_key: BlsKey
    sealing_key: bytes
    peer_id: bytes
    multiaddrs: str
    stake: int = STAKE

    @property
    def account(self) -> Account:
        """The cold account that the operator is known by."""
        return account(operator_index(self.position))


@dataclass(frozen=True, slots=True)
class MinedBlocks:
    """Blocks mined out of turn, and the delay that they passed."""

    reason: str
    blocks: int


def operator_keys(deployment: Deployment, operator: Address, new: NewOperator) -> OperatorKeys:
    """The keys with the proof that the operator holds the BLS key."""
    return proven_keys(
        Domain(deployment.chain_id, deployment.contracts.prover_registry),
        operator,
        Address(new.session),
        new.bls_key,
        new.sealing_key,
        new.peer_id,
        new.multiaddrs,
    )


async def register_operators(
    client: ChainClient, deployment: Deployment, operators: Sequence[NewOperator]
) -> tuple[MinedBlocks, ...]:
    """Bring operators into the operator set; their table positions are in the order given.

    Raises:
        ChainError: a step failed; RevertedError names the contract's own error.
    """
    contracts = deployment.contracts
    owner = _sender(client, account(OWNER), deployment)
    senders = [_sender(client, new.account, deployment) for new in operators]
    await _together(
        [
            partial(_stake, client, deployment, new, sender)
            for new, sender in zip(operators, senders, strict=True)
        ]
        + [partial(_allow_all, client, deployment, owner, senders)]
    )
    mined = await _pass_allocation_delay(client, deployment, senders)
    await _together(
        [
            partial(perform, client, sender, onboarding.allocate(contracts, sender.address, WAD))
            for sender in senders
        ]
    )
    for new, sender in zip(operators, senders, strict=True):
        keys = operator_keys(deployment, Address(sender.address), new)
        await perform(client, sender, onboarding.join(contracts, sender.address, keys))
    return () if mined is None else (mined,)


async def register_rotation(
    client: ChainClient, deployment: Deployment, position: int, rotation: Rotation
) -> None:
    """What the holder of an operator's cold key does for its node's next key set.

    Raises:
        ChainError: a step failed; RevertedError names the contract's own error.
    """
    operator = _sender(client, account(operator_index(position)), deployment)
    session = rotation.keys.session.address
    await perform(client, operator, Step("fund session", session, b"", SESSION_ETHER))
    await perform(client, operator, rotation.step)


async def open_next_epoch(
    client: ChainClient, deployment: Deployment, seed_delay: int
) -> MinedBlocks:
    """Freeze the operator table, mine up to the block that seeds it, open the epoch."""
    owner = _sender(client, account(OWNER), deployment)
    receipt = await perform(client, owner, onboarding.freeze_table(deployment.contracts))
    head = await client.block_number()
    blocks = max(0, receipt.block_number + seed_delay - head)
    await mine(client, blocks)
    await perform(client, owner, onboarding.open_epoch(deployment.contracts))
    return MinedBlocks("table seed", blocks)


async def fund_requester(
    client: ChainClient, deployment: Deployment, requester: Account, amount: int
) -> None:
    """Mint fee tokens for a requester and deposit them in its escrow; amount in wei."""
    contracts = deployment.contracts
    sender = _sender(client, requester, deployment)
    await perform(client, sender, _mint(contracts.fee_token, requester.address, amount))
    await perform(
        client, sender, onboarding.approve(contracts.fee_token, contracts.proof_market, amount)
    )
    await perform(client, sender, onboarding.deposit_escrow(contracts, amount))


async def perform(client: ChainClient, sender: Sender, step: Step) -> Receipt:
    """Send one step and return its receipt, with a fifth more gas than it seems to need."""
    gas = await client.estimate_gas(sender.address, step.to, step.data, value=step.value)
    receipt = await sender.send(
        Transaction(step.to, step.data, gas * 6 // 5, step.value),
        journal=_no_journal,
        deadline_s=_DEADLINE_S,
    )
    if receipt is None:
        raise DevnetError(f"{step.label} was not sent")
    return receipt


async def mine(client: ChainClient, blocks: int) -> None:
    """Mine empty blocks; the chain's clock does not run ahead."""
    if blocks:
        await client.call("anvil_mine", hex(blocks), retry=False)


@asynccontextmanager
async def transactions_mined_at_once(client: ChainClient, block_time_s: int) -> AsyncIterator[None]:
    """Set-up mode: each transaction is a block; afterwards a block every `block_time_s` again."""
    await client.call("evm_setAutomine", True, retry=False)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await client.call("evm_setAutomine", False, retry=False)
            await client.call("evm_setIntervalMining", block_time_s, retry=False)


async def _stake(
    client: ChainClient, deployment: Deployment, new: NewOperator, operator: Sender
) -> None:
    """Become an operator, fund the session key, and have a staker delegate its deposit."""
    contracts = deployment.contracts
    staker = _sender(client, account(staker_index(new.position)), deployment)

    async def operate() -> None:
        uri = f"https://example.org/operator-{new.position}.json"
        step = onboarding.register_as_operator(
            contracts, allocation_delay_blocks=0, metadata_uri=uri
        )
        await perform(client, operator, step)
        await perform(client, operator, Step("fund session", new.session, b"", SESSION_ETHER))

    async def deposit() -> None:
        if not new.stake:
            return
        manager = contracts.strategy_manager
        await perform(client, staker, _mint(contracts.stake_token, staker.address, new.stake))
        await perform(client, staker, onboarding.approve(contracts.stake_token, manager, new.stake))
        await perform(client, staker, onboarding.deposit_stake(contracts, new.stake))

    await _together([operate, deposit])
    await perform(client, staker, onboarding.delegate_to(contracts, operator.address))


async def _allow_all(
    client: ChainClient, deployment: Deployment, owner: Sender, operators: Sequence[Sender]
) -> None:
    for operator in operators:
        await perform(client, owner, onboarding.allow(deployment.contracts, operator.address))


async def _pass_allocation_delay(
    client: ChainClient, deployment: Deployment, operators: Sequence[Sender]
) -> MinedBlocks | None:
    """Mine one block at a time until the core lets every operator allocate."""
    manager = deployment.contracts.allocation_manager
    blocks = 0
    for operator in operators:
        while True:
            output = await client.execute(
                manager, GET_ALLOCATION_DELAY.call(operator.address), at="pending"
            )
            if GET_ALLOCATION_DELAY.result(output)[0]:
                break
            await mine(client, 1)
            blocks += 1
            if blocks > 1_000:
                raise DevnetError("the allocation-configuration delay is over 1,000 blocks")
    return MinedBlocks("allocation-configuration delay", blocks) if blocks else None


async def _together(tasks: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Run all tasks; the first failure alone is raised, as the others are its consequences."""
    try:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)
    except* ChainError as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def _no_journal(_: SentTransaction) -> None:
    """A devnet that dies in its set-up is thrown away."""


def _mint(token: bytes, holder: bytes, amount: int) -> Step:
    return Step("mint", token, MINT.call(holder, amount))


def _sender(client: ChainClient, signer: Account, deployment: Deployment) -> Sender:
    return Sender(client, signer, deployment.chain_id, _POLICY)
