from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devnet.anvil import Anvil, AnvilSettings, run_anvil

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def anvil(tmp_path: Path) -> AsyncIterator[Anvil]:
    """An empty chain that mines each transaction at once."""
    async with run_anvil(AnvilSettings(log=tmp_path / "anvil.log", block_time_s=None)) as running:
        yield running
