from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.hashing import keccak
from protocol.outcomes import ReassignReason
from protocol.reputation import (
    FAILURES,
    MAX_WEIGHT,
    MIN_QUALITY,
    NEWCOMER,
    SLOT,
    Standing,
    forgiven,
    lost,
    proved,
    quality,
    reputation_root,
    slot_cap,
    weight_of,
)
from protocol.types import ZERO_HASH
from tests.protocol.certified import OPERATORS

EVENTS = st.one_of(st.integers(SLOT, MAX_WEIGHT), st.sampled_from(ReassignReason), st.just("epoch"))


def after(events, standing=NEWCOMER):
    for event in events:
        if event == "epoch":
            standing = forgiven(standing)
        elif isinstance(event, ReassignReason):
            standing = lost(standing, event)
        else:
            standing = proved(standing, event)
    return standing


@given(st.lists(EVENTS, max_size=200))
def test_numbers_stay_in_their_bounds(events):
    standing = after(events)
    assert 1 <= quality(standing) <= 10_000
    assert 0 <= standing.good <= standing.proven
    assert standing.good <= 33 * MAX_WEIGHT  # what fades bounds what counts
    assert standing.bad <= 33 * max(FAILURES.values())
    assert (slot_cap(standing, 8) == 0) == (quality(standing) < MIN_QUALITY)


@given(st.lists(EVENTS, max_size=60), st.integers(SLOT, MAX_WEIGHT))
def test_a_proof_never_lowers_and_a_loss_never_raises_quality_or_cap(events, weight):
    standing = after(events)
    assert quality(proved(standing, weight)) >= quality(standing)
    assert slot_cap(proved(standing, weight), 8) >= slot_cap(standing, 8)
    assert quality(forgiven(standing)) >= quality(standing)
    # A slight loss may fade more than it adds, where there is much to fade.
    assert quality(lost(standing, ReassignReason.NO_RESULT)) <= quality(standing)


@given(st.lists(EVENTS, max_size=60))
def test_recent_outcomes_weigh_more(events):
    early = after([ReassignReason.NO_RESULT, *[SLOT] * 40], after(events))
    late = after([*[SLOT] * 40, ReassignReason.NO_RESULT], after(events))
    assert quality(early) > quality(late)


def test_who_keeps_losing_is_shut_out_and_comes_back_with_time():
    standing, losses = NEWCOMER, 0
    while slot_cap(standing, 8):
        standing, losses = lost(standing, ReassignReason.NO_RESULT), losses + 1
    assert 8 < losses < 40
    epochs = 0
    while not slot_cap(standing, 8):
        standing, epochs = forgiven(standing), epochs + 1
    assert 1 <= epochs <= 4
    for _ in range(60):
        standing = forgiven(standing)
    assert quality(standing) == 10_000


def test_a_newcomers_cap_grows_slot_by_slot():
    standing = NEWCOMER
    assert slot_cap(standing, 4) == 4
    for proven in range(1, 10):
        standing = proved(standing, SLOT)
        assert slot_cap(standing, 4) == 4 + proven


def test_a_loss_before_liability_is_slight():
    slight = lost(NEWCOMER, ReassignReason.NOT_ACCEPTED)
    heavy = lost(NEWCOMER, ReassignReason.NO_RESULT)
    assert quality(heavy) < quality(slight) < 10_000


@pytest.mark.parametrize(
    ("protocol_fee", "bid_fee", "weight"),
    [(5, 5, SLOT), (10, 5, 2 * SLOT), (7, 5, 1_400), (10**18, 5, MAX_WEIGHT)],
)
def test_weight_counts_by_what_the_protocol_got(protocol_fee, bid_fee, weight):
    assert weight_of(protocol_fee, bid_fee) == weight


def test_the_root_is_over_operators_and_weights_in_order():
    rows = {OPERATORS[1]: Standing(1, 2, 3), OPERATORS[0]: NEWCOMER}
    leaves = [
        keccak(
            b"provernet/standing/1"
            + operator
            + b"".join(value.to_bytes(8, "big") for value in (row.proven, row.good, row.bad))
        )
        for operator, row in sorted(rows.items())
    ]
    assert reputation_root(rows) == keccak(leaves[0] + leaves[1])
    assert reputation_root({}) == ZERO_HASH
