"""How a private input is bound to the one prover that may open it."""

from __future__ import annotations


def associated_data(request_id: bytes, segment: int, operator: bytes) -> bytes:
    """56 bytes under which an input is sealed: request id (32), segment (4), operator (20)."""
    return request_id + segment.to_bytes(4, "big") + operator
