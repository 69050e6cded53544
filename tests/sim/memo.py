"""What every node of a world computes alike is computed once: digests, decoded frames.

All of these are pure functions of immutable arguments, so a run decides what it would decide
without. Only the process that runs simulations is changed, and only once.
"""

from __future__ import annotations

from functools import cache, lru_cache

from protocol import application, codec, eip712, jobs, replica

KEPT = 1 << 14


@cache
def remember() -> None:
    """Put memories before EIP-712 digests and the decoder of frames."""
    eip712.typed_digest = lru_cache(KEPT)(eip712.typed_digest)  # type: ignore[assignment]
    decode = lru_cache(KEPT)(codec.decode)
    for module in (application, codec, jobs, replica):
        vars(module)["decode"] = decode
