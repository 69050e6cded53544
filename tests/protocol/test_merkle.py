"""The batch tree against a second, recursive definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.merkle import merkle_proof, merkle_root, verify_proof
from tests.protocol import strategies as s

leaf_lists = st.lists(s.hashes, min_size=1, max_size=20)


def plain_root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    right = leaves[half:] + [bytes(32)] * (2 * half - len(leaves))
    return keccak(plain_root(leaves[:half]) + plain_root(right))


@given(leaf_lists)
def test_root_and_every_proof(leaves):
    root = merkle_root(leaves)
    assert root == plain_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = merkle_proof(leaves, index)
        assert verify_proof(root, leaf, proof, index)
        assert not verify_proof(root, leaf, proof, index + len(leaves) * 32)


@given(leaf_lists, s.hashes, st.data())
def test_another_leaf_or_place_is_not_proven(leaves, other, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = merkle_proof(leaves, index)
    root = merkle_root(leaves)
    assert verify_proof(root, other, proof, index) == (other == leaves[index])
    if proof:
        swapped = (bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:])
        assert not verify_proof(root, leaves[index], swapped, index)
    assert not verify_proof(root, leaves[index][:31], proof, index)
    assert not verify_proof(root, leaves[index], proof, -1)


@pytest.mark.parametrize("leaves", [[], [b"short"]])
def test_no_tree_without_leaves(leaves):
    with pytest.raises(LocalProtocolError):
        merkle_root(leaves)


def test_no_proof_outside_the_tree():
    with pytest.raises(LocalProtocolError):
        merkle_proof([bytes(32)], 1)
