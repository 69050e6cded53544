"""Deploys the real EigenLayer core v1.4.0, and the few devnet-only pieces it stands on.

On a public network all of this is there already; the addresses then come from a deployment file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_hash.auto import keccak

from devnet.artifacts import Artifact, built, eigenlayer, openzeppelin
from devnet.errors import DevnetError

if TYPE_CHECKING:
    from devnet.rpc import Rpc

VERSION = "v1.4.0"
ZERO_ADDRESS = "0x" + "00" * 20
DAY_S = 86_400


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
    """Addresses of a deployed core, checksum-free lower-case hex."""

    allocation_manager: str
    avs_directory: str
    delegation_manager: str
    permission_controller: str
    rewards_coordinator: str
    strategy_manager: str
    stake_token: str
    stake_strategy: str
    owner: str
    rewards_updater: str


@dataclass(frozen=True, slots=True)
class Contract:
    """A deployed contract together with its ABI and the way to it."""

    rpc: Rpc
    address: str
    artifact: Artifact

    async def read(self, function: str, *args: object, sender: str | None = None) -> Any:
        """Call a view function; a single return value comes bare."""
        output = await self.rpc.read(
            self.address, self.artifact.call(function, *args), sender=sender
        )
        values = self.artifact.result(function, output)
        return values[0] if len(values) == 1 else values

    async def transact(self, sender: str, function: str, *args: object) -> dict[str, Any]:
        """Send a transaction from an unlocked account and return its receipt."""
        return await self.rpc.transact(sender, self.address, self.artifact.call(function, *args))


async def deploy(rpc: Rpc, sender: str, artifact: Artifact, *args: object) -> Contract:
    """Create a contract from an unlocked account."""
    receipt = await rpc.transact(sender, None, artifact.creation(*args))
    return Contract(rpc, str(receipt["contractAddress"]).lower(), artifact)


async def deploy_core(rpc: Rpc, params: CoreParams) -> Core:
    """Deploy the core; the first account becomes its owner, the second its rewards updater.

    Raises:
        DevnetError: a deployment failed, or a proxy did not land where its siblings expect it.
    """
    owner, rewards_updater = (await rpc.accounts())[:2]
    pausers = await deploy(rpc, owner, built("DevPauserRegistry"), owner)
    pods = await deploy(rpc, owner, built("NoPods"))
    permissions = await deploy(rpc, owner, eigenlayer("PermissionController"), VERSION)
    now = int((await rpc.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16)
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
    nonce = int(await rpc.call("eth_getTransactionCount", owner, "latest"), 16)
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
        proxy = await _deploy_behind_proxy(rpc, owner, eigenlayer(name), constructor, initializer)
        if proxy.address != at[name]:
            raise DevnetError(
                f"{name} landed at {proxy.address} instead of {at[name]}; "
                "does something else send transactions from the first account?"
            )

    token = await deploy(rpc, owner, built("TestToken"), "Devnet Stake", "STAKE")
    strategy = await deploy(rpc, owner, built("DevStrategy"), strategies, token.address)
    manager = Contract(rpc, strategies, eigenlayer("StrategyManager"))
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
        owner=owner.lower(),
        rewards_updater=rewards_updater.lower(),
    )


def create_address(sender: str, nonce: int) -> str:
    """The address of the contract that `sender` creates with transaction number `nonce`."""
    account = bytes.fromhex(sender[2:])
    # RLP of [account, nonce]: both are short strings, and a number below 128 is its own encoding.
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    tail = number if 0 < nonce < 0x80 else bytes([0x80 + len(number)]) + number
    payload = bytes([0x94]) + account + tail
    return "0x" + keccak(bytes([0xC0 + len(payload)]) + payload)[12:].hex()


async def _deploy_behind_proxy(
    rpc: Rpc,
    owner: str,
    artifact: Artifact,
    constructor: tuple[object, ...],
    initializer: tuple[object, ...],
) -> Contract:
    implementation = await deploy(rpc, owner, artifact, *constructor)
    data = artifact.call("initialize", *initializer)
    proxy = await deploy(
        rpc,
        owner,
        openzeppelin("TransparentUpgradeableProxy"),
        implementation.address,
        owner,
        data,
    )
    return Contract(rpc, proxy.address, artifact)
