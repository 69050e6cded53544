from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devnet.anvil import Anvil, AnvilSettings, run_anvil
from devnet.operators import open_next_epoch, register_operators
from tests.chain.network import PLAN, Network, operator, run_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def anvil(tmp_path: Path) -> AsyncIterator[Anvil]:
    """An empty chain that mines each transaction at once."""
    async with run_anvil(AnvilSettings(log=tmp_path / "anvil.log", block_time_s=None)) as running:
        yield running


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Our contracts on the real core, no operators."""
    async with run_network(tmp_path / "anvil.log") as running:
        yield running


@pytest.fixture
async def staffed(network: Network) -> Network:
    """Four operators of equal weight, epoch 1 open."""
    operators = [operator(position) for position in range(4)]
    await register_operators(network.client, network.deployment, operators)
    await open_next_epoch(network.client, network.deployment, PLAN.table_seed_delay)
    return network
