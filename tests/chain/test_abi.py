from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.abi import describe_revert, encode_all, event, function, solidity_error
from chain.errors import BadResponseError
from chain.interfaces import BATCH_SETTLED, TABLE_OF
from chain.rpc_values import Log
from protocol.types import Address, Hash

# keccak256("transfer(address,uint256)")[:4] and of Transfer: numbers every wallet knows.
TRANSFER_SELECTOR = bytes.fromhex("a9059cbb")
TRANSFER_TOPIC = bytes.fromhex("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")


def log(topics: tuple[bytes, ...], data: bytes) -> Log:
    zero = Hash(bytes(32))
    return Log(Address(bytes(20)), topics, data, 1, zero, zero, 0)


def test_selectors_and_topics_are_those_of_the_standard() -> None:
    assert function("transfer(address,uint256)").selector == TRANSFER_SELECTOR
    assert event("Transfer(address indexed,address indexed,uint256)").topic == TRANSFER_TOPIC


def test_addresses_come_out_as_bytes_however_deep() -> None:
    kind = "(address,(address,uint96)[],address[2])"
    probe = function("probe()", f"{kind},address")
    one, two = b"\x01" * 20, b"\x02" * 20
    values = ((one, ((two, 7), (one, 8)), (two, one)), two)
    assert probe.result(encode_all([kind, "address"], values)) == values


@pytest.mark.parametrize("wrong", [-1, 2**64, "1", b"1"])
def test_an_argument_that_does_not_fit_is_the_callers_bug(wrong: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        function("f(uint64)").call(wrong)


def test_missing_arguments_are_the_callers_bug() -> None:
    with pytest.raises(ValueError, match="1 values for 2 types"):
        function("f(uint64,bytes)").call(1)


@given(st.binary(max_size=600))
def test_any_output_decodes_or_is_a_bad_response(output: bytes) -> None:
    try:
        rows = TABLE_OF.result(output)[0]
    except BadResponseError:
        return
    assert isinstance(rows, tuple)


def test_an_absurd_length_is_refused_without_its_memory() -> None:
    words = [32, 2**255]
    with pytest.raises(BadResponseError):
        function("f()", "bytes").result(b"".join(word.to_bytes(32, "big") for word in words))


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=4), st.binary(max_size=200))
def test_any_log_decodes_or_is_a_bad_response(topics: list[bytes], data: bytes) -> None:
    with pytest.raises(BadResponseError):
        BATCH_SETTLED.decode(log(tuple(topics), data))


def test_reverts_are_named() -> None:
    error = solidity_error("UnexpectedSequence(uint64,uint64)")
    revert = error.selector + encode_all(["uint64", "uint64"], [3, 2])
    assert describe_revert(revert) == ("UnexpectedSequence", "UnexpectedSequence(3, 2)")
    assert describe_revert(error.selector + b"cut")[0] == "UnexpectedSequence"
    assert describe_revert(b"\xde\xad\xbe\xef")[0] == ""
    assert describe_revert(b"") == ("", "")
    text = solidity_error("Error(string)").selector + encode_all(["string"], ["not settled"])
    assert describe_revert(text) == ("Error", "Error(not settled)")
