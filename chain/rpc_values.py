"""Checked values of JSON-RPC answers: hostile until they have the right shape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from chain.errors import BadResponseError
from protocol.types import Address, Hash

_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True)
class Block:
    """The header fields that we use; `timestamp_s` is in Unix seconds, `base_fee` in wei."""

    number: int
    hash: Hash
    parent: Hash
    timestamp_s: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class Log:
    """One event of a contract, undecoded."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: Hash
    transaction: Hash
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did; `contract` is the address it created, if it created one."""

    transaction: Hash
    block_number: int
    block_hash: Hash
    succeeded: bool
    gas_used: int
    contract: Address | None
    logs: tuple[Log, ...]


def quantity(value: object) -> int:
    """A 0x-prefixed hexadecimal integer below 2**256."""
    if not isinstance(value, str) or _QUANTITY.fullmatch(value) is None:
        raise BadResponseError(f"not a quantity: {_shown(value)}")
    return int(value, 16)


def data(value: object) -> bytes:
    """0x-prefixed hexadecimal bytes."""
    if not isinstance(value, str) or _DATA.fullmatch(value) is None:
        raise BadResponseError(f"not data: {_shown(value)}")
    return bytes.fromhex(value[2:])


def sized(value: object, length: int) -> bytes:
    """`data` of exactly `length` bytes."""
    raw = data(value)
    if len(raw) != length:
        raise BadResponseError(f"{len(raw)} bytes instead of {length}")
    return raw


def block(value: object) -> Block:
    """A block header."""
    fields = _object(value)
    return Block(
        quantity(fields.get("number")),
        Hash(sized(fields.get("hash"), 32)),
        Hash(sized(fields.get("parentHash"), 32)),
        quantity(fields.get("timestamp")),
        quantity(fields.get("baseFeePerGas", "0x0")),
    )


def log(value: object) -> Log:
    """A mined log."""
    fields = _object(value)
    topics = fields.get("topics")
    if not isinstance(topics, list) or len(topics) > 4:
        raise BadResponseError("a log has up to four topics")
    if fields.get("removed", False) is not False:
        raise BadResponseError("a log of an abandoned block")
    return Log(
        Address(sized(fields.get("address"), 20)),
        tuple(sized(topic, 32) for topic in topics),
        data(fields.get("data")),
        quantity(fields.get("blockNumber")),
        Hash(sized(fields.get("blockHash"), 32)),
        Hash(sized(fields.get("transactionHash"), 32)),
        quantity(fields.get("logIndex")),
    )


def logs(value: object) -> tuple[Log, ...]:
    """A list of mined logs."""
    if not isinstance(value, list):
        raise BadResponseError("not a list of logs")
    return tuple(log(entry) for entry in value)


def receipt(value: object) -> Receipt:
    """A transaction receipt."""
    fields = _object(value)
    contract = fields.get("contractAddress")
    return Receipt(
        Hash(sized(fields.get("transactionHash"), 32)),
        quantity(fields.get("blockNumber")),
        Hash(sized(fields.get("blockHash"), 32)),
        quantity(fields.get("status")) == 1,
        quantity(fields.get("gasUsed")),
        None if contract is None else Address(sized(contract, 20)),
        logs(fields.get("logs")),
    )


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadResponseError(f"not an object: {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return repr(value)[:80]
