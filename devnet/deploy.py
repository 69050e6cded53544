"""Deploys our contracts beside the EigenLayer core, and keeps the chain they stand on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from chain import onboarding
from chain.client import hexed
from chain.deployments import Contracts, Deployment
from devnet.accounts import CUSTODY, REQUESTER, accounts_for
from devnet.anvil import CHAIN_ID
from devnet.artifacts import built
from devnet.contract import deploy, transact, unlocked_accounts
from devnet.core import CoreParams
from devnet.state import CACHE, PreparedChain, prepare, prepare_core, state_key
from protocol.types import Address

if TYPE_CHECKING:
    from pathlib import Path

    from chain.client import ChainClient
    from devnet.core import Core
    from devnet.programs import ProgramKeys

CORE_PARAMS: Final = CoreParams(
    # The lifetime of a table's certificates, on both ways out of the stake: an hour of blocks.
    min_withdrawal_delay_blocks=3_600,
    deallocation_delay_blocks=3_600,
)
METADATA_URI: Final = "https://example.org/provernet-devnet.json"
_FIRST_BLOCK: Final = "first_block"
EPOCH_BLOCKS: Final = 1_500
"""Twice this and the seed delay fit in the core's deallocation delay."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What the contracts are deployed with. `programs` are registered; the first is the gate's."""

    programs: tuple[ProgramKeys, ...]
    core: CoreParams = CORE_PARAMS
    minimum_stake: int = 50 * 10**9
    """In the registry's weight unit, 1e9 of a share: 50 tokens."""
    epoch_blocks: int = EPOCH_BLOCKS
    table_seed_delay: int = 3
    withdrawal_delay_s: int = 3_600
    """Longer than a request can take to settle."""
    proof_max_age_s: int = 3_600
    """How long the gate takes a proof for fresh."""
    operators: int = 16
    """How many operators' accounts the chain has ether for, at least."""


@dataclass(frozen=True, slots=True)
class PreparedNetwork:
    """A chain to start Anvil from, with all contracts on it and nobody registered."""

    chain: PreparedChain
    contracts: Contracts
    first_block: int
    accounts: int


async def prepare_network(plan: NetworkPlan, *, cache: Path = CACHE) -> PreparedNetwork:
    """The network of this plan; deployed once, then found in the cache.

    Raises:
        DevnetError: an artifact is missing, or a deployment failed.
    """
    accounts = accounts_for(plan.operators)
    start, core = await prepare_core(plan.core, cache=cache, accounts=accounts)
    names = (
        "TestToken",
        "ProverRegistry",
        "ProofMarket",
        "Groth16Verifier",
        "SolvencyGate",
        "DemoStablecoin",
    )

    async def build(client: ChainClient) -> dict[str, str]:
        return await deploy_network(client, core, plan)

    key = state_key([built(name) for name in names], start.state.parent.name, plan, "network 1")
    chain = await prepare(key, build, accounts=accounts, start=start, cache=cache)
    addresses = {
        field.name: Address(bytes.fromhex(chain.deployment[field.name][2:]))
        for field in fields(Contracts)
    }
    first_block = int(chain.deployment[_FIRST_BLOCK])
    return PreparedNetwork(chain, Contracts(**addresses), first_block, accounts)


def deployment_of(network: PreparedNetwork, *, genesis_ms: int, params: str) -> Deployment:
    """What nodes and clients are told; `genesis_ms` is when view 0 of this run starts."""
    return Deployment(CHAIN_ID, genesis_ms, params, network.first_block, network.contracts)


async def deploy_network(client: ChainClient, core: Core, plan: NetworkPlan) -> dict[str, str]:
    """Deploy our contracts, publish the AVS with its operator set, register the programs."""
    everyone = await unlocked_accounts(client)
    owner, issuer, custody = core.owner, everyone[REQUESTER], everyone[CUSTODY]
    first_block = await client.block_number() + 1

    fees = await deploy(client, owner, built("TestToken"), "Devnet Fee", "FEE")
    reserves = await deploy(client, owner, built("TestToken"), "Devnet Reserve", "RSV")
    registry = await deploy(
        client,
        owner,
        built("ProverRegistry"),
        core.allocation_manager,
        owner,
        plan.minimum_stake,
        plan.epoch_blocks,
        plan.table_seed_delay,
    )
    await registry.transact(owner, "setUpAvs", METADATA_URI, [core.stake_strategy])
    market = await deploy(
        client,
        owner,
        built("ProofMarket"),
        fees.address,
        registry.address,
        owner,
        plan.withdrawal_delay_s,
    )
    verifier = await deploy(client, owner, built("Groth16Verifier"))
    gate = await deploy(
        client,
        owner,
        built("SolvencyGate"),
        market.address,
        plan.programs[0].program_id,
        issuer,
        reserves.address,
        custody,
        plan.proof_max_age_s,
    )
    stablecoin = await deploy(client, owner, built("DemoStablecoin"), gate.address)

    ours = {
        "fee_token": fees.address,
        "reserve_token": reserves.address,
        "prover_registry": registry.address,
        "proof_market": market.address,
        "groth16_verifier": verifier.address,
        "demo_stablecoin": stablecoin.address,
        "solvency_gate": gate.address,
    }
    names = [field.name for field in fields(Contracts)]
    addresses = {name: ours[name] if name in ours else getattr(core, name) for name in names}
    contracts = Contracts(**addresses)
    for program in plan.programs:
        step = onboarding.register_program(
            contracts, program.program_id, program.class_id, program.verifying_keys
        )
        await transact(client, owner, step.to, step.data)
    texts = {name: hexed(address) for name, address in addresses.items()}
    return {**texts, _FIRST_BLOCK: str(first_block)}
