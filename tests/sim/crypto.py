"""Keyed hashes in place of signatures: unforgeable inside the simulator, and quick."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

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
