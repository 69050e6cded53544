from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import rpc_values
from chain.errors import BadResponseError

WORD = "0x" + "ab" * 32
LOG: dict[str, Any] = {
    "address": "0x" + "01" * 20,
    "topics": [WORD],
    "data": "0x0102",
    "blockNumber": "0x5",
    "blockHash": WORD,
    "transactionHash": WORD,
    "logIndex": "0x0",
}
BLOCK: dict[str, Any] = {
    "number": "0x5",
    "hash": WORD,
    "parentHash": WORD,
    "timestamp": "0x64",
    "baseFeePerGas": "0x7",
}
RECEIPT: dict[str, Any] = {
    "transactionHash": WORD,
    "blockNumber": "0x5",
    "blockHash": WORD,
    "status": "0x1",
    "gasUsed": "0x5208",
    "contractAddress": None,
    "logs": [LOG],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("good", [("0x0", 0), ("0xff", 255), ("0x" + "f" * 64, 2**256 - 1)])
def test_quantities(good: tuple[str, int]) -> None:
    assert rpc_values.quantity(good[0]) == good[1]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "",
        "5",
        "0x",
        "0x-5",
        "0x+5",
        "0x1_0",
        "0xg",
        "0x 5",
        "0x" + "f" * 65,
        ["0x1"],
        True,
    ],
)
def test_what_is_no_quantity(wrong: object) -> None:
    with pytest.raises(BadResponseError):
        rpc_values.quantity(wrong)


@pytest.mark.parametrize(
    "wrong", [None, "ab", "0xa", "0xab cd", "0xzz", "0x\u0661\u0661", 5, b"0x"]
)
def test_what_is_no_data(wrong: object) -> None:
    with pytest.raises(BadResponseError):
        rpc_values.data(wrong)


def test_whole_values() -> None:
    assert rpc_values.data("0x") == b""
    assert rpc_values.block(BLOCK).timestamp_s == 100
    assert rpc_values.log(LOG).data == b"\x01\x02"
    assert rpc_values.receipt(RECEIPT).succeeded
    assert not rpc_values.receipt(RECEIPT | {"status": "0x0"}).succeeded


@pytest.mark.parametrize(
    ("check", "whole"),
    [(rpc_values.block, BLOCK), (rpc_values.log, LOG), (rpc_values.receipt, RECEIPT)],
)
@given(data=st.data())
def test_a_value_with_anything_wrong_in_it_is_refused_or_still_whole(
    check: Any, whole: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    try:
        found = check(whole | {name: data.draw(JSON)})
    except BadResponseError:
        return
    assert type(found) is type(check(whole))


@pytest.mark.parametrize(
    ("check", "whole"),
    [(rpc_values.block, BLOCK), (rpc_values.log, LOG), (rpc_values.receipt, RECEIPT)],
)
def test_a_missing_field_is_refused(check: Any, whole: dict[str, Any]) -> None:
    optional = {"baseFeePerGas", "contractAddress"}
    for name in whole.keys() - optional:
        with pytest.raises(BadResponseError):
            check({key: value for key, value in whole.items() if key != name})


def test_a_log_of_an_abandoned_block_is_refused() -> None:
    with pytest.raises(BadResponseError):
        rpc_values.log(LOG | {"removed": True})
