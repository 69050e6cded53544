"""How a private input is bound to the one prover that may open it."""

from __future__ import annotations

from protocol.errors import Rejection, RejectionReason
from protocol.types import Hash


def associated_data(request_id: bytes, segment: int, operator: bytes) -> bytes:
    """56 bytes under which an input is sealed: request id (32), segment (4), operator (20)."""
    return blob_name(request_id, segment) + operator


def blob_name(request_id: bytes, segment: int) -> bytes:
    """36 bytes that name an input on its way: request id (32), segment (4)."""
    return request_id + segment.to_bytes(4, "big")


def parse_blob_name(name: bytes) -> tuple[Hash, int]:
    """Request id and segment of a name; raises Rejection(MALFORMED)."""
    if len(name) != 36:
        raise Rejection(RejectionReason.MALFORMED, "name of an input")
    return Hash(name[:32]), int.from_bytes(name[32:], "big")
