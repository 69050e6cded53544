"""ABI codecs from human-readable signatures, so that a node needs no build output and no web3.

The signatures themselves stand in `chain/interfaces.py`; a test compares each with what the
compiler made of the contracts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError

from chain.errors import BadResponseError
from protocol.hashing import keccak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc_values import Log


@dataclass(frozen=True, slots=True)
class Function:
    """A contract function: its selector and the types of what goes in and out."""

    signature: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def call(self, *arguments: object) -> bytes:
        """Calldata; raises ValueError if an argument does not fit its type: the caller's bug."""
        return self.selector + encode_all(self.inputs, arguments)

    def result(self, output: bytes) -> tuple[Any, ...]:
        """The returned values; raises BadResponseError if the output does not fit their types."""
        return decode_all(self.outputs, output, self.signature)


@dataclass(frozen=True, slots=True)
class Event:
    """A contract event; indexed parameters are static types alone."""

    signature: str
    topic: bytes
    indexed: tuple[str, ...]
    unindexed: tuple[str, ...]

    def decode(self, entry: Log) -> tuple[Any, ...]:
        """Indexed values in order, then the others; raises BadResponseError for another shape."""
        if len(entry.topics) != 1 + len(self.indexed) or entry.topics[0] != self.topic:
            raise BadResponseError(f"a log is no {self.signature}")
        keyed = decode_all(self.indexed, b"".join(entry.topics[1:]), self.signature)
        return keyed + decode_all(self.unindexed, entry.data, self.signature)


@dataclass(frozen=True, slots=True)
class SolidityError:
    """A custom error of a contract."""

    name: str
    selector: bytes
    inputs: tuple[str, ...]


def function(signature: str, returns: str = "") -> Function:
    """A function of a signature such as `settle(uint64,bytes)`; `returns` is a list of types."""
    _, inputs = _split(signature)
    return Function(signature, keccak(signature.encode())[:4], inputs, _types(returns))


def event(signature: str) -> Event:
    """An event of a signature such as `BatchSettled(uint64 indexed,bytes32)`.

    Indexed parameters come first, as in all of our events.
    """
    name, parameters = _split(signature)
    plain = [parameter.removesuffix(" indexed") for parameter in parameters]
    count = sum(parameter.endswith(" indexed") for parameter in parameters)
    if not all(parameter.endswith(" indexed") for parameter in parameters[:count]):
        raise ValueError(f"indexed parameters come first: {signature}")
    topic = keccak(f"{name}({','.join(plain)})".encode())
    return Event(signature, topic, tuple(plain[:count]), tuple(plain[count:]))


def solidity_error(signature: str) -> SolidityError:
    """A custom error of a signature such as `BelowMinimumStake(uint256,uint256)`."""
    name, inputs = _split(signature)
    return SolidityError(name, keccak(signature.encode())[:4], inputs)


def encode_all(types: Sequence[str], values: Sequence[object]) -> bytes:
    """abi.encode; raises ValueError if a value does not fit its type."""
    if len(types) != len(values):
        raise ValueError(f"{len(values)} values for {len(types)} types")
    try:
        return encode(types, values)
    except EncodingError as exc:
        raise ValueError(str(exc)) from exc


def decode_all(types: Sequence[str], raw: bytes, what: str) -> tuple[Any, ...]:
    """abi.decode of hostile bytes; addresses as 20 bytes. Raises BadResponseError."""
    try:
        values = decode(types, raw)
    # A garbled text raises UnicodeDecodeError, an absurd offset OverflowError.
    except (DecodingError, ValueError, OverflowError) as exc:
        raise BadResponseError(f"{what}: {type(exc).__name__}") from exc
    return tuple(_raw(kind, value) for kind, value in zip(types, values, strict=True))


@lru_cache(maxsize=1)
def _known_errors() -> dict[bytes, SolidityError]:
    from chain.interfaces import ERRORS  # noqa: PLC0415 - the table of errors is built with this module

    standard = (solidity_error("Error(string)"), solidity_error("Panic(uint256)"))
    return {known.selector: known for known in (*standard, *ERRORS)}


def describe_revert(revert: bytes) -> tuple[str, str]:
    """Name of the Solidity error and a sentence; the name is "" for data that we do not know."""
    known = _known_errors().get(revert[:4])
    if known is None:
        return "", f"unknown error 0x{revert[:4].hex()}" if revert else ""
    try:
        values = decode_all(known.inputs, revert[4:], known.name)
    except BadResponseError:
        return known.name, known.name
    shown = ", ".join("0x" + v.hex() if isinstance(v, bytes) else str(v)[:200] for v in values)
    return known.name, f"{known.name}({shown})"


def _raw(kind: str, value: Any) -> Any:
    """Addresses come out of eth_abi as checksummed text; ours are 20 bytes."""
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return tuple(_raw(inner, entry) for entry in value)
    if kind.startswith("("):
        return tuple(_raw(part, v) for part, v in zip(_types(kind[1:-1]), value, strict=True))
    return bytes.fromhex(value[2:]) if kind == "address" else value


def _split(signature: str) -> tuple[str, tuple[str, ...]]:
    name, _, rest = signature.partition("(")
    if not name.isidentifier() or not rest.endswith(")"):
        raise ValueError(f"not a signature: {signature}")
    return name, _types(rest[:-1])


@lru_cache(maxsize=256)
def _types(listed: str) -> tuple[str, ...]:
    """The types of a comma-separated list, tuples kept whole."""
    types, depth, start = [], 0, 0
    for position, character in enumerate(listed):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            types.append(listed[start:position].strip())
            start = position + 1
    return (*types, listed[start:].strip()) if listed else ()
