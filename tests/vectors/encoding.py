"""Values made from names, so that the vectors are the same on every machine."""

from __future__ import annotations

from eth_hash.auto import keccak


def word(name: str) -> bytes:
    """32 bytes that stand for a name."""
    return keccak(name.encode())


def address(name: str) -> bytes:
    """20 bytes that stand for a name."""
    return keccak(name.encode())[12:]


def hex_of(raw: bytes) -> str:
    """Bytes as forge's parseJson reads them."""
    return "0x" + raw.hex()
