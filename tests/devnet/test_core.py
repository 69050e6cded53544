from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest

from chain.client import ChainClient, hexed
from chain.errors import BadResponseError, RevertedError
from chain.transaction import create_address
from devnet.anvil import Anvil, AnvilSettings, run_anvil
from devnet.artifacts import built, eigenlayer
from devnet.contract import Contract, deploy, unlocked_accounts
from devnet.core import (
    VERSION,
    ZERO_ADDRESS,
    Core,
    CoreParams,
    deploy_core,
)
from devnet.errors import DevnetError
from devnet.state import PreparedChain, dump_state, prepare, prepare_core
from protocol.types import Address

if TYPE_CHECKING:
    from pathlib import Path

PARAMS = CoreParams()
WAD = 10**18
STAKE = 100 * WAD


def contract(client: ChainClient, core: Core, name: str) -> Contract:
    address = {
        "AllocationManager": core.allocation_manager,
        "AVSDirectory": core.avs_directory,
        "DelegationManager": core.delegation_manager,
        "PermissionController": core.permission_controller,
        "RewardsCoordinator": core.rewards_coordinator,
        "StrategyManager": core.strategy_manager,
    }[name]
    return Contract(client, address, eigenlayer(name))


async def delegate_stake(client: ChainClient, core: Core, operator: bytes, staker: bytes) -> None:
    """Register an operator and delegate STAKE to it, as people do on a public network."""
    delegation = contract(client, core, "DelegationManager")
    strategies = contract(client, core, "StrategyManager")
    token = Contract(client, core.stake_token, built("TestToken"))
    await delegation.transact(operator, "registerAsOperator", ZERO_ADDRESS, 0, "")
    await token.transact(staker, "mint", staker, STAKE)
    await token.transact(staker, "approve", core.strategy_manager, STAKE)
    await strategies.transact(
        staker, "depositIntoStrategy", core.stake_strategy, core.stake_token, STAKE
    )
    await delegation.transact(staker, "delegateTo", operator, (b"", 0), bytes(32))


async def operator_shares(client: ChainClient, core: Core, operator: bytes) -> int:
    delegation = contract(client, core, "DelegationManager")
    return int(await delegation.read("operatorShares", operator, core.stake_strategy))


@pytest.fixture
async def prepared(tmp_path: Path) -> tuple[PreparedChain, Core]:
    return await prepare_core(PARAMS, cache=tmp_path / "cache")


async def test_the_six_contracts_are_the_pinned_release(anvil: Anvil) -> None:
    core = await deploy_core(anvil.client, PARAMS)
    for name in (
        "AllocationManager",
        "AVSDirectory",
        "DelegationManager",
        "PermissionController",
        "RewardsCoordinator",
        "StrategyManager",
    ):
        assert await contract(anvil.client, core, name).read("version") == VERSION


async def test_the_contracts_know_each_other_and_our_delays(anvil: Anvil) -> None:
    core = await deploy_core(anvil.client, PARAMS)
    allocation = contract(anvil.client, core, "AllocationManager")
    delegation = contract(anvil.client, core, "DelegationManager")
    assert await allocation.read("delegation") == core.delegation_manager
    assert await delegation.read("allocationManager") == core.allocation_manager
    assert await delegation.read("strategyManager") == core.strategy_manager
    assert await delegation.read("permissionController") == core.permission_controller
    assert await delegation.read("minWithdrawalDelayBlocks") == PARAMS.min_withdrawal_delay_blocks
    assert await allocation.read("DEALLOCATION_DELAY") == PARAMS.deallocation_delay_blocks
    rewards = contract(anvil.client, core, "RewardsCoordinator")
    assert await rewards.read("rewardsUpdater") == core.rewards_updater


async def test_nobody_initializes_the_core_again(anvil: Anvil) -> None:
    core = await deploy_core(anvil.client, PARAMS)
    thief = (await unlocked_accounts(anvil.client))[9]
    with pytest.raises(RevertedError):
        await contract(anvil.client, core, "AllocationManager").transact(
            thief, "initialize", thief, 0
        )


async def test_an_empty_address_is_told_apart_from_a_contract(anvil: Anvil) -> None:
    nothing = Contract(anvil.client, Address(b"\x77" * 20), eigenlayer("AllocationManager"))
    with pytest.raises(BadResponseError):
        await nothing.read("DEALLOCATION_DELAY")


