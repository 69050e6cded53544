"""EIP-1559 transactions: encoding, signing with a secp256k1 key, hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from coincurve import PrivateKey

from protocol.hashing import keccak
from protocol.types import Address, Hash

TRANSACTION_GAS_LIMIT: Final = 2**24
"""EIP-7825: no transaction may ask for more gas."""
_TYPE: Final = b"\x02"

Rlp = bytes | int | Sequence["Rlp"]


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees in wei per gas."""

    max_fee: int
    priority_fee: int

    def bumped(self) -> Fees:
        """What replaces a transaction with these fees: endpoints ask for a tenth more."""
        return Fees(self.max_fee * 5 // 4 + 1, self.priority_fee * 5 // 4 + 1)


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A signed transaction as it is journalled before it is sent: sending it again does no harm."""

    hash: Hash
    nonce: int
    fees: Fees
    raw: bytes

    def sender(self) -> Address:
        """The account that signed it."""
        from eth_account import Account as Signer  # noqa: PLC0415  slow to import, seldom needed

        return Address(bytes.fromhex(Signer.recover_transaction(self.raw)[2:]))


class Account:
    """A secp256k1 key and its address; the nonce is for the sender to own."""

    def __init__(self, secret: bytes) -> None:
        self._key: Any = PrivateKey(secret)
        public: bytes = self._key.public_key.format(compressed=False)
        self.address = Address(keccak(public[1:])[12:])

    def __repr__(self) -> str:
        return f"Account(0x{self.address.hex()})"

    def sign(
        self,
        *,
        chain_id: int,
        nonce: int,
        fees: Fees,
        gas: int,
        to: bytes | None,
        value: int,
        data: bytes,
    ) -> SentTransaction:
        """Sign a transaction; `to` None creates a contract."""
        fields: list[Rlp] = [chain_id, nonce, fees.priority_fee, fees.max_fee, gas]
        fields += [to or b"", value, data, []]
        digest = keccak(_TYPE + rlp(fields))
        signature: bytes = self._key.sign_recoverable(digest, hasher=None)
        r, s = (int.from_bytes(signature[start : start + 32], "big") for start in (0, 32))
        raw = _TYPE + rlp([*fields, signature[64], r, s])
        return SentTransaction(Hash(keccak(raw)), nonce, fees, raw)


def rlp(item: Rlp) -> bytes:
    """Recursive length prefix; integers without leading zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefix(len(item), 0x80) + item
    body = b"".join(rlp(entry) for entry in item)
    return _prefix(len(body), 0xC0) + body


def create_address(sender: bytes, nonce: int) -> Address:
    """The address of the contract that a transaction of `sender` with this nonce creates."""
    return Address(keccak(rlp([sender, nonce]))[12:])


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size
