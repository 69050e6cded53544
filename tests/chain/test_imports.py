"""A node pays for what it imports: memory, and whatever an import changes behind its back."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import chain

PROBE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = {"web3", "eth_account", "py_ecc", "libp2p"} & sys.modules.keys()
print(",".join(sorted(heavy)), sys.getrecursionlimit())
"""


def test_the_chain_package_brings_no_heavy_library() -> None:
    names = [f"chain.{module.name}" for module in pkgutil.iter_modules(chain.__path__)]
    assert "chain.client" in names
    found = subprocess.run(
        [sys.executable, "-c", PROBE, *names], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "1000"
