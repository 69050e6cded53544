"""What `node keys rotate` prints, sent by the operator's cold key to a real chain."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from chain.client import hexed
from chain.deployments import save_deployment
from chain.errors import RevertedError
from chain.onboarding import Step
from chain.signer import Sender
from chain.tables import read_table
from devnet.accounts import account, operator_index
from devnet.anvil import CHAIN_ID
from devnet.node_files import PASSWORD, NodeFiles, Offer
from devnet.operators import (
    mine,
    open_next_epoch,
    perform,
    register_operators,
    register_rotation,
)
from node.config import load_config
from node.errors import ConfigError, KeystoreError
from node.key_sets import load_key_sets, set_folders
from node.keys import random_keys
from node.keystore import DEVNET
from node.onchain.registration import keys_in_force, operator_of
from node.onchain.rotation import prepare_rotation
from protocol.types import Address
from tests.chain.network import PLAN, Network, operator, run_network
from tests.chain.test_signer import QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from node.config import NodeConfig
    from node.keys import NodeKeys

ME = Address(account(operator_index(0)).address)
KEYS = random_keys()


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Two operators, the first of them with the key set of `config`, in epoch 1."""
    async with run_network(tmp_path / "anvil.log") as running:
        files = NodeFiles(0, tmp_path / "node-1", 9_001, 8_001)
        operators = [files.operator(KEYS), operator(1)]
        await register_operators(running.client, running.deployment, operators)
        await open_next_epoch(running.client, running.deployment, PLAN.table_seed_delay)
        files.write(
            KEYS,
            rpc_url=running.anvil.url,
            programs=tmp_path,
            job_class="groth16/S",
            offer=Offer(),
            probation_wei=0,
            workers=1,
        )
        (tmp_path / "password").write_text(PASSWORD)
        save_deployment(tmp_path / "deployment.json", running.deployment)
        yield running


@pytest.fixture
def config(network: Network, tmp_path: Path) -> NodeConfig:
    return load_config(tmp_path / "node-1" / "node.toml")


async def turn(network: Network) -> None:
    await mine(network.client, PLAN.epoch_blocks)
    await open_next_epoch(network.client, network.deployment, PLAN.table_seed_delay)


async def in_force(network: Network, *sets: NodeKeys) -> bytes:
    return (await keys_in_force(network.registry, ME, sets)).session.address


async def session_in(network: Network, epoch: int) -> bytes:
    table = await read_table(network.registry, epoch)
    assert table is not None
    return next(row.session for row in table.operators if row.operator == ME)


async def test_what_is_printed_registers_and_the_epoch_turns(
    network: Network, config: NodeConfig
) -> None:
    command = [sys.executable, "-m", "node", "keys", "rotate", "--config"]
    command += [str(config.keys_dir.parent / "node.toml"), "--json"]
    shown = json.loads((await trio.run_process(command, capture_stdout=True)).stdout)
    old, fresh = load_key_sets(config.keys_dir, PASSWORD)
    assert shown["session"] == hexed(fresh.session.address)
    assert shown["bls_key"] == hexed(fresh.bls.public_key)
    assert shown["directory"] == str(config.keys_dir / "2")
    assert shown["from"] == hexed(ME)
    cold = Sender(network.client, account(operator_index(0)), CHAIN_ID, QUICK)
    to, data = (bytes.fromhex(shown[name][2:]) for name in ("to", "data"))
    await perform(network.client, cold, Step("rotateKeys", to, data))

    assert await session_in(network, 1) == old.session.address
    assert await in_force(network, old, fresh) == old.session.address
    await turn(network)
    assert await session_in(network, 2) == fresh.session.address
    assert await in_force(network, old, fresh) == fresh.session.address
    registered = await network.registry.registered_keys(ME)
    assert registered is not None
    assert registered.session == fresh.session.address
    (peer, _) = await network.registry.peers_of([ME, bytes(20)])
    assert peer.multiaddrs == "/ip4/127.0.0.1/tcp/9001"


async def test_a_set_that_waits_is_shown_again_and_then_followed_by_another(
    network: Network, config: NodeConfig
) -> None:
    first = await prepare_rotation(config, DEVNET)
    again = await prepare_rotation(config, DEVNET)
    assert (again.folder, again.step) == (first.folder, first.step)
    await register_rotation(network.client, network.deployment, 0, first)
    second = await prepare_rotation(config, DEVNET)
    assert set_folders(config.keys_dir)[-2:] == [first.folder, second.folder]


async def test_another_account_can_not_send_it(network: Network, config: NodeConfig) -> None:
    made = await prepare_rotation(config, DEVNET)
    for stranger in (account(operator_index(1)), account(0)):
        sender = Sender(network.client, stranger, CHAIN_ID, QUICK)
        with pytest.raises(RevertedError) as caught:
            await perform(network.client, sender, made.step)
        assert caught.value.error == "NotOperator"
    assert await network.registry.operator_of_session(made.keys.session.address) is None


async def test_a_node_without_the_keys_in_force_does_not_start(
    network: Network, config: NodeConfig
) -> None:
    made = await prepare_rotation(config, DEVNET)
    await register_rotation(network.client, network.deployment, 0, made)
    # The next set alone: the epoch under way names the old one.
    with pytest.raises(KeystoreError) as caught:
        await in_force(network, made.keys)
    assert KEYS.session.address.hex() in caught.value.cause
    # The old set alone serves until the epoch ends, and not longer.
    assert await in_force(network, KEYS) == KEYS.session.address
    await turn(network)
    with pytest.raises(KeystoreError):
        await in_force(network, KEYS)
    strange = replace(random_keys(), peer_seed=KEYS.peer_seed)
    with pytest.raises(KeystoreError):
        await in_force(network, strange)
    other_peer = replace(made.keys, peer_seed=strange.bls.secret)
    with pytest.raises(KeystoreError) as caught:
        await in_force(network, other_peer)
    assert "peer identity" in caught.value.cause


async def test_whose_sets_they_are(network: Network, config: NodeConfig) -> None:
    made = await prepare_rotation(config, DEVNET)
    assert await operator_of(network.registry, (made.keys,)) is None
    assert await operator_of(network.registry, (KEYS, made.keys)) == ME
    await register_rotation(network.client, network.deployment, 0, made)
    assert await operator_of(network.registry, (made.keys,)) == ME


async def test_nothing_rotates_before_it_is_registered(
    network: Network, config: NodeConfig, tmp_path: Path
) -> None:
    files = NodeFiles(5, tmp_path / "node-6", 9_006, 8_006)
    files.write(
        random_keys(),
        rpc_url=network.anvil.url,
        programs=tmp_path,
        job_class="groth16/S",
        offer=Offer(),
        probation_wei=0,
        workers=1,
    )
    unknown = load_config(files.config)
    with pytest.raises(ConfigError):
        await prepare_rotation(unknown, DEVNET)
    assert set_folders(unknown.keys_dir) == [unknown.keys_dir]
    assert set_folders(config.keys_dir) == [config.keys_dir]
