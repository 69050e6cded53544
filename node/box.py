"""Sealed boxes: bytes that only the holder of one X25519 key can read.

A box is: ephemeral public key (32) | ChaCha20-Poly1305 ciphertext with its 16-byte tag. The key is
HKDF-SHA256 (RFC 5869) of the shared secret, bound to both public keys; as each box has its own
ephemeral key, each AEAD key is used once and the nonce is zero.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import Rejection, RejectionReason

OVERHEAD: Final = 32 + 16
"""Bytes by which a box is longer than what is in it."""

_PURPOSE: Final = b"provernet/box/1"
_NONCE: Final = bytes(12)


class SealingKey:
    """The X25519 key to which private inputs are sealed; 32 secret bytes."""

    def __init__(self, secret: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.public_key: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def random(cls) -> SealingKey:
        """A fresh key."""
        return cls(secrets.token_bytes(32))

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for the keystore alone."""
        return self._key.private_bytes_raw()

    def open(self, box: bytes, associated_data: bytes) -> bytes:
        """What is in the box; raises Rejection(INPUT_MISMATCH) unless all fits."""
        ephemeral, ciphertext = box[:32], box[32:]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            cipher = _cipher(shared, ephemeral, self.public_key)
            return cipher.decrypt(_NONCE, ciphertext, associated_data)
        except (ValueError, InvalidTag) as exc:
            # A ValueError is a short box or a point of small order.
            raise Rejection(RejectionReason.INPUT_MISMATCH, "the box does not open") from exc


def seal(recipient: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Seal for a 32-byte X25519 public key; raises ValueError if that is no usable key."""
    key = X25519PrivateKey.generate()
    ephemeral = key.public_key().public_bytes_raw()
    try:
        shared = key.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError as exc:
        raise ValueError("not a usable sealing key") from exc
    return ephemeral + _cipher(shared, ephemeral, recipient).encrypt(
        _NONCE, plaintext, associated_data
    )


def _cipher(shared: bytes, ephemeral: bytes, recipient: bytes) -> ChaCha20Poly1305:
    info = _PURPOSE + ephemeral + recipient
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt=None, info=info).derive(shared))
