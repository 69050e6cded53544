"""Sealed bids: whoever opens them with whichever good shares gets the same, or nothing does."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.box import BidCiphers, SealingKey
from protocol.eip712 import Domain, digest
from protocol.hashing import keccak
from protocol.messages import AskBid, BuyBid
from protocol.sealing import (
    Offer,
    Terms,
    commitment_holds,
    is_ask,
    is_share,
    open_bid,
    own_share,
    seal,
    threshold,
)
from protocol.shamir import PRIME, deal, polynomial
from tests.sim.crypto import HashCipher
from tests.vectors.encoding import address, word

DOMAIN = Domain(31_337, address("registry"))
KEYS = [SealingKey(word(f"key {place}")) for place in range(16)]
BUY = Terms(1, 7, word("class"), address("alice"), word("request"))
ASK = Terms(1, 7, word("class"), address("operator"))
CIPHER = BidCiphers()


def dealt(members=4, terms=BUY, offer=None, seed="seed", domain=DOMAIN):
    offer = offer or (Offer(5) if terms is BUY else Offer(5, 8))
    keys = [key.public_key for key in KEYS[:members]]
    return seal(domain, terms, offer, keys, word(seed), CIPHER)


def shares_of(sealed, domain=DOMAIN):
    found = {
        place: own_share(domain, sealed, place, key.public_key, BidCiphers(key))
        for place, key in enumerate(KEYS[: len(sealed.boxes)])
    }
    return {place: share for place, share in found.items() if share is not None}


# ---------------------------------------------------------------------- Shamir


@given(
    st.lists(st.integers(0, PRIME - 1), min_size=1, max_size=6),
    st.integers(0, 10),
    st.randoms(use_true_random=False),
)
def test_any_points_of_a_polynomial_give_all_of_it(coefficients, more, chance):
    count = len(coefficients) + more
    shares = deal(coefficients, count)
    chosen = chance.sample(range(count), len(coefficients))
    secret, found = polynomial({place: shares[place] for place in chosen}, count)
    assert (secret, found) == (coefficients[0], shares)
    # An independent account: the value at x is the sum of the coefficients times powers of x.
    powers = [
        sum(c * pow(place + 1, power, PRIME) for power, c in enumerate(coefficients)) % PRIME
        for place in range(count)
    ]
    assert list(shares) == powers


def test_fewer_shares_than_the_threshold_fit_every_secret():
    shares = deal([11, 22, 33], 7)
    known = {0: shares[0], 4: shares[4]}
    for secret in (0, 1, PRIME - 1):
        # A polynomial of the same degree through what is known, with any secret.
        third = _through({-1: secret, **known}, 6)
        assert polynomial({**known, 6: third}, 7)[0] == secret


def _through(points, place):
    """Lagrange, written out: the value at place + 1 of the polynomial through these places."""
    total = 0
    for at, value in points.items():
        term = value
        for other in points:
            if other != at:
                term = term * (place - other) * pow(at - other, -1, PRIME)
        total += term
    return total % PRIME


def test_the_field_is_of_the_largest_prime_below_two_to_the_256():
    assert PRIME < 2**256
    for base in (2, 3, 5, 7, 11, 13, 17):
        assert pow(base, PRIME - 1, PRIME) == 1
        assert all(pow(base, 2**256 - gap - 1, 2**256 - gap) != 1 for gap in range(1, 189))


# ---------------------------------------------------------------------- opening


@settings(max_examples=25)
@given(st.sampled_from([1, 2, 4, 7, 16]), st.integers(0, 2**96 - 1), st.integers(1, 2**32 - 1))
def test_a_bid_opens_to_what_was_sealed(members, amount, slots):
    for terms, offer in ((BUY, Offer(amount)), (ASK, Offer(amount, slots))):
        sealed = dealt(members, terms, offer, seed=f"{amount} {slots}")
        bid = open_bid(DOMAIN, sealed, shares_of(sealed), CIPHER)
        assert commitment_holds(DOMAIN, sealed, bid)
        if is_ask(sealed):
            assert (bid.epoch, bid.round, bid.class_id, bid.operator) == (
                sealed.epoch,
                sealed.round,
                sealed.class_id,
                sealed.bidder,
            )
            assert (int.from_bytes(bid.price, "big"), bid.slots) == (amount, slots)
        else:
            assert isinstance(bid, BuyBid)
            assert bid.request_id == sealed.request_id
            assert int.from_bytes(bid.max_fee, "big") == amount


@pytest.mark.parametrize("members", [4, 7])
def test_every_subset_of_f_plus_1_good_shares_opens_to_the_same(members):
    sealed = dealt(members)
    shares = shares_of(sealed)
    subsets = combinations(shares, threshold(members))
    bids = {open_bid(DOMAIN, sealed, {p: shares[p] for p in chosen}, CIPHER) for chosen in subsets}
    assert len(bids) == 1
    assert isinstance(bids.pop(), BuyBid)


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_bad_dealing_is_void_whichever_shares_are_used(wrong):
    """One share lies off the polynomial that the others are on, and its hash says so."""
    sealed = dealt(4)
    shares = shares_of(sealed)
    shares[wrong] = word("off the polynomial")
    hashes = list(sealed.share_hashes)
    hashes[wrong] = keccak(b"provernet/share/1" + bytes([wrong]) + shares[wrong])
    sealed = msgspec.structs.replace(sealed, share_hashes=tuple(hashes))
    assert all(is_share(sealed, place, share) for place, share in shares.items())
    for chosen in combinations(shares, threshold(4)):
        assert open_bid(DOMAIN, sealed, {p: shares[p] for p in chosen}, CIPHER) is None


def test_a_dealing_with_a_hash_that_nobody_can_meet_is_void():
    sealed = dealt(4)
    shares = shares_of(sealed)
    hashes = (*sealed.share_hashes[:3], word("no share's"))
    sealed = msgspec.structs.replace(sealed, share_hashes=hashes)
    assert not is_share(sealed, 3, shares[3])
    for chosen in combinations(range(3), threshold(4)):
        assert open_bid(DOMAIN, sealed, {p: shares[p] for p in chosen}, CIPHER) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"commitment": word("another")}, id="commitment"),
        pytest.param({"ciphertext": bytes(84)}, id="ciphertext"),
        pytest.param({"bidder": address("thief")}, id="bidder"),
        pytest.param({"request_id": word("other")}, id="request"),
        pytest.param({"class_id": word("other")}, id="class"),
        pytest.param({"round": 8}, id="round"),
        pytest.param({"epoch": 2}, id="epoch"),
    ],
)
def test_what_stands_outside_is_bound_to_what_is_inside(change):
    """A copied dealing opens for nobody else, nowhere else, and no member lists it."""
    sealed = dealt(4)
    shares = shares_of(sealed)
    copied = msgspec.structs.replace(sealed, **change)
    assert open_bid(DOMAIN, copied, shares, CIPHER) is None
    if not change.keys() & {"commitment", "ciphertext"}:
        assert shares_of(copied) == {}
    assert open_bid(Domain(1, DOMAIN.registry), sealed, shares, CIPHER) is None


def test_a_members_share_is_refused_unless_it_decrypts_and_has_its_hash():
    sealed = dealt(4)
    good = shares_of(sealed)
    assert len(good) == 4
    broken = msgspec.structs.replace(sealed, boxes=(bytes(48), *sealed.boxes[1:]))
    assert shares_of(broken).keys() == {1, 2, 3}
    swapped = msgspec.structs.replace(sealed, boxes=tuple(reversed(sealed.boxes)))
    assert shares_of(swapped) == {}
    hashes = (word("other"), *sealed.share_hashes[1:])
    assert shares_of(msgspec.structs.replace(sealed, share_hashes=hashes)).keys() == {1, 2, 3}


def test_a_buyers_bid_has_one_form_alone():
    """Slots in it would be a second way to write the same bid."""
    sealed = dealt(4, offer=Offer(5, 3))
    assert open_bid(DOMAIN, sealed, shares_of(sealed), CIPHER) is None


def test_a_registered_key_that_is_of_no_use_keeps_only_its_owner_out():
    useless = bytes(32)  # a point of small order
    keys = [useless, *(key.public_key for key in KEYS[1:4])]
    sealed = seal(DOMAIN, BUY, Offer(5), keys, word("seed"), CIPHER)
    shares = shares_of(sealed)
    assert shares.keys() == {1, 2, 3}
    assert isinstance(open_bid(DOMAIN, sealed, shares, CIPHER), BuyBid)


def test_nothing_of_a_bid_shows_and_two_dealings_share_nothing():
    one, other = dealt(seed="one"), dealt(seed="other")
    assert digest(DOMAIN, one) != digest(DOMAIN, other)
    for name in ("commitment", "ephemeral", "ciphertext", "boxes", "share_hashes"):
        assert getattr(one, name) != getattr(other, name)
    assert len(dealt(offer=Offer(1)).ciphertext) == len(dealt(offer=Offer(2**96 - 1)).ciphertext)


def test_f_shares_say_nothing_that_opens():
    sealed = dealt(7)
    shares = dict(list(shares_of(sealed).items())[: threshold(7) - 1])
    assert open_bid(DOMAIN, sealed, shares, CIPHER) is None


def test_the_simulators_cipher_keeps_the_same_contract():
    keys = [word(f"sim {place}") for place in range(4)]
    sealed = seal(DOMAIN, ASK, Offer(5, 8), keys, word("seed"), HashCipher())
    shares = {
        place: own_share(DOMAIN, sealed, place, key, HashCipher(key))
        for place, key in enumerate(keys)
    }
    assert own_share(DOMAIN, sealed, 0, keys[0], HashCipher(keys[1])) is None
    bid = open_bid(DOMAIN, sealed, shares, HashCipher())
    assert isinstance(bid, AskBid)
    assert bid.slots == 8
    moved = msgspec.structs.replace(sealed, round=9)
    assert own_share(DOMAIN, moved, 0, keys[0], HashCipher(keys[0])) is None
