"""Batches: leaves as abi.encode makes them, order, bounds, inclusion proofs."""

from __future__ import annotations

import dataclasses

import pytest
from eth_abi import encode as abi_encode

from protocol.batch import (
    AccountAmount,
    Result,
    ResultStatus,
    build_batch,
    markets_leaf,
    result_leaf,
    unsettled_batch,
)
from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.merkle import verify_proof

A, B = b"\x0a" * 20, b"\x0b" * 20
ONE, TWO = b"\x01" * 32, b"\x02" * 32
SETTLED = Result(ONE, b"\x07" * 32, A, ResultStatus.SETTLED, 1_700_000_000, b"claim bytes", 9)
EXPIRED = Result(TWO, b"\x07" * 32, B, ResultStatus.EXPIRED, 1_700_000_001, b"", 0)


def build(**changes):
    arguments = {
        "epoch": 1,
        "round_number": 5,
        "value": b"\x05" * 32,
        "sequence": 1,
        "parent": bytes(32),
        "results": [SETTLED, EXPIRED],
        "credit_rows": [AccountAmount(A, 6), AccountAmount(B, 2**96 - 1)],
        "debit_rows": [AccountAmount(A, 9)],
        "stake_rows": [AccountAmount(A, 0), AccountAmount(B, 3)],
        "reputation_root": b"\x08" * 32,
        "parameters_hash": b"\x09" * 32,
        "markets_hash": b"\x0a" * 32,
        "paid": 8,
    }
    return build_batch(**(arguments | changes))


def abi_leaf(types, *values):
    return keccak(abi_encode(types, values))


def test_leaves_and_header():
    batch = build()
    word = "bytes32"
    assert list(batch.leaves) == [
        *[
            abi_leaf(
                ["uint256", word, word, "address", "uint8", "uint64", word, "uint256"],
                1,
                result.request_id,
                result.program_id,
                result.requester,
                int(result.status),
                result.issued_at,
                keccak(result.claim),
                result.fee,
            )
            for result in (SETTLED, EXPIRED)
        ],
        abi_leaf(["uint8", "address", "uint256"], 2, A, 6),
        abi_leaf(["uint8", "address", "uint256"], 2, B, 2**96 - 1),
        abi_leaf(["uint8", "address", "uint256"], 3, A, 0),
        abi_leaf(["uint8", "address", "uint256"], 3, B, 3),
        abi_leaf(["uint8", word, "uint256"], 4, b"\x08" * 32, 0),
        abi_leaf(["uint8", word, "uint256"], 5, b"\x09" * 32, 0),
        abi_leaf(["uint8", word, "uint256"], 6, b"\x0a" * 32, 0),
    ]
    assert batch.debits == A + (9).to_bytes(12, "big")
    assert batch.header.debits_hash == keccak(batch.debits)
    assert (batch.header.sequence, batch.header.paid) == (1, 8)


def test_proofs_of_results_and_credits():
    batch = build()
    for proof, leaf in (
        (batch.result_proof(TWO), batch.leaves[1]),
        (batch.credit_proof(B), batch.leaves[3]),
    ):
        assert proof.leaf == leaf
        assert verify_proof(batch.header.root, leaf, proof.siblings, proof.index)
    assert batch.result_proof(b"\x03" * 32) is None
    assert batch.credit_proof(b"\x0c" * 20) is None


def test_no_debits_hash_to_keccak_of_nothing():
    batch = build(results=[EXPIRED], debit_rows=[], paid=0)
    assert (batch.debits, batch.header.debits_hash) == (b"", keccak(b""))


def test_unsettled_commits_to_its_clearings_alone():
    header = unsettled_batch(1, 5, b"\x05" * 32, b"\x06" * 32)
    assert (header.sequence, header.parent, header.root, header.debits_hash, header.paid) == (
        0,
        bytes(32),
        markets_leaf(b"\x06" * 32),
        bytes(32),
        0,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 0},
        {"parent": b"\x01" * 32},
        {"sequence": 2, "parent": b"\x01"},
        {"results": [EXPIRED, SETTLED]},
        {"results": [SETTLED, SETTLED]},
        {"credit_rows": [AccountAmount(B, 1), AccountAmount(A, 1)]},
        {"credit_rows": [AccountAmount(A, 2**96)]},
        {"credit_rows": [AccountAmount(A, -1)]},
        {"debit_rows": [AccountAmount(A, 9), AccountAmount(A, 9)]},
        {"debit_rows": [AccountAmount(A, 2**96)]},
        {"stake_rows": [AccountAmount(B, 1), AccountAmount(A, 1)]},
        {"stake_rows": [AccountAmount(b"short", 1)]},
        {"paid": 10},
        {"paid": -1},
    ],
)
def test_what_may_not_be_signed(changes):
    with pytest.raises(LocalProtocolError):
        build(**changes)


def test_a_refunded_request_claims_nothing():
    with pytest.raises(LocalProtocolError):
        result_leaf(dataclasses.replace(EXPIRED, claim=b"x"))


def test_the_clearings_of_the_round_can_be_proven():
    batch = build()
    proof = batch.markets_proof()
    assert proof.leaf == markets_leaf(b"\x0a" * 32)
    assert verify_proof(batch.header.root, proof.leaf, proof.siblings, proof.index)
