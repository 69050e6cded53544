"""Makes an operator's next key set, and the transaction by which its cold key registers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chain import onboarding
from chain.client import open_client
from chain.contracts import ProverRegistry
from chain.deployments import check_deployment, load_deployment
from node.chain_errors import explained
from node.errors import ConfigError
from node.key_sets import add_key_set, load_key_sets, set_folders
from node.keys import read_password
from node.keystore import STANDARD
from node.net import peer_id_bytes, peer_id_of_seed
from node.onchain.registration import operator_of, proven_keys
from protocol.eip712 import Domain

if TYPE_CHECKING:
    from pathlib import Path

    from chain.onboarding import Step
    from node.config import NodeConfig
    from node.keys import NodeKeys
    from node.keystore import Cost
    from protocol.types import Address


@dataclass(frozen=True, slots=True)
class Rotation:
    """A set that waits for its registration; `step` is for the operator's cold key to send."""

    folder: Path
    keys: NodeKeys
    operator: Address
    step: Step


async def prepare_rotation(config: NodeConfig, cost: Cost = STANDARD) -> Rotation:
    """Write a fresh set beside the others; while the newest is not registered, take that again.

    Raises:
        KeystoreError: the sets can not be read, or the next one not be written.
        ConfigError: nobody registered any of the sets.
        NodeError: the chain can not be used.
    """
    password = read_password(config.password_file)
    sets = load_key_sets(config.keys_dir, password)
    async with open_client(config.chain.rpc_url) as client:
        with explained(config):
            deployment = load_deployment(config.chain.deployment)
            await check_deployment(client, deployment)
            registry = ProverRegistry(client, deployment.contracts.prover_registry)
            operator = await operator_of(registry, sets)
            if operator is None:
                raise ConfigError(
                    "no operator registered these keys", "register first; then there is a rotation"
                )
            keys = sets[-1]
            (peer,) = await registry.peers_of([operator])
            if await registry.operator_of_session(keys.session.address) is not None:
                keys = add_key_set(config.keys_dir, password, keys.peer_seed, cost)
    proven = proven_keys(
        Domain(deployment.chain_id, deployment.contracts.prover_registry),
        operator,
        keys.session.address,
        keys.bls,
        keys.sealing.public_key,
        peer_id_bytes(peer_id_of_seed(keys.peer_seed)),
        peer.multiaddrs,
    )
    step = onboarding.rotate_keys(deployment.contracts, operator, proven)
    return Rotation(set_folders(config.keys_dir)[-1], keys, operator, step)
