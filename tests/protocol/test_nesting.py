"""Depth of JSON, against a decoder that is known to be shallow enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.nesting import MAX_DEPTH, too_deep

VALUES = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\a', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\', max_size=3), inner)
    ),
    max_leaves=40,
)


def depth(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case list():
            return 1 + max(map(depth, value), default=0)
        case _:
            return 0


@given(VALUES, st.integers(0, MAX_DEPTH + 2), st.booleans())
def test_tells_what_a_decoder_would_build(value: Any, more: int, escaped: bool) -> None:
    for _ in range(more):
        value = [value] if more % 2 else {"[": value}
    text = json.dumps(value, ensure_ascii=escaped)
    assert too_deep(text.encode()) is (depth(value) > MAX_DEPTH)


@given(st.binary(max_size=200))
def test_never_fails(raw: bytes) -> None:
    too_deep(raw)
    too_deep(b'["' * 40 + raw)


@pytest.mark.parametrize("unit", [b'\\"', b'\\\n"', b'"', b"\\", b'\\\\"'])
def test_strings_that_never_end_cost_no_more_than_others(unit: bytes) -> None:
    """Tried again from each quote, these would take hours."""
    assert not too_deep(b"[" * 20 + b"]" * 20 + b"[" * 20 + b'"' + unit * (2 << 20))
