"""Our encoding of transactions against eth_account and rlp, which share no code with it."""

from __future__ import annotations

import pytest
import rlp as oracle
from eth_account import Account as OracleAccount
from hypothesis import given
from hypothesis import strategies as st

from chain.transaction import Account, Fees, create_address, rlp
from protocol.hashing import keccak

SECRET = bytes(range(1, 33))

ITEMS = st.recursive(
    st.binary(max_size=80) | st.integers(min_value=0, max_value=2**256),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=20,
)


@given(ITEMS)
def test_rlp_is_that_of_the_library(item: object) -> None:
    assert rlp(item) == oracle.encode(item)  # type: ignore[arg-type]


def test_long_items_have_long_prefixes() -> None:
    for length in (55, 56, 255, 256, 70_000):
        assert rlp(bytes(length)) == oracle.encode(bytes(length))
        assert rlp([b"x"] * length) == oracle.encode([b"x"] * length)


@given(
    nonce=st.integers(min_value=0, max_value=2**40),
    value=st.integers(min_value=0, max_value=2**100),
    data=st.binary(max_size=100),
    creates=st.booleans(),
)
def test_a_signed_transaction_is_that_of_eth_account(
    nonce: int, value: int, data: bytes, *, creates: bool
) -> None:
    account = Account(SECRET)
    assert account.address == bytes.fromhex(OracleAccount.from_key(SECRET).address[2:])
    ours = account.sign(
        chain_id=31337,
        nonce=nonce,
        fees=Fees(2_000, 30),
        gas=90_000,
        to=None if creates else b"\x07" * 20,
        value=value,
        data=data,
    )
    fields: dict[str, object] = {
        "type": 2,
        "chainId": 31337,
        "nonce": nonce,
        "maxFeePerGas": 2_000,
        "maxPriorityFeePerGas": 30,
        "gas": 90_000,
        "to": b"" if creates else b"\x07" * 20,
        "value": value,
        "data": data,
        "accessList": [],
    }
    theirs = OracleAccount.sign_transaction(fields, SECRET)
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.hash == bytes(theirs.hash)
    assert ours.nonce == nonce


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 300])
def test_created_addresses_follow_from_the_nonce(nonce: int) -> None:
    sender = Account(SECRET).address
    assert create_address(sender, nonce) == keccak(oracle.encode([sender, nonce]))[12:]


def test_a_replacement_pays_more_than_the_tenth_that_endpoints_ask_for() -> None:
    for fees in (Fees(0, 0), Fees(1, 1), Fees(10**12, 10**9)):
        higher = fees.bumped()
        assert higher.max_fee * 10 > fees.max_fee * 11
        assert higher.priority_fee * 10 > fees.priority_fee * 11


def test_an_account_does_not_show_its_key() -> None:
    assert SECRET.hex() not in repr(Account(SECRET))
