"""Signatures: BLS12-381 for votes, secp256k1 for everything else.

BLS is the minimal-pubkey scheme with proof of possession of draft-irtf-cfrg-bls-signature: keys in
G1, signatures in G2. Every message is a 32-byte EIP-712 digest.
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import coincurve
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.types import Address

if TYPE_CHECKING:
    from collections.abc import Sequence

BLS_DST: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
BLS_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_FIELD_SIZE: Final = 48
_NEGATIVE_GENERATOR: Final = -G1Point()
_CACHED_KEYS: Final = 4_096
_CACHED_DIGESTS: Final = 256


class SessionKey:
    """The secp256k1 key with which a node signs all but votes; 32 secret bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < SECP256K1_ORDER:
            raise ValueError("a session key is 32 bytes between 1 and the curve's order")
        self._key = coincurve.PrivateKey(secret)
        self.address: Address = _address_of(self._key.public_key)

    @classmethod
    def random(cls) -> SessionKey:
        """A fresh key."""
        return cls((secrets.randbelow(SECP256K1_ORDER - 1) + 1).to_bytes(32, "big"))

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for the keystore alone."""
        return bytes(self._key.secret)

    def sign(self, digest: bytes) -> bytes:
        """65 bytes r, s, v over a 32-byte digest: low s (libsecp256k1's form), v 27 or 28."""
        _require_digest(digest)
        made = bytes(self._key.sign_recoverable(digest, hasher=None))
        return made[:64] + bytes([27 + made[64]])


class BlsKey:
    """The BLS12-381 key with which a node votes; 32 secret big-endian bytes."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < BLS_ORDER:
            raise ValueError("a BLS key is 32 bytes between 1 and the group's order")
        self._scalar = Scalar.from_be_bytes(secret)
        self.public_key: bytes = (G1Point() * self._scalar).to_compressed_bytes()

    @classmethod
    def random(cls) -> BlsKey:
        """A fresh key."""
        return cls((secrets.randbelow(BLS_ORDER - 1) + 1).to_bytes(32, "big"))

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for the keystore alone."""
        return bytes(self._scalar.to_be_bytes())

    def sign(self, digest: bytes) -> bytes:
        """96-byte compressed signature over a 32-byte digest."""
        _require_digest(digest)
        return (G2Point.hash_to_curve(digest, BLS_DST) * self._scalar).to_compressed_bytes()


class Crypto:
    """Checks and aggregates signatures: the node's `SignatureChecker` and `Aggregator`.

    Parsed keys and hashed digests are remembered, both bounded. May be used from any thread; the
    library holds the interpreter lock for one pairing at a time (1.6 ms measured).
    """

    def __init__(self) -> None:
        self._public_key = lru_cache(_CACHED_KEYS)(_parse_public_key)
        self._message = lru_cache(_CACHED_DIGESTS)(_hash_to_point)

    def recover(self, digest: bytes, signature: bytes) -> bytes | None:
        """Return the 20-byte address that made the 65-byte low-s signature, or None."""
        if len(digest) != 32 or len(signature) != 65 or signature[64] not in {27, 28}:
            return None
        if int.from_bytes(signature[32:64], "big") > SECP256K1_ORDER // 2:
            return None
        raw = signature[:64] + bytes([signature[64] - 27])
        try:
            key = coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None)
        except ValueError:
            return None
        return _address_of(key)

    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        """Tell whether the 48-byte BLS key signed the 32-byte digest."""
        return self.verify_aggregate((public_key,), digest, signature)

    def verify_aggregate(
        self, public_keys: Sequence[bytes], digest: bytes, signature: bytes
    ) -> bool:
        """Tell whether all these BLS keys signed the 32-byte digest.

        Only keys with a proven possession may be given, else a rogue key forges the aggregate.
        """
        keys = [self._public_key(key) for key in public_keys]
        point = _parse_signature(signature)
        if not keys or point is None or len(digest) != 32:
            return False
        total = G1Point.identity()
        for key in keys:
            if key is None:
                return False
            total += key
        if total == G1Point.identity():
            return False
        return GT.pairing_check([total, _NEGATIVE_GENERATOR], [self._message(digest), point])

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        """Return the 96-byte aggregate; raises LocalProtocolError unless all were valid points."""
        total = G2Point.identity()
        for signature in signatures:
            point = _parse_signature(signature)
            if point is None:
                raise LocalProtocolError("an unchecked signature reached aggregation")
            total += point
        if not signatures:
            raise LocalProtocolError("nothing to aggregate")
        return total.to_compressed_bytes()


def eip2537_g1(public_key: bytes) -> bytes:
    """The 128-byte EIP-2537 form of a 48-byte compressed point; raises ValueError if it is none."""
    point = _parse_public_key(public_key)
    if point is None:
        raise ValueError("not a BLS public key")
    return _padded(point.to_xy_bytes_be())


def eip2537_g2(signature: bytes) -> bytes:
    """The 256-byte EIP-2537 form of a 96-byte compressed point; raises ValueError if it is none."""
    point = _parse_signature(signature)
    if point is None:
        raise ValueError("not a BLS signature")
    return _padded(point.to_xy_bytes_be())


def compressed_g1(point: bytes) -> bytes:
    """The 48-byte form of a 128-byte EIP-2537 point, as read from the registry.

    Raises:
        ValueError: not a point of the subgroup, or the identity.
    """
    words = [point[start : start + 64] for start in range(0, len(point), 64)]
    if len(point) != 128 or any(any(word[:16]) for word in words):
        raise ValueError("not an EIP-2537 G1 point")
    try:
        parsed = G1Point.from_xy_bytes_be(b"".join(word[16:] for word in words))
    except ValueError as exc:
        raise ValueError("not an EIP-2537 G1 point") from exc
    if parsed == G1Point.identity():
        raise ValueError("the identity is not an EIP-2537 G1 point of a key")
    return parsed.to_compressed_bytes()


def _padded(coordinates: bytes) -> bytes:
    """Each 48-byte field element behind 16 zero bytes."""
    starts = range(0, len(coordinates), _FIELD_SIZE)
    return b"".join(bytes(16) + coordinates[start : start + _FIELD_SIZE] for start in starts)


def _parse_public_key(raw: bytes) -> G1Point | None:
    """A point of the subgroup other than the identity, in its canonical form."""
    try:
        point = G1Point.from_compressed_bytes(raw)
    except ValueError:
        return None
    if point == G1Point.identity() or point.to_compressed_bytes() != raw:
        return None
    return point


def _parse_signature(raw: bytes) -> G2Point | None:
    """A point of the subgroup other than the identity, in its canonical form."""
    try:
        point = G2Point.from_compressed_bytes(raw)
    except ValueError:
        return None
    if point == G2Point.identity() or point.to_compressed_bytes() != raw:
        return None
    return point


def _hash_to_point(digest: bytes) -> G2Point:
    return G2Point.hash_to_curve(digest, BLS_DST)


def _address_of(key: coincurve.PublicKey) -> Address:
    return Address(keccak(key.format(compressed=False)[1:])[12:])


def _require_digest(digest: bytes) -> None:
    if len(digest) != 32:
        raise LocalProtocolError("only 32-byte digests are signed")
