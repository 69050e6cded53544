"""Operators really register on the real core; what is wrong is refused by name."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from chain import onboarding
from chain.deployments import check_deployment, load_deployment, save_deployment
from chain.errors import RevertedError
from chain.interfaces import (
    DELEGATED_TO,
    IS_MEMBER_OF_OPERATOR_SET,
    IS_OPERATOR,
    OPERATOR_SHARES,
)
from chain.onboarding import WAD
from chain.signer import Sender
from chain.tables import read_table
from devnet.accounts import OWNER, REQUESTER, account, accounts_for, operator_index, staker_index
from devnet.anvil import CHAIN_ID
from devnet.deploy import CORE_PARAMS, NetworkPlan, prepare_network
from devnet.operators import (
    ESCROW,
    SESSION_ETHER,
    STAKE,
    MinedBlocks,
    fund_requester,
    open_next_epoch,
    operator_keys,
    perform,
    register_operators,
    transactions_mined_at_once,
)
from node.crypto import BlsKey, Crypto, compressed_g1, eip2537_g2
from protocol.eip712 import Domain, key_registration_digest
from tests.chain.network import PLAN, Network, operator, run_network
from tests.chain.test_signer import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chain.abi import Function
    from devnet.operators import NewOperator


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with run_network(tmp_path / "anvil.log") as running:
        yield running


async def ask(network: Network, to: bytes, function: Function, *arguments: object) -> object:
    (value,) = function.result(await network.client.execute(to, function.call(*arguments)))
    return value


async def test_operators_register_with_real_stake(network: Network) -> None:
    core = network.contracts
    operators = [operator(position) for position in range(4)]
    await register_operators(network.client, network.deployment, operators)
    mined = await open_next_epoch(network.client, network.deployment, PLAN.table_seed_delay)
    assert mined == MinedBlocks("table seed", PLAN.table_seed_delay)

    for new in operators:
        address, staker = new.account.address, account(staker_index(new.position)).address
        assert await ask(network, core.delegation_manager, IS_OPERATOR, address)
        assert await ask(network, core.delegation_manager, DELEGATED_TO, staker) == address
        shares = await ask(
            network, core.delegation_manager, OPERATOR_SHARES, address, core.stake_strategy
        )
        assert shares == STAKE
        member = await ask(
            network,
            core.allocation_manager,
            IS_MEMBER_OF_OPERATOR_SET,
            address,
            (core.prover_registry, 0),
        )
        assert member
        assert await network.registry.operator_of_session(new.session) == address
        assert await network.registry.stake_of(address) == STAKE // 10**9
        assert await network.client.balance(new.session) == SESSION_ETHER
    table = await read_table(network.registry, 1)
    assert table is not None
    assert [row.operator for row in table.operators] == [new.account.address for new in operators]


async def test_weights_follow_the_stake(network: Network) -> None:
    stakes = (STAKE, 3 * STAKE)
    operators = [operator(i, stake=stake) for i, stake in enumerate(stakes)]
    await register_operators(network.client, network.deployment, operators)
    await open_next_epoch(network.client, network.deployment, PLAN.table_seed_delay)
    table = await read_table(network.registry, 1)
    assert table is not None
    assert [row.weight for row in table.operators] == [stake // 10**9 for stake in stakes]


async def prepared(network: Network, new: NewOperator, *, allowed: bool = True) -> Sender:
    """An operator with stake that has all but joined; another one has joined before."""
    with pytest.raises(RevertedError):
        # Everything up to the last step succeeds: that one is refused for its keys.
        await register_operators(
            network.client, network.deployment, [replace(new, sealing_key=bytes(32))]
        )
    sender = Sender(network.client, new.account, CHAIN_ID, QUICK)
    if not allowed:
        owner = Sender(network.client, account(OWNER), CHAIN_ID, QUICK)
        step = onboarding.allow(network.contracts, sender.address)
        # The same call with its last word, `allowed`, turned off.
        await perform(network.client, owner, replace(step, data=step.data[:-1] + b"\0"))
    return sender


async def join(network: Network, sender: Sender, keys: onboarding.OperatorKeys) -> str:
    step = onboarding.join(network.contracts, sender.address, keys)
    with pytest.raises(RevertedError) as caught:
        await perform(network.client, sender, step)
    return caught.value.error


async def test_a_proof_of_possession_by_another_key_is_refused(network: Network) -> None:
    new = operator(0)
    sender = await prepared(network, new)
    honest = operator_keys(network.deployment, new.account.address, new)
    thief = BlsKey((99).to_bytes(32, "big"))
    domain = Domain(CHAIN_ID, network.contracts.prover_registry)
    digest = key_registration_digest(
        domain,
        new.account.address,
        honest.session,  # type: ignore[arg-type]
        honest.bls_key,
        honest.sealing_key,
        honest.peer_id,
    )
    assert Crypto().verify(compressed_g1(honest.bls_key), digest, new.bls_key.sign(digest))
    stolen = replace(honest, proof_of_possession=eip2537_g2(thief.sign(digest)))
    assert await join(network, sender, stolen) == "InvalidProofOfPossession"
    redirected = replace(honest, session=b"\x42" * 20)
    assert await join(network, sender, redirected) == "InvalidProofOfPossession"
    no_point = replace(honest, bls_key=bytes(128))
    assert await join(network, sender, no_point) == "InvalidBlsKey"
    await perform(
        network.client, sender, onboarding.join(network.contracts, sender.address, honest)
    )


async def test_who_is_not_on_the_allowlist_is_refused(network: Network) -> None:
    new = operator(0)
    sender = await prepared(network, new, allowed=False)
    keys = operator_keys(network.deployment, new.account.address, new)
    assert await join(network, sender, keys) == "OperatorNotAllowed"


@pytest.mark.parametrize("stake", [0, STAKE // 2 - 10**9])
async def test_too_little_stake_is_refused(network: Network, stake: int) -> None:
    with pytest.raises(RevertedError) as caught:
        await register_operators(network.client, network.deployment, [operator(0, stake=stake)])
    assert caught.value.error == "StakeBelowMinimum"


async def test_stake_that_is_not_allocated_does_not_count(network: Network) -> None:
    new = operator(0)
    sender = await prepared(network, new)
    step = onboarding.allocate(network.contracts, sender.address, WAD // 4)
    await perform(network.client, sender, step)
    keys = operator_keys(network.deployment, new.account.address, new)
    assert await join(network, sender, keys) == "StakeBelowMinimum"


async def test_keys_of_another_operator_are_refused(network: Network) -> None:
    first = operator(0)
    await register_operators(network.client, network.deployment, [first])
    for position, name in enumerate(("session", "bls_key", "peer_id"), 1):
        copied = operator(position, **{name: getattr(first, name)})
        with pytest.raises(RevertedError) as caught:
            await register_operators(network.client, network.deployment, [copied])
        assert caught.value.error == "KeyTaken"


async def test_a_requester_gets_escrow(network: Network) -> None:
    requester = account(REQUESTER)
    await fund_requester(network.client, network.deployment, requester, ESCROW)
    assert await network.market.escrow_of(requester.address) == ESCROW


async def test_set_up_under_interval_mining_keeps_the_chains_clock(tmp_path: Path) -> None:
    """Hundreds of blocks in a second must not bring the head's timestamp ahead of the nodes'."""
    async with run_network(tmp_path / "anvil.log", block_time_s=1) as network:
        client = network.client
        started = time.monotonic()
        async with transactions_mined_at_once(client, 1):
            operators = [operator(position) for position in range(4)]
            await register_operators(client, network.deployment, operators)
            await open_next_epoch(client, network.deployment, PLAN.table_seed_delay)
        assert time.monotonic() - started < 10, "operators are ready within seconds"
        before = await client.head()
        with trio.fail_after(5):
            while (head := await client.head()).number < before.number + 2:
                await trio.sleep(0.05)
        # An interval-mined block carries the wall clock's second.
        assert abs(head.timestamp_s - time.time()) < 2.5


async def test_the_network_is_prepared_once(tmp_path: Path) -> None:
    first = await prepare_network(PLAN)
    again = await prepare_network(PLAN)
    assert first == again
    other = await prepare_network(replace(PLAN, minimum_stake=1))
    assert other.chain.state != first.chain.state


async def test_its_deployment_file_is_checked_against_the_chain(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "31337.json"
    save_deployment(path, network.deployment)
    loaded = load_deployment(path)
    assert loaded == network.deployment
    await check_deployment(network.client, loaded)
    assert loaded.first_block <= await network.client.block_number()
    registry = network.contracts.prover_registry
    assert await network.client.code(registry, loaded.first_block - 1) == b""


def test_the_plan_fits_the_core() -> None:
    plan = NetworkPlan(programs=PLAN.programs)
    epochs = 2 * (plan.epoch_blocks + plan.table_seed_delay)
    assert epochs <= CORE_PARAMS.deallocation_delay_blocks
    # What backs a certificate may not be withdrawn sooner than it may be deallocated.
    assert CORE_PARAMS.min_withdrawal_delay_blocks >= CORE_PARAMS.deallocation_delay_blocks


def test_accounts_have_one_role_each() -> None:
    operators = 5
    indices = [index(i) for i in range(operators) for index in (operator_index, staker_index)]
    assert len(set(indices)) == 2 * operators
    assert min(indices) > REQUESTER
    assert max(indices) < accounts_for(operators)
