"""Where a network's contracts stand: `deployments/<chainId>.json`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import msgspec

from chain import rpc_values
from chain.client import Call, hexed
from chain.errors import ContractMissingError, DeploymentFileError
from protocol.types import Address

if TYPE_CHECKING:
    from pathlib import Path

    from chain.client import ChainClient

OPERATOR_SET: Final = 0
"""The one operator set of our AVS."""


@dataclass(frozen=True, slots=True)
class Contracts:
    """20-byte addresses of everything that a node or a client calls."""

    allocation_manager: Address
    avs_directory: Address
    delegation_manager: Address
    permission_controller: Address
    rewards_coordinator: Address
    strategy_manager: Address
    stake_token: Address
    stake_strategy: Address
    fee_token: Address
    reserve_token: Address
    prover_registry: Address
    proof_market: Address
    groth16_verifier: Address
    demo_stablecoin: Address
    solvency_gate: Address


@dataclass(frozen=True, slots=True)
class Deployment:
    """One network: its chain, its contracts, its time.

    `genesis_ms` is when view 0 starts, `params` the name of its ProtocolParams, `first_block` the
    block from which its events are read.
    """

    chain_id: int
    genesis_ms: int
    params: str
    first_block: int
    contracts: Contracts


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chain_id: int
    genesis_ms: int
    params: str
    first_block: int
    contracts: dict[str, str]


def load_deployment(path: Path) -> Deployment:
    """Read a deployment file; raises DeploymentFileError that names what is wrong with it."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError as exc:
        raise DeploymentFileError(f"{path} is missing") from exc
    except OSError as exc:
        raise DeploymentFileError(f"{path} can not be read: {exc.strerror}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DeploymentFileError(f"{path} is no deployment: {exc}") from exc
    if min(found.chain_id, found.genesis_ms, found.first_block + 1) <= 0:
        raise DeploymentFileError(f"{path} holds a chain id, time or block that can not be")
    names = {field.name for field in fields(Contracts)}
    if found.contracts.keys() != names:
        odd = ", ".join(sorted(found.contracts.keys() ^ names))
        raise DeploymentFileError(f"{path} lacks or wrongly has these contracts: {odd}")
    contracts = {name: _address(path, name, text) for name, text in found.contracts.items()}
    return Deployment(
        found.chain_id, found.genesis_ms, found.params, found.first_block, Contracts(**contracts)
    )


def save_deployment(path: Path, deployment: Deployment) -> None:
    """Write a deployment file, whole or not at all."""
    contracts = {
        field.name: "0x" + getattr(deployment.contracts, field.name).hex()
        for field in fields(Contracts)
    }
    content = _File(
        deployment.chain_id,
        deployment.genesis_ms,
        deployment.params,
        deployment.first_block,
        contracts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(path.name + ".new")
    staging.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    staging.replace(path)


async def check_deployment(client: ChainClient, deployment: Deployment) -> None:
    """Check that the endpoint serves this deployment.

    Raises:
        WrongChainError: it serves another chain.
        ContractMissingError: names the first contract with no code at its address.
        ChainError: the endpoint failed.
    """
    await client.check_chain(deployment.chain_id)
    calls = [
        Call("eth_getCode", (hexed(getattr(deployment.contracts, field.name)), "latest"))
        for field in fields(Contracts)
    ]
    for field, code in zip(fields(Contracts), await client.batch(calls), strict=True):
        if not rpc_values.data(code):
            address = hexed(getattr(deployment.contracts, field.name))
            raise ContractMissingError(f"no {field.name} at {address}; is it deployed there?")


def _address(path: Path, name: str, text: str) -> Address:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20 or not text.startswith("0x") or raw == bytes(20):
        raise DeploymentFileError(f"{path}: {name} is no address")
    return Address(raw)
