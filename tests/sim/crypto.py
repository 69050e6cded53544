"""The keys of everybody in a world: keyed hashes in place of signatures, or those of a node.

Keyed hashes are unforgeable inside the simulator, and quick. `REAL` has BLS12-381, secp256k1 over
EIP-712 digests, and bids sealed with X25519 and ChaCha20-Poly1305.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Protocol

from node.box import BidCiphers, SealingKey
from node.crypto import BlsKey, Crypto, SessionKey
from protocol.crypto import Aggregator, BidCipher, SignatureChecker
from protocol.types import Address


def address_of(name: str) -> Address:
    return Address(blake2b(name.encode(), digest_size=20).digest())


def bls_key_of(operator: bytes) -> bytes:
    return blake2b(operator, digest_size=48, person=b"bls").digest()


def sealing_key_of(operator: bytes) -> bytes:
    return blake2b(operator, digest_size=32, person=b"sealing").digest()


def session_sign(signer: bytes, digest: bytes) -> bytes:
    """65 bytes: who signs, and a tag that only `session_sign` makes."""
    return signer + blake2b(digest, key=signer, digest_size=45).digest()


def bls_sign(public_key: bytes, digest: bytes) -> bytes:
    """96 bytes; signatures over one digest add up by exclusive or."""
    half = blake2b(digest, key=public_key, digest_size=48).digest()
    return half + half


class HashCrypto:
    """`Aggregator` and `SignatureChecker` over the keyed hashes."""

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        total = 0
        for signature in signatures:
            total ^= int.from_bytes(signature, "big")
        return total.to_bytes(96, "big")

    def recover(self, digest: bytes, signature: bytes) -> bytes | None:
        signer = signature[:20]
        return signer if session_sign(signer, digest) == signature else None

    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        return bls_sign(public_key, digest) == signature

    def verify_aggregate(
        self, public_keys: Sequence[bytes], digest: bytes, signature: bytes
    ) -> bool:
        expected = self.aggregate([bls_sign(key, digest) for key in public_keys])
        return expected == signature


class HashCipher:
    """`BidCipher`: exclusive or with keyed hashes, and boxes that nobody else tries to open."""

    def __init__(self, *keys: bytes) -> None:
        self._keys = keys

    def public_key(self, secret: bytes) -> bytes:
        return blake2b(secret, digest_size=32, person=b"ephemeral").digest()

    def wrap(self, secret: bytes, recipient: bytes, data: bytes, context: bytes) -> bytes | None:
        return self.encrypt(_shared(self.public_key(secret), recipient), data, context)

    def unwrap(
        self, recipient: bytes, ephemeral: bytes, box: bytes, context: bytes
    ) -> bytes | None:
        if recipient not in self._keys:
            return None
        return self.decrypt(_shared(ephemeral, recipient), box, context)

    def encrypt(self, key: bytes, data: bytes, context: bytes) -> bytes:
        return _masked(key, data) + _tag(key, data, context)

    def decrypt(self, key: bytes, data: bytes, context: bytes) -> bytes | None:
        inside = _masked(key, data[:-16])
        return inside if _tag(key, inside, context) == data[-16:] else None


class Checker(Aggregator, SignatureChecker, Protocol):
    """What nodes and their ingress ask for."""


class Keys(Protocol):
    """Keys of everybody by name or address; who acts uses none but its own."""

    name: str
    """As reports tell it."""

    @property
    def checker(self) -> Checker: ...
    def address_of(self, name: str) -> Address: ...
    def bls_key_of(self, operator: bytes) -> bytes: ...
    def sealing_key_of(self, operator: bytes) -> bytes: ...
    def session_sign(self, signer: bytes, digest: bytes) -> bytes: ...
    def vote_sign(self, operator: bytes, digest: bytes) -> bytes: ...
    def cipher(self, *operators: bytes) -> BidCipher:
        """That of a node with these operators' sealing keys; a bidder has none."""
        ...


class HashKeys:
    """Keyed hashes for everything."""

    name = "keyed hashes"
    checker: Checker = HashCrypto()

    def address_of(self, name: str) -> Address:
        return address_of(name)

    def bls_key_of(self, operator: bytes) -> bytes:
        return bls_key_of(operator)

    def sealing_key_of(self, operator: bytes) -> bytes:
        return sealing_key_of(operator)

    def session_sign(self, signer: bytes, digest: bytes) -> bytes:
        return session_sign(signer, digest)

    def vote_sign(self, operator: bytes, digest: bytes) -> bytes:
        return bls_sign(bls_key_of(operator), digest)

    def cipher(self, *operators: bytes) -> BidCipher:
        return HashCipher(*map(sealing_key_of, operators))


class RealCrypto(Crypto):
    """A node's; all nodes of a world add the same signatures up, so the sums are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self._sums = lru_cache(4_096)(super().aggregate)

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        return self._sums(tuple(signatures))


class RealKeys:
    """A node's keys, made from names: the same in every run and process."""

    name = "BLS, EIP-712, sealed bids"

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._session = lru_cache(None)(lambda name: SessionKey(_secret(name, b"session")))
        self._bls = lru_cache(None)(lambda name: BlsKey(_secret(name, b"bls")))
        self._sealing = lru_cache(None)(lambda name: SealingKey(_secret(name, b"sealing")))

    @cached_property
    def checker(self) -> Checker:
        return RealCrypto()

    def address_of(self, name: str) -> Address:
        address: Address = self._session(name).address
        self._names[address] = name
        return address

    def bls_key_of(self, operator: bytes) -> bytes:
        key: BlsKey = self._bls(self._names[operator])
        return key.public_key

    def sealing_key_of(self, operator: bytes) -> bytes:
        key: SealingKey = self._sealing(self._names[operator])
        return key.public_key

    def session_sign(self, signer: bytes, digest: bytes) -> bytes:
        key: SessionKey = self._session(self._names[signer])
        return key.sign(digest)

    def vote_sign(self, operator: bytes, digest: bytes) -> bytes:
        key: BlsKey = self._bls(self._names[operator])
        return key.sign(digest)

    def cipher(self, *operators: bytes) -> BidCipher:
        return BidCiphers(*(self._sealing(self._names[each]) for each in operators))


HASHED: Keys = HashKeys()
REAL: Keys = RealKeys()


def _secret(name: str, use: bytes) -> bytes:
    """32 bytes below the order of either curve."""
    return bytes(1) + blake2b(name.encode(), digest_size=31, person=use).digest()


def _shared(ephemeral: bytes, recipient: bytes) -> bytes:
    return blake2b(ephemeral + recipient, digest_size=32, person=b"shared").digest()


def _masked(key: bytes, data: bytes) -> bytes:
    blocks = (
        blake2b(place.to_bytes(4, "big"), key=key, digest_size=64).digest()
        for place in range(0, len(data), 64)
    )
    return bytes(one ^ other for one, other in zip(data, b"".join(blocks), strict=False))


def _tag(key: bytes, data: bytes, context: bytes) -> bytes:
    return blake2b(data + context, key=key, digest_size=16, person=b"tag").digest()
