"""Are this node's keys those that its operator registered? Others would speak to nobody's ear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from chain.bls_points import compress_g1
from chain.onboarding import OperatorKeys
from node.crypto import eip2537_g1, eip2537_g2
from node.epoch_keys import set_named
from node.errors import ConfigError, KeystoreError
from node.net import peer_id_bytes, peer_id_of_seed
from protocol.eip712 import key_registration_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.contracts import ProverRegistry, RegisteredKeys, TableRow
    from node.crypto import BlsKey
    from node.keys import NodeKeys
    from protocol.eip712 import Domain
    from protocol.types import Address

log = structlog.get_logger()


async def operator_of(registry: ProverRegistry, sets: Sequence[NodeKeys]) -> Address | None:
    """The operator that registered any of these sets; None if nobody did.

    Raises:
        ConfigError: they are sets of several operators.
        ChainError: the endpoint failed.
    """
    found = [await registry.operator_of_session(keys.session.address) for keys in sets]
    operators = {operator for operator in found if operator is not None}
    if len(operators) > 1:
        raise ConfigError(
            "the key sets belong to several operators", "give each node a keys_dir of its own"
        )
    return operators.pop() if operators else None


async def keys_in_force(
    registry: ProverRegistry, operator: Address, sets: Sequence[NodeKeys]
) -> NodeKeys:
    """The set that the table in force names; for who is not in it, that of the next table.

    Says in the log which sets no table names, and whether a later table names keys that are not
    here: those have to be here before that epoch begins.

    Raises:
        KeystoreError: names the first key in force that is not here.
        ChainError: the endpoint failed.
    """
    (peer,) = await registry.peers_of([operator])
    if peer.peer_id != peer_id_bytes(peer_id_of_seed(sets[0].peer_seed)):
        raise KeystoreError(
            f"the peer identity is not the one that operator 0x{operator.hex()} registered",
            "restore it",
        )
    epoch = await registry.current_epoch()
    rows: list[TableRow | RegisteredKeys] = [
        row
        for number in (epoch, epoch + 1)
        for row in await registry.table_of(number)
        if row.operator == operator
    ]
    registered = await registry.registered_keys(operator)
    if registered is not None:
        rows.append(registered)
    found: list[NodeKeys] = []
    for row in rows:
        try:
            keys = set_named(sets, row.session, compress_g1(row.bls_key), row.sealing_key)
        except KeystoreError as exc:
            if not found:
                raise
            log.warning("keys of the next epochs are missing", cause=exc.cause, mend=exc.mend)
            continue
        found.append(keys)
    for keys in sets:
        if keys not in found:
            log.warning("no table names this key set", session="0x" + keys.session.address.hex())
    return found[0]


def proven_keys(
    domain: Domain,
    operator: Address,
    session: Address,
    bls_key: BlsKey,
    sealing_key: bytes,
    peer_id: bytes,
    multiaddrs: str,
) -> OperatorKeys:
    """What the operator registers or rotates to, with the proof that it holds the BLS key.

    `sealing_key` is 32 bytes, `peer_id` a multihash, `multiaddrs` comma-separated.
    """
    point = eip2537_g1(bls_key.public_key)
    digest = key_registration_digest(domain, operator, session, point, sealing_key, peer_id)
    proof = eip2537_g2(bls_key.sign(digest))
    return OperatorKeys(session, point, proof, sealing_key, peer_id, multiaddrs)
