"""The port to cryptography: real in a node, keyed hashes where the simulator says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Aggregator(Protocol):
    """Combines signatures over one digest; the only cryptography a pure machine asks for."""

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        """Return the 96-byte aggregate of one or more valid 96-byte signatures over one digest."""
        ...


class SignatureChecker(Protocol):
    """What ingress asks before a message reaches a machine."""

    def recover(self, digest: bytes, signature: bytes) -> bytes | None:
        """Return the 20-byte address that made the 65-byte low-s signature, or None."""
        ...

    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        """Tell whether the 48-byte BLS key signed the 32-byte digest."""
        ...

    def verify_aggregate(
        self, public_keys: Sequence[bytes], digest: bytes, signature: bytes
    ) -> bool:
        """Tell whether all these BLS keys signed the 32-byte digest."""
        ...


class BidCipher(Protocol):
    """The ciphers of sealed bids: X25519, HKDF and ChaCha20-Poly1305 in a node.

    Each key encrypts one text: nothing here needs a nonce.
    """

    def public_key(self, secret: bytes) -> bytes:
        """The 32-byte public key of an ephemeral secret of 32 bytes."""
        ...

    def wrap(self, secret: bytes, recipient: bytes, data: bytes, context: bytes) -> bytes | None:
        """Seal data from an ephemeral secret to a public key, 16 bytes longer; None: no key."""
        ...

    def unwrap(
        self, recipient: bytes, ephemeral: bytes, box: bytes, context: bytes
    ) -> bytes | None:
        """What is in a box sealed to this node's own public key; None if it does not open."""
        ...

    def encrypt(self, key: bytes, data: bytes, context: bytes) -> bytes:
        """Encrypt under a 32-byte key: 16 bytes longer."""
        ...

    def decrypt(self, key: bytes, data: bytes, context: bytes) -> bytes | None:
        """What was encrypted under the key in this context; None if it was not."""
        ...
