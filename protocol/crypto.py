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
