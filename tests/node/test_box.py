"""Sealed boxes open for their key and data alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.box import OVERHEAD, SealingKey, seal
from protocol.errors import Rejection, RejectionReason

KEY = SealingKey(b"\x07" * 32)


@given(st.binary(max_size=5_000), st.binary(max_size=64))
def test_round_trip(plaintext, data):
    box = seal(KEY.public_key, plaintext, data)
    assert KEY.open(box, data) == plaintext
    assert len(box) == len(plaintext) + OVERHEAD


@given(st.data())
def test_any_change_is_noticed(data):
    box = bytearray(seal(KEY.public_key, b"balances", b"job"))
    box[data.draw(st.integers(0, len(box) - 1))] ^= data.draw(st.integers(1, 127))
    with pytest.raises(Rejection) as caught:
        KEY.open(bytes(box), b"job")
    assert caught.value.reason is RejectionReason.INPUT_MISMATCH


def test_another_key_or_job_does_not_open():
    box = seal(KEY.public_key, b"balances", b"job")
    for key, data in ((SealingKey.random(), b"job"), (KEY, b"other job")):
        with pytest.raises(Rejection):
            key.open(box, data)


@pytest.mark.parametrize("box", [b"", bytes(31), bytes(48), bytes(64)])
def test_garbage_is_a_rejection(box):
    with pytest.raises(Rejection):
        KEY.open(box, b"")


@pytest.mark.parametrize("recipient", [b"", bytes(31), bytes(32)])
def test_no_box_for_a_weak_key(recipient):
    with pytest.raises(ValueError, match="sealing key"):
        seal(recipient, b"balances", b"")


def test_the_same_text_never_gives_the_same_box():
    assert seal(KEY.public_key, b"x", b"") != seal(KEY.public_key, b"x", b"")
