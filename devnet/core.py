"""Deploys the real EigenLayer core v1.4.0, and the few devnet-only pieces it stands on.

On a public network all of this is there already; the addresses then come from a deployment file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chain.transaction import create_address
from devnet.artifacts import Artifact, built, eigenlayer, openzeppelin
from devnet.contract import Contract, deploy, unlocked_accounts
from devnet.errors import DevnetError
from protocol.types import Address

if TYPE_CHECKING:
    from chain.client import ChainClient

VERSION: Final = "v1.4.0"
ZERO_ADDRESS: Final = Address(bytes(20))
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class CoreParams:
    """The core's immutables. Delays are blocks; on mainnet they are two weeks."""

    # A staker's withdrawal and an operator's deallocation stay slashable this long. Equal, as on
    # mainnet; longer than our veto window; short, since a devnet mines past them in tests.
    min_withdrawal_delay_blocks: int = 30
    deallocation_delay_blocks: int = 30
    # An allocation delay that an operator sets is in force one block after this many.
    allocation_configuration_delay_blocks: int = 2
    # Rewards: RewardsCoordinator insists on whole days.
    calculation_interval_s: int = DAY_S
    max_rewards_duration_s: int = 10 * DAY_S
    max_retroactive_length_s: int = 30 * DAY_S
    max_future_length_s: int = 7 * DAY_S
    # Genesis lies this far back, so that yesterday's rewards can be submitted on the first day.
    rewards_history_s: int = 20 * DAY_S
    activation_delay_s: int = 0
    default_operator_split_bips: int = 1_000


@dataclass(frozen=True, slots=True)
class Core:
    """Addresses of a deployed core and its two devnet accounts."""

    allocation_manager: Address
    avs_directory: Address
    delegation_manager: Address
    permission_controller: Address
    rewards_coordinator: Address
    strategy_manager: Address
    stake_token: Address
    stake_strategy: Address
    owner: Address
    rewards_updater: Address


async def deploy_core(client: ChainClient, params: CoreParams) -> Core:
    """Deploy the core; the first account becomes its owner, the second its rewards updater.

    Raises:
        ChainError: a deployment failed.
        DevnetError: a proxy did not land where its siblings expect it.
    """
    owner, rewards_updater = (await unlocked_accounts(client))[:2]
    pausers = await deploy(client, owner, built("DevPauserRegistry"), owner)
    pods = await deploy(client, owner, built("NoPods"))
    permissions = await deploy(client, owner, eigenlayer("PermissionController"), VERSION)
    now = (await client.head()).timestamp_s
    genesis = (now - params.rewards_history_s) // DAY_S * DAY_S

    # Each contract holds the addresses of the others as immutables. They are created as pairs of
    # implementation and proxy by one account, so the proxies' addresses follow from its nonce.
    names = (
        "DelegationManager",
        "StrategyManager",
        "AllocationManager",
        "AVSDirectory",
        "RewardsCoordinator",
    )
    nonce = await client.nonce(owner)
    at = {name: create_address(owner, nonce + 2 * i + 1) for i, name in enumerate(names)}
    delegation, strategies, allocation, directory, rewards = (at[name] for name in names)

    plan: tuple[tuple[str, tuple[object, ...], tuple[object, ...]], ...] = (
        (
            "DelegationManager",
            (
                strategies,
                pods.address,
                allocation,
                pausers.address,
                permissions.address,
                params.min_withdrawal_delay_blocks,
                VERSION,
            ),
            (owner, 0),
        ),
        ("StrategyManager", (delegation, pausers.address, VERSION), (owner, owner, 0)),
        (
            "AllocationManager",
            (
                delegation,
                pausers.address,
                permissions.address,
                params.deallocation_delay_blocks,
                params.allocation_configuration_delay_blocks,
                VERSION,
            ),
            (owner, 0),
        ),
        ("AVSDirectory", (delegation, pausers.address, VERSION), (owner, 0)),
        (
            "RewardsCoordinator",
            (
                (
                    delegation,
                    strategies,
                    allocation,
                    pausers.address,
                    permissions.address,
                    params.calculation_interval_s,
                    params.max_rewards_duration_s,
                    params.max_retroactive_length_s,
                    params.max_future_length_s,
                    genesis,
                    VERSION,
                ),
            ),
            (
                owner,
                0,
                rewards_updater,
                params.activation_delay_s,
                params.default_operator_split_bips,
            ),
        ),
    )
    for name, constructor, initializer in plan:
        proxy = await _deploy_behind_proxy(
            client, owner, eigenlayer(name), constructor, initializer
        )
        if proxy.address != at[name]:
            raise DevnetError(
                f"{name} landed at 0x{proxy.address.hex()} instead of 0x{at[name].hex()}; "
                "does something else send transactions from the first account?"
            )

    token = await deploy(client, owner, built("TestToken"), "Devnet Stake", "STAKE")
    strategy = await deploy(client, owner, built("DevStrategy"), strategies, token.address)
    manager = Contract(client, strategies, eigenlayer("StrategyManager"))
    await manager.transact(owner, "addStrategiesToDepositWhitelist", [strategy.address])
    return Core(
        allocation_manager=allocation,
        avs_directory=directory,
        delegation_manager=delegation,
        permission_controller=permissions.address,
        rewards_coordinator=rewards,
        strategy_manager=strategies,
        stake_token=token.address,
        stake_strategy=strategy.address,
        owner=owner,
        rewards_updater=rewards_updater,
    )


async def _deploy_behind_proxy(
    client: ChainClient,
    owner: bytes,
    artifact: Artifact,
    constructor: tuple[object, ...],
    initializer: tuple[object, ...],
) -> Contract:
    implementation = await deploy(client, owner, artifact, *constructor)
    data = artifact.call("initialize", *initializer)
    proxy = await deploy(
        client,
        owner,
        openzeppelin("TransparentUpgradeableProxy"),
        implementation.address,
        owner,
        data,
    )
    return Contract(client, proxy.address, artifact)
