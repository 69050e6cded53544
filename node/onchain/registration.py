"""Are this node's keys those that its operator registered? Others would speak to nobody's ear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.tables import read_table
from node.errors import KeystoreError
from node.net import peer_id_bytes, peer_id_of_seed

if TYPE_CHECKING:
    from chain.contracts import ProverRegistry
    from node.keys import NodeKeys
    from protocol.types import Address


async def check_keys(registry: ProverRegistry, operator: Address, keys: NodeKeys) -> None:
    """Compare the keys with the registration and with the operator table in force.

    Raises:
        KeystoreError: names the first key that is another one.
        ChainError: the endpoint failed.
    """
    (peer,) = await registry.peers_of([operator])
    if peer.peer_id != peer_id_bytes(peer_id_of_seed(keys.peer_seed)):
        raise _other("peer identity", operator)
    table = await read_table(registry, await registry.current_epoch())
    for row in () if table is None else table.operators:
        if row.operator != operator or row.session != keys.session.address:
            continue
        if row.bls_key != keys.bls.public_key:
            raise _other("BLS key", operator)
        if row.sealing_key != keys.sealing.public_key:
            raise _other("sealing key", operator)


def _other(name: str, operator: Address) -> KeystoreError:
    return KeystoreError(
        f"the {name} in the keystore is not the one that operator 0x{operator.hex()} registered",
        "restore it, or wait for the epoch whose table holds the new one",
    )
