"""The fast libraries against py_ecc and eth_account, and what must never verify."""

from __future__ import annotations

import hashlib

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls import G2ProofOfPossession as Reference
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.optimized_bls12_381 import normalize

from node.crypto import (
    BLS_DST,
    SECP256K1_ORDER,
    BlsKey,
    Crypto,
    SessionKey,
    compressed_g1,
    eip2537_g1,
    eip2537_g2,
)
from protocol.errors import LocalProtocolError

IDENTITY_G1 = b"\xc0" + bytes(47)
IDENTITY_G2 = b"\xc0" + bytes(95)
DIGEST = hashlib.sha256(b"digest").digest()


def bls_key(number):
    return BlsKey(hashlib.sha256(b"bls %d" % number).digest()[:31].rjust(32, b"\0"))


def session_key(number):
    return SessionKey(hashlib.sha256(b"session %d" % number).digest())


@pytest.fixture
def crypto():
    return Crypto()


def test_bls_is_byte_identical_to_the_reference(crypto):
    assert Reference.DST == BLS_DST
    keys = [bls_key(number) for number in range(3)]
    secrets = [int.from_bytes(key.secret, "big") for key in keys]
    assert [key.public_key for key in keys] == [Reference.SkToPk(secret) for secret in secrets]
    signatures = [key.sign(DIGEST) for key in keys]
    assert signatures == [Reference.Sign(secret, DIGEST) for secret in secrets]
    aggregate = crypto.aggregate(signatures)
    assert aggregate == Reference.Aggregate(signatures)
    assert crypto.verify_aggregate([key.public_key for key in keys], DIGEST, aggregate)


def test_eip2537_form_is_the_references_coordinates():
    key = bls_key(1)
    x, y = normalize(pubkey_to_G1(key.public_key))
    assert eip2537_g1(key.public_key) == b"".join(int(n).to_bytes(64, "big") for n in (x.n, y.n))
    signature = key.sign(DIGEST)
    x, y = normalize(signature_to_G2(signature))
    coordinates = (*x.coeffs, *y.coeffs)
    assert eip2537_g2(signature) == b"".join(int(n).to_bytes(64, "big") for n in coordinates)
    assert compressed_g1(eip2537_g1(key.public_key)) == key.public_key


@pytest.mark.parametrize("point", [bytes(128), bytes(127), b"\x01" * 128, b"\x01" + bytes(127)])
def test_only_points_are_public_keys(point):
    with pytest.raises(ValueError, match="EIP-2537"):
        compressed_g1(point)


@pytest.mark.parametrize("convert", [eip2537_g1, eip2537_g2])
@pytest.mark.parametrize("raw", [b"", IDENTITY_G1, IDENTITY_G2, b"\xff" * 48, b"\xff" * 96])
def test_no_identity_goes_on_chain(convert, raw):
    with pytest.raises(ValueError, match="not a BLS"):
        convert(raw)


def test_votes_that_do_not_verify(crypto):
    one, two = bls_key(1), bls_key(2)
    signature = one.sign(DIGEST)
    assert crypto.verify(one.public_key, DIGEST, signature)
    assert not crypto.verify(two.public_key, DIGEST, signature)
    assert not crypto.verify(one.public_key, DIGEST[::-1], signature)
    assert not crypto.verify(one.public_key, DIGEST[:31], signature)
    assert not crypto.verify(one.public_key, DIGEST, two.sign(DIGEST))
    both = crypto.aggregate([signature, two.sign(DIGEST)])
    assert crypto.verify_aggregate([one.public_key, two.public_key], DIGEST, both)
    assert not crypto.verify_aggregate([one.public_key], DIGEST, both)
    assert not crypto.verify_aggregate([one.public_key, one.public_key], DIGEST, both)
    assert not crypto.verify_aggregate([], DIGEST, IDENTITY_G2)


def test_identity_and_non_canonical_points_are_refused(crypto):
    key = bls_key(1)
    assert not crypto.verify(IDENTITY_G1, DIGEST, IDENTITY_G2)
    assert not crypto.verify(key.public_key, DIGEST, IDENTITY_G2)
    # The library reads all ones as the identity, and 47 zero bytes as no point at all.
    assert not crypto.verify(b"\xff" * 48, DIGEST, b"\xff" * 96)
    assert not crypto.verify(b"\x80" + bytes(47), DIGEST, key.sign(DIGEST))


def test_keys_that_cancel_each_other_out(crypto):
    key = bls_key(1)
    order = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
    inverse = BlsKey((order - int.from_bytes(key.secret, "big")).to_bytes(32, "big"))
    keys = [key.public_key, inverse.public_key]
    assert not crypto.verify_aggregate(keys, DIGEST, key.sign(DIGEST))
    assert not crypto.verify_aggregate(keys, DIGEST, IDENTITY_G2)


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
def test_garbage_never_raises(key, digest, signature):
    crypto = Crypto()
    assert not crypto.verify(key, digest, signature)
    crypto.recover(digest, signature)


def test_only_checked_signatures_are_aggregated(crypto):
    for signatures in ([], [IDENTITY_G2], [b"\x01" * 96]):
        with pytest.raises(LocalProtocolError):
            crypto.aggregate(signatures)


@settings(max_examples=30)
@given(st.integers(1, 2**255), st.binary(min_size=32, max_size=32))
def test_session_signatures_are_ethereums(number, digest):
    key = SessionKey(number.to_bytes(32, "big"))
    account = Account.from_key(key.secret)
    assert key.address.hex() == account.address[2:].lower()
    signature = key.sign(digest)
    reference = account.unsafe_sign_hash(digest)
    assert signature == bytes(reference.signature)
    assert Crypto().recover(digest, signature) == key.address


def test_one_signature_has_one_form(crypto):
    key = session_key(1)
    signature = key.sign(DIGEST)
    s = int.from_bytes(signature[32:64], "big")
    flipped = signature[:32] + (SECP256K1_ORDER - s).to_bytes(32, "big")
    assert s <= SECP256K1_ORDER // 2
    assert crypto.recover(DIGEST, flipped + bytes([55 - signature[64]])) is None
    assert crypto.recover(DIGEST, signature[:64] + bytes([signature[64] - 27])) is None
    assert crypto.recover(DIGEST, signature[:64]) is None
    assert crypto.recover(DIGEST, bytes(64) + b"\x1b") is None
    assert crypto.recover(DIGEST[::-1], signature) != key.address


@pytest.mark.parametrize("kind", [SessionKey, BlsKey])
@pytest.mark.parametrize("secret", [b"", bytes(32), bytes(31), b"\xff" * 32])
def test_keys_out_of_range(kind, secret):
    with pytest.raises(ValueError, match="key is 32 bytes"):
        kind(secret)


@pytest.mark.parametrize("key", [session_key(1), bls_key(1)])
def test_only_digests_are_signed(key):
    with pytest.raises(LocalProtocolError):
        key.sign(b"a text")


def test_random_keys_differ():
    assert SessionKey.random().secret != SessionKey.random().secret
    assert BlsKey.random().secret != BlsKey.random().secret