async def test_reload_is_equal_and_works(
    tmp_path: Path, prepared: tuple[PreparedChain, Core]
) -> None:
    state, core = prepared
    settings = AnvilSettings(log=tmp_path / "anvil.log", load_state=state.state, block_time_s=None)
    fresh = AnvilSettings(log=tmp_path / "fresh.log", block_time_s=None)
    async with run_anvil(settings) as reloaded, run_anvil(fresh) as deployed:
        assert await deploy_core(deployed.client, PARAMS) == core
        for address in astuple(core):
            for method in ("eth_getCode", "eth_getTransactionCount"):
                args = (hexed(address), "latest")
                assert await reloaded.client.call(method, *args) == await deployed.client.call(
                    method, *args
                )
        # Events from before the dump are still there for an event cursor that starts at block 0.
        everything = {"fromBlock": "0x0", "toBlock": "latest"}
        before = await deployed.client.call("eth_getLogs", everything)
        after = await reloaded.client.call("eth_getLogs", everything)
        assert [(x["address"], x["topics"]) for x in after] == [
            (x["address"], x["topics"]) for x in before
        ]
        assert len(after) > 0

        operator, staker = (await unlocked_accounts(reloaded.client))[2:4]
        await delegate_stake(reloaded.client, core, operator, staker)
        assert await operator_shares(reloaded.client, core, operator) == STAKE


async def test_a_withdrawn_deposit_comes_back_whole(anvil: Anvil) -> None:
    core = await deploy_core(anvil.client, PARAMS)
    operator, staker = (await unlocked_accounts(anvil.client))[2:4]
    await delegate_stake(anvil.client, core, operator, staker)
    delegation = contract(anvil.client, core, "DelegationManager")
    await delegation.transact(
        staker, "queueWithdrawals", [([core.stake_strategy], [STAKE], ZERO_ADDRESS)]
    )
    withdrawals, _ = await delegation.read("getQueuedWithdrawals", staker)
    complete = "completeQueuedWithdrawal"
    with pytest.raises(RevertedError):
        await delegation.transact(staker, complete, withdrawals[0], [core.stake_token], True)
    await anvil.client.call("anvil_mine", hex(PARAMS.min_withdrawal_delay_blocks))
    await delegation.transact(staker, complete, withdrawals[0], [core.stake_token], True)
    token = Contract(anvil.client, core.stake_token, built("TestToken"))
    assert await token.read("balanceOf", staker) == STAKE
    assert await operator_shares(anvil.client, core, operator) == 0


async def test_only_the_strategy_manager_moves_the_stake(anvil: Anvil) -> None:
    core = await deploy_core(anvil.client, PARAMS)
    operator, staker, thief = (await unlocked_accounts(anvil.client))[2:5]
    await delegate_stake(anvil.client, core, operator, staker)
    strategy = Contract(anvil.client, core.stake_strategy, built("DevStrategy"))
    with pytest.raises(RevertedError) as refused:
        await strategy.transact(thief, "withdraw", thief, core.stake_token, 1)
    assert len(refused.value.data) == 4


async def test_the_core_is_deployed_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first, core = await prepare_core(PARAMS, cache=cache)
    written = first.state.stat().st_mtime_ns
    second, again = await prepare_core(PARAMS, cache=cache)
    assert (second, again) == (first, core)
    assert second.state.stat().st_mtime_ns == written
    other, _ = await prepare_core(CoreParams(deallocation_delay_blocks=9), cache=cache)
    assert other.state != first.state


async def test_a_broken_cache_entry_is_built_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first, core = await prepare_core(PARAMS, cache=cache)
    (first.state.parent / "deployment.json").write_text("{")
    second, again = await prepare_core(PARAMS, cache=cache)
    assert again == core
    assert second.state.exists()


async def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    async def build(client: ChainClient) -> dict[str, str]:
        await client.call("anvil_mine", "0x1")
        raise DevnetError("half way")

    with pytest.raises(DevnetError, match="half way"):
        await prepare("key", build, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_state_can_be_built_on_another(
    tmp_path: Path, prepared: tuple[PreparedChain, Core]
) -> None:
    state, core = prepared

    async def build(client: ChainClient) -> dict[str, str]:
        operator, staker = (await unlocked_accounts(client))[2:4]
        await delegate_stake(client, core, operator, staker)
        return {"operator": hexed(operator)}

    second = await prepare("second", build, start=state, cache=tmp_path / "cache")
    settings = AnvilSettings(log=tmp_path / "anvil.log", load_state=second.state)
    async with run_anvil(settings) as anvil:
        assert (
            await operator_shares(
                anvil.client, core, bytes.fromhex(second.deployment["operator"][2:])
            )
            == STAKE
        )
        await dump_state(anvil.client, tmp_path / "third.json")
    assert (tmp_path / "third.json").stat().st_size > 0


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 300])
async def test_create_address_follows_the_nonce(anvil: Anvil, nonce: int) -> None:
    sender = (await unlocked_accounts(anvil.client))[0]
    await anvil.client.call("anvil_setNonce", hexed(sender), hex(nonce))
    contract = await deploy(anvil.client, sender, built("NoPods"))
    assert contract.address == create_address(sender, nonce)
