"""BLS12-381 G1 points: from the coordinates that contracts hold to the 48 bytes that nodes hold.

Encodings: EIP-2537 (16 zero bytes before each 48-byte coordinate) and the compressed form of the
Zcash serialization that the IETF BLS draft uses.
"""

from __future__ import annotations

from typing import Final

FIELD_MODULUS: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
    "1eabfffeb153ffffb9feffffffffaaab",
    16,
)
_PAD: Final = bytes(16)
_COMPRESSED: Final = 0x80
_LARGER_Y: Final = 0x20


def compress_g1(point: bytes) -> bytes:
    """48 bytes of a 128-byte EIP-2537 point, or of its 96 bytes without padding.

    Raises ValueError for the point at infinity, a coordinate outside the field, or a point off the
    curve. Membership of the prime-order subgroup is the registry's check, by a pairing on chain.
    """
    if len(point) == 128:
        if point[:16] != _PAD or point[64:80] != _PAD:
            raise ValueError("a coordinate is not padded with zeros")
        point = point[16:64] + point[80:]
    if len(point) != 96:
        raise ValueError(f"a G1 point has 96 or 128 bytes, not {len(point)}")
    x, y = (int.from_bytes(half, "big") for half in (point[:48], point[48:]))
    if max(x, y) >= FIELD_MODULUS:
        raise ValueError("a coordinate lies outside the field")
    # Infinity (0, 0) is not on the curve either.
    if (y * y - x * x * x - 4) % FIELD_MODULUS:
        raise ValueError("the point is not on the curve")
    larger = _LARGER_Y if y > FIELD_MODULUS // 2 else 0
    return bytes([point[0] | _COMPRESSED | larger]) + point[1:48]
