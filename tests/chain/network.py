"""A real chain for tests: Anvil, the EigenLayer core, our contracts, operators with known keys."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chain.contracts import ProofMarket, ProverRegistry
from chain.deployments import Deployment
from devnet.anvil import Anvil, AnvilSettings, run_anvil
from devnet.deploy import NetworkPlan, deployment_of, prepare_network
from devnet.operators import NewOperator
from devnet.programs import ProgramKeys
from node.crypto import BlsKey, SessionKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chain.client import ChainClient
    from chain.deployments import Contracts

# Stands in for a built program: settlement does not look at verifying keys.
PROGRAM = ProgramKeys(b"\x11" * 32, b"\x22" * 32, (bytes(576), bytes(640)))
PLAN = NetworkPlan(programs=(PROGRAM,))


@dataclass(frozen=True, slots=True)
class Network:
    anvil: Anvil
    deployment: Deployment

    @property
    def client(self) -> ChainClient:
        return self.anvil.client

    @property
    def contracts(self) -> Contracts:
        return self.deployment.contracts

    @property
    def registry(self) -> ProverRegistry:
        return ProverRegistry(self.client, self.contracts.prover_registry)

    @property
    def market(self) -> ProofMarket:
        return ProofMarket(self.client, self.contracts.proof_market)


def operator(position: int, **changes: object) -> NewOperator:
    number = position + 1
    values: dict[str, object] = {
        "position": position,
        "session": SessionKey(number.to_bytes(32, "big")).address,
        "bls_key": BlsKey((1_000 + number).to_bytes(32, "big")),
        "sealing_key": bytes([number]) * 32,
        "peer_id": b"\x00\x24" + bytes([number]) * 36,
        "multiaddrs": f"/ip4/127.0.0.1/tcp/{9000 + number}",
    }
    return NewOperator(**(values | changes))


@asynccontextmanager
async def run_network(
    log: Path, block_time_s: int | None = None, plan: NetworkPlan = PLAN
) -> AsyncIterator[Network]:
    """All contracts, nobody registered; each transaction is mined at once by default."""
    prepared = await prepare_network(plan)
    settings = AnvilSettings(
        log=log,
        block_time_s=block_time_s,
        accounts=prepared.accounts,
        load_state=prepared.chain.state,
    )
    async with run_anvil(settings) as anvil:
        genesis_ms = int(time.time() * 1000)
        yield Network(anvil, deployment_of(prepared, genesis_ms=genesis_ms, params="devnet"))
