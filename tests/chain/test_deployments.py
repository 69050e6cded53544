from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from chain.deployments import (
    Contracts,
    Deployment,
    check_deployment,
    load_deployment,
    save_deployment,
)
from chain.errors import ChainFault, ContractMissingError, DeploymentFileError, WrongChainError
from protocol.types import Address

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chain.network import Network

NAMES = [field.name for field in fields(Contracts)]
CONTRACTS = Contracts(
    **{name: Address(bytes([number]) * 20) for number, name in enumerate(NAMES, 1)}
)
DEPLOYMENT = Deployment(31337, 1_700_000_000_000, "devnet", 12, CONTRACTS)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deployments" / "31337.json"
    save_deployment(path, DEPLOYMENT)
    assert load_deployment(path) == DEPLOYMENT
    assert [entry.name for entry in path.parent.iterdir()] == ["31337.json"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeploymentFileError) as caught:
        load_deployment(tmp_path / "none.json")
    assert caught.value.fault is ChainFault.DEPLOYMENT_FILE
    assert "none.json is missing" in caught.value.detail


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DeploymentFileError):
        load_deployment(tmp_path)


def broken(change: Any) -> bytes:
    save: dict[str, Any] = {
        "chain_id": 31337,
        "genesis_ms": 1,
        "params": "devnet",
        "first_block": 0,
        "contracts": dict.fromkeys(NAMES, "0x" + "11" * 20),
    }
    change(save)
    return json.dumps(save).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"\xff",
        b"{",
        broken(lambda d: d.pop("params")),
        broken(lambda d: d.update(extra=1)),
        broken(lambda d: d.update(chain_id="31337")),
        broken(lambda d: d.update(chain_id=0)),
        broken(lambda d: d.update(first_block=-1)),
        broken(lambda d: d["contracts"].pop("proof_market")),
        broken(lambda d: d["contracts"].update(other="0x" + "11" * 20)),
        broken(lambda d: d["contracts"].update(proof_market="0x11")),
        broken(lambda d: d["contracts"].update(proof_market="11" * 20)),
        broken(lambda d: d["contracts"].update(proof_market="0x" + "zz" * 20)),
        broken(lambda d: d["contracts"].update(proof_market="0x" + "00" * 20)),
    ],
)
def test_what_is_no_deployment_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "31337.json"
    path.write_bytes(content)
    with pytest.raises(DeploymentFileError):
        load_deployment(path)


async def test_a_deployed_network_passes(network: Network) -> None:
    await check_deployment(network.client, network.deployment)


async def test_the_wrong_chain_is_refused(network: Network) -> None:
    with pytest.raises(WrongChainError):
        await check_deployment(network.client, replace(network.deployment, chain_id=1))


async def test_a_contract_that_is_not_there_is_named(network: Network) -> None:
    contracts = replace(network.contracts, proof_market=Address(b"\x09" * 20))
    with pytest.raises(ContractMissingError) as caught:
        await check_deployment(network.client, replace(network.deployment, contracts=contracts))
    assert caught.value.fault is ChainFault.CONTRACT_MISSING
    assert "proof_market at 0x0909" in caught.value.detail
