"""Deploy once, keep the chain's state, start from it the next time.

A prepared state is a folder `.artifacts/chain/<key>/` with `state.json` (Anvil's) and
`deployment.json` (the addresses in it). The key is a hash of everything the state depends on, so a
stale one is never found.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chain.client import hexed
from devnet.anvil import PACKAGES, AnvilSettings, run_anvil
from devnet.artifacts import ROOT, built, eigenlayer, openzeppelin
from devnet.core import Core, CoreParams, deploy_core
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chain.client import ChainClient
    from devnet.artifacts import Artifact

CACHE = ROOT / ".artifacts" / "chain"


@dataclass(frozen=True, slots=True)
class PreparedChain:
    """A state to start Anvil from (`AnvilSettings.load_state`), and what was deployed in it."""

    state: Path
    deployment: dict[str, str]


def state_key(artifacts: list[Artifact], *parts: object) -> str:
    """A name for a state: same code, same parameters, same Anvil, same key."""
    digest = hashlib.sha256()
    anvil = (PACKAGES / "@foundry-rs" / "anvil-linux-amd64" / "package.json").read_bytes()
    blobs = [
        anvil,
        *(artifact.bytecode for artifact in artifacts),
        *(repr(p).encode() for p in parts),
    ]
    for blob in blobs:
        digest.update(len(blob).to_bytes(8, "big") + blob)
    return digest.hexdigest()[:32]


async def prepare(
    key: str,
    build: Callable[[ChainClient], Awaitable[dict[str, str]]],
    *,
    accounts: int = 64,
    start: PreparedChain | None = None,
    cache: Path = CACHE,
) -> PreparedChain:
    """The state under `key`; if there is none, `build` it on a chain of its own and keep it.

    `build` returns what belongs in deployment.json. It begins on an empty chain, or on `start`.

    Raises:
        DevnetError, ChainError: Anvil or the build failed; nothing is kept then.
    """
    found = _read(cache / key)
    if found is not None:
        return found
    cache.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=cache))
    try:
        settings = AnvilSettings(
            log=staging / "anvil.log",
            block_time_s=None,
            accounts=accounts,
            load_state=None if start is None else start.state,
        )
        async with run_anvil(settings) as anvil:
            deployment = await build(anvil.client)
            await dump_state(anvil.client, staging / "state.json")
        _write(staging / "deployment.json", json.dumps(deployment, indent=2).encode())
        # Whoever comes second finds the folder taken; both states are as good.
        if _read(cache / key) is None:
            shutil.rmtree(cache / key, ignore_errors=True)
            staging.rename(cache / key)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return PreparedChain(cache / key / "state.json", deployment)


async def prepare_core(
    params: CoreParams, *, cache: Path = CACHE, accounts: int = 64
) -> tuple[PreparedChain, Core]:
    """A chain with the EigenLayer core on it, and the addresses of the core."""
    names = (
        "AllocationManager",
        "AVSDirectory",
        "DelegationManager",
        "PermissionController",
        "RewardsCoordinator",
        "StrategyManager",
    )
    artifacts = [eigenlayer(name) for name in names]
    artifacts += [built(n) for n in ("DevPauserRegistry", "NoPods", "DevStrategy", "TestToken")]
    artifacts.append(openzeppelin("TransparentUpgradeableProxy"))

    async def build(client: ChainClient) -> dict[str, str]:
        core = await deploy_core(client, params)
        return {name: hexed(address) for name, address in asdict(core).items()}

    key = state_key(artifacts, params, accounts, "core 1")
    prepared = await prepare(key, build, accounts=accounts, cache=cache)
    addresses = {n: Address(bytes.fromhex(a[2:])) for n, a in prepared.deployment.items()}
    return prepared, Core(**addresses)


async def dump_state(client: ChainClient, path: Path) -> None:
    """Write the chain's state, history included, as Anvil's `--load-state` reads it."""
    packed = bytes.fromhex((await client.call("anvil_dumpState", True))[2:])
    _write(path, gzip.decompress(packed))


def _read(folder: Path) -> PreparedChain | None:
    try:
        deployment = json.loads((folder / "deployment.json").read_bytes())
    except (OSError, ValueError):
        return None
    state = folder / "state.json"
    return PreparedChain(state, deployment) if state.exists() else None


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
