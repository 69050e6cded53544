"""From the registry's operator table to the rows that a replica works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chain.bls_points import compress_g1
from chain.errors import BadTableError
from protocol.hashing import keccak
from protocol.inputs import Operator, TableOpened

if TYPE_CHECKING:
    from chain.contracts import Peer, ProverRegistry, TableRow

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_MAX_MULTIADDRS: Final = 16


async def read_table(registry: ProverRegistry, epoch: int) -> TableOpened | None:
    """The table of an open epoch; None if the epoch is not open (yet).

    Addresses on the network are today's: an operator that has left, or has changed its peer id
    since the table was frozen, has an empty peer id and no addresses in its row. Its keys and
    weight count all the same.

    Raises:
        BadTableError: the table contradicts itself.
        ChainError: the endpoint failed.
    """
    record = await registry.epoch_of(epoch)
    if record is None or not record.opened_block:
        return None
    rows = await registry.table_of(epoch)
    peers = await registry.peers_of([row.operator for row in rows])
    if len(rows) != record.size or len({row.operator for row in rows}) != len(rows):
        raise BadTableError(f"epoch {epoch} has {len(rows)} rows for {record.size} operators")
    if sum(row.weight for row in rows) != record.total_weight:
        raise BadTableError(f"the weights of epoch {epoch} are not {record.total_weight}")
    operators = tuple(_operator(row, peer) for row, peer in zip(rows, peers, strict=True))
    for field in ("session", "bls_key"):
        if len({getattr(operator, field) for operator in operators}) != len(operators):
            raise BadTableError(f"two operators of epoch {epoch} share a {field}")
    return TableOpened(epoch, record.seed, operators)


def _operator(row: TableRow, peer: Peer) -> Operator:
    if row.weight <= 0:
        raise BadTableError(f"operator 0x{row.operator.hex()} has no weight")
    try:
        bls_key = compress_g1(row.bls_key)
    except ValueError as exc:
        raise BadTableError(f"operator 0x{row.operator.hex()}: {exc}") from exc
    reachable = keccak(peer.peer_id) == row.peer_id_hash
    addresses = [part.strip() for part in peer.multiaddrs.split(",")] if reachable else []
    return Operator(
        operator=row.operator,
        session=row.session,
        bls_key=bls_key,
        sealing_key=row.sealing_key,
        peer_id=base58(peer.peer_id) if reachable else "",
        # What a node dials is checked where it dials; here only their number is bounded.
        multiaddrs=tuple(part for part in addresses if part)[:_MAX_MULTIADDRS],
        weight=row.weight,
    )


def base58(raw: bytes) -> str:
    """Bitcoin's base58, as libp2p writes peer ids."""
    number, digits = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + digits
