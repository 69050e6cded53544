"""Sealed boxes: bytes that only the holder of one X25519 key can read, and the ciphers of bids.

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
_SHARE_PURPOSE: Final = b"provernet/bid/1"
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

    def share_cipher(self, other: bytes, *, sender: bool) -> ChaCha20Poly1305:
        """The cipher of a bid's share between this key and another; raises ValueError: no key."""
        shared = self._key.exchange(X25519PublicKey.from_public_bytes(other))
        ephemeral, recipient = (self.public_key, other) if sender else (other, self.public_key)
        return _cipher(shared, ephemeral, recipient, _SHARE_PURPOSE)

    def open(self, box: bytes, associated_data: bytes) -> bytes:
        """What is in the box; raises Rejection(INPUT_MISMATCH) unless all fits."""
        ephemeral, ciphertext = box[:32], box[32:]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            cipher = _cipher(shared, ephemeral, self.public_key, _PURPOSE)
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
    return ephemeral + _cipher(shared, ephemeral, recipient, _PURPOSE).encrypt(
        _NONCE, plaintext, associated_data
    )


class BidCiphers:
    """The `BidCipher` of a node with these sealing keys; a bidder has none.

    All boxes of a bid come from one ephemeral key; HKDF gives each recipient another cipher key.
    """

    def __init__(self, *keys: SealingKey) -> None:
        self._keys = {key.public_key: key for key in keys}

    def public_key(self, secret: bytes) -> bytes:
        """See `BidCipher`."""
        return SealingKey(secret).public_key

    def wrap(self, secret: bytes, recipient: bytes, data: bytes, context: bytes) -> bytes | None:
        """See `BidCipher`."""
        try:
            cipher = SealingKey(secret).share_cipher(recipient, sender=True)
        except ValueError:
            return None
        return cipher.encrypt(_NONCE, data, context)

    def unwrap(
        self, recipient: bytes, ephemeral: bytes, box: bytes, context: bytes
    ) -> bytes | None:
        """See `BidCipher`."""
        key = self._keys.get(recipient)
        if key is None:
            return None
        try:
            return key.share_cipher(ephemeral, sender=False).decrypt(_NONCE, box, context)
        except (ValueError, InvalidTag):
            return None

    def encrypt(self, key: bytes, data: bytes, context: bytes) -> bytes:
        """See `BidCipher`."""
        return ChaCha20Poly1305(key).encrypt(_NONCE, data, context)

    def decrypt(self, key: bytes, data: bytes, context: bytes) -> bytes | None:
        """See `BidCipher`."""
        try:
            return ChaCha20Poly1305(key).decrypt(_NONCE, data, context)
        except InvalidTag:
            return None


def _cipher(shared: bytes, ephemeral: bytes, recipient: bytes, purpose: bytes) -> ChaCha20Poly1305:
    info = purpose + ephemeral + recipient
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt=None, info=info).derive(shared))
