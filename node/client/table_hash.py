"""The hash of an operator table, as `ProverRegistry.tableHashOf(epoch)` shows it on chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chain.tables import base58
from node.crypto import eip2537_g1
from protocol.hashing import keccak
from protocol.types import Hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.inputs import Operator

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class TableHashError(Exception):
    """A row lacks what the registry hashed; says whose."""


def table_hash(rows: Sequence[Operator]) -> Hash:
    """keccak256(abi.encode(Entry[])) of `IProverRegistry.Entry`, rows in table order.

    Raises:
        TableHashError: a row has no peer id (it was changed after the table was frozen), or its
            BLS key is no point.
    """
    words = [_uint(32), _uint(len(rows))]
    for row in rows:
        try:
            # Unpadded x | y: the contract keeps 96 of EIP-2537's 128 bytes.
            point = eip2537_g1(row.bls_key)
            peer_id = _from_base58(row.peer_id)
        except ValueError as exc:
            raise TableHashError(f"operator 0x{row.operator.hex()}: {exc}") from exc
        words += [
            bytes(12) + row.operator,
            bytes(12) + row.session,
            _uint(row.weight),
            point[16:64] + point[80:],
            row.sealing_key,
            keccak(peer_id),
        ]
    return Hash(keccak(b"".join(words)))


def _uint(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _from_base58(text: str) -> bytes:
    """Bytes of a peer id; raises ValueError if it is none."""
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    zeros = len(text) - len(text.lstrip("1"))
    value = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if not value or base58(value) != text:
        raise ValueError("it has no peer id, or a malformed one")
    return value
