from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from node.programs.accounts import Account
from node.programs.solvency import SolvencyPlan, plan
from node.proving.build import build_program
from node.proving.engine import EngineConfig

if TYPE_CHECKING:
    from node.proving.artifacts import BuiltProgram

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "examples" / "solvency"
CIRCOMLIB = ROOT / "contracts" / "node_modules" / "circomlib" / "circuits"
CACHE = ROOT / ".artifacts" / "programs"


@pytest.fixture(scope="session")
def built() -> BuiltProgram:
    """The shipped program; compiled once per change of its sources, not once per run."""
    return build_program(SOURCE, CACHE, [CIRCOMLIB])


@pytest.fixture(scope="session")
def solvency_plan() -> SolvencyPlan:
    """20 accounts: one full segment and one of 4."""
    accounts = [Account(f"account-{number}", number * 10**15 + 1) for number in range(20)]
    return plan(accounts, bytes(range(32)))


@pytest.fixture
def engine_config(built: BuiltProgram, tmp_path: Path) -> EngineConfig:
    return EngineConfig({built.program_id: built}, tmp_path / "journal", prove_workers=1)
