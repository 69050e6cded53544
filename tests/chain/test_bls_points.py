from __future__ import annotations

import pytest
from py_arkworks_bls12381 import G1Point, Scalar

from chain.bls_points import FIELD_MODULUS, compress_g1
from node.crypto import BlsKey, eip2537_g1


@pytest.mark.parametrize("secret", [1, 2, 3, 77, 2**200 + 9])
def test_compresses_as_the_bls_library_does(secret: int) -> None:
    point = G1Point() * Scalar(secret)
    for form in (point, -point):
        assert compress_g1(form.to_xy_bytes_be()) == form.to_compressed_bytes()


def test_takes_the_padded_form_that_operators_register() -> None:
    key = BlsKey((5).to_bytes(32, "big"))
    assert compress_g1(eip2537_g1(key.public_key)) == key.public_key


def on_curve() -> bytearray:
    return bytearray(G1Point().to_xy_bytes_be())


def test_refuses_what_is_no_point() -> None:
    off_curve = on_curve()
    off_curve[95] ^= 1
    outside = on_curve()
    outside[:48] = (int.from_bytes(outside[:48], "big") + FIELD_MODULUS).to_bytes(48, "big")
    padded = bytearray(eip2537_g1(BlsKey((5).to_bytes(32, "big")).public_key))
    padded[0] = 1
    for wrong in (off_curve, outside, padded, bytes(96), bytes(128), b"", bytes(95), bytes(97)):
        with pytest.raises(ValueError):  # noqa: PT011
            compress_g1(bytes(wrong))
