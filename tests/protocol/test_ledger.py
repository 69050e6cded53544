from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.eip712 import digest
from protocol.errors import RejectionReason as Why
from protocol.ledger import (
    Ledger,
    admissible,
    ask_fault,
    listable,
    occupied,
    reserved,
    unserved,
)
from protocol.messages import BuyBid
from protocol.outcomes import Completed, Expired
from protocol.params import DEVNET
from tests.protocol.certified import (
    ALICE,
    BID_FEE,
    BOB,
    CLASS,
    DOMAIN,
    OPERATORS,
    PRICE,
    PROGRAM,
    World,
    amount,
    id_of,
    request_body,
)
from tests.vectors.encoding import address, word

NOW = 1_000_000_000
OLDEST = DEVNET.max_deadline_views * DEVNET.view_ms // 1_000 + 60
VIEW = 50
RICH = 10**30


def verdict(body, *, ledger=None, program=PROGRAM, escrow=RICH, view=VIEW, now=NOW):
    ledger = World().ledger if ledger is None else ledger
    request_id = digest(DOMAIN, body.request)
    return admissible(
        ledger, request_id, body.request, program, escrow, view, now, OPERATORS, DEVNET
    )


def test_a_good_request_is_admissible():
    assert verdict(request_body()) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_hashes": ()}, Why.BAD_SHAPE),
        ({"input_hashes": (word("only"),)}, Why.BAD_SHAPE),
        ({"input_hashes": (word("x"),) * 18}, Why.BAD_SHAPE),
        ({"copies": 2}, Why.COPIES_UNSUPPORTED),
        ({"copies": 0}, Why.COPIES_UNSUPPORTED),
        ({"reserve": amount(5 * BID_FEE)}, Why.FEE_BELOW_BID_FEE),
        ({"reserve": amount(1 << 96)}, Why.AMOUNT_OUT_OF_RANGE),
        ({"reserve": amount(0)}, Why.AMOUNT_OUT_OF_RANGE),
        ({"allowlist": (address("stranger"),)}, Why.ALLOWLIST_EMPTY),
        ({"issued_at": NOW // 1_000 + 61}, Why.ISSUED_AT_OFF),
        ({"issued_at": NOW // 1_000 - OLDEST - 1}, Why.ISSUED_AT_OFF),
        ({"deadline_view": VIEW - 1}, Why.DEADLINE_PAST),
        ({"deadline_view": VIEW + 2}, Why.DEADLINE_TOO_NEAR),
        ({"deadline_view": VIEW + 3_601}, Why.DEADLINE_TOO_FAR),
    ],
)
def test_what_is_not_admissible(fields, reason):
    assert verdict(request_body(**fields)) is reason


@pytest.mark.parametrize(
    "fields",
    [
        {"slots": 2},
        {"slots": 17},
        {"reserve": amount(5 * BID_FEE + 1)},
        {"issued_at": NOW // 1_000 + 60},
        {"issued_at": NOW // 1_000 - OLDEST},
        {"deadline_view": VIEW + 3},
        {"deadline_view": VIEW + 3_600},
        {"allowlist": (OPERATORS[0], address("stranger"))},
    ],
)
def test_what_just_is_admissible(fields):
    assert verdict(request_body(**fields)) is None


def test_an_unknown_program_is_refused():
    assert verdict(request_body(), program=None) is Why.UNKNOWN_PROGRAM


def test_open_requests_bind_escrow():
    world = World()
    world.decide([request_body("first", fee=7 * PRICE)])
    assert reserved(world.ledger, ALICE) == 7 * PRICE
    assert reserved(world.ledger, BOB) == 0
    second = request_body("second", fee=5 * PRICE)
    assert verdict(second, ledger=world.ledger, escrow=12 * PRICE) is None
    assert verdict(second, ledger=world.ledger, escrow=12 * PRICE - 1) is Why.ESCROW_TOO_LOW


def test_a_known_request_does_not_come_again():
    world, body = World(), request_body()
    world.decide([body])
    assert verdict(body, ledger=world.ledger) is Why.ALREADY_KNOWN
    world.decide(asks=world.asks())
    world.decide(outcomes=[Completed(id_of(body), b"claim", world.award(body).provers)])
    assert world.ledger.open == {}
    assert verdict(body, ledger=world.ledger) is Why.ALREADY_KNOWN


def test_closed_requests_are_forgotten_when_they_could_not_come_anyway():
    world = World()
    body = request_body("old", deadline_view=100)
    world.decide([body], world.asks())
    world.decide(outcomes=[Completed(id_of(body), b"claim", world.award(body).provers)])
    near = request_body("near", deadline_view=100 + DEVNET.max_deadline_views)
    world.decide([near])
    assert id_of(body) in world.ledger.closed
    far = request_body("far", deadline_view=101 + DEVNET.max_deadline_views)
    world.decide([far])
    assert world.ledger.view_floor == 101
    assert world.ledger.closed == {}
    assert verdict(body, ledger=world.ledger, view=world.ledger.view_floor) is Why.DEADLINE_PAST
    again = world.decide([body])
    assert again.admitted == ()
    assert [skip.reason for skip in again.skipped] == [Why.ALREADY_KNOWN]


def test_expiry_raises_the_certified_time():
    world, body = World(), request_body(deadline_view=100)
    world.decide([body])
    world.decide(outcomes=[Expired(id_of(body))])
    assert world.ledger.view_floor == 101
    assert world.ledger.closed == {}


def pool_of(*bodies):
    return {digest(DOMAIN, body.bid): (id_of(body), body.request) for body in bodies}


def test_a_member_lists_only_what_its_owners_escrow_covers():
    bodies = [request_body(f"r{place}", fee=6 * PRICE) for place in range(3)]
    pool = pool_of(*bodies, request_body("other", requester=BOB, fee=6 * PRICE))
    escrow = {ALICE: 12 * PRICE, BOB: 6 * PRICE}
    listed = listable(World().ledger, pool, lambda owner: escrow[owner], VIEW, DEVNET)
    owners = [pool[bid][1].requester for bid in listed]
    assert sorted(owners) == sorted([ALICE, ALICE, BOB])
    assert list(listed) == sorted(listed)
    alices = [bid for bid in sorted(pool) if pool[bid][1].requester == ALICE]
    assert [bid for bid in listed if pool[bid][1].requester == ALICE] == alices[:2]


def test_a_member_lists_one_bid_per_request_and_none_that_is_late_or_known():
    world, known = World(), request_body("known")
    world.decide([known])
    twice = request_body("twice")
    late = request_body("late", deadline_view=VIEW + 2)
    pool = pool_of(known, twice, late)
    second = replace(twice, bid=BuyBid(id_of(twice), amount(1), word("another")))
    pool |= pool_of(second)
    listed = listable(world.ledger, pool, lambda _: RICH, VIEW, DEVNET)
    assert [pool[bid][0] for bid in listed] == [id_of(twice)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 30))
def test_listing_never_overdraws(reserves, escrow):
    bodies = [request_body(f"r{place}", fee=fee) for place, fee in enumerate(reserves)]
    pool = pool_of(*bodies)
    listed = listable(World().ledger, pool, lambda _: escrow, VIEW, DEVNET)
    assert sum(int.from_bytes(pool[bid][1].reserve, "big") for bid in listed) <= escrow


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"round": 2}, Why.STALE),
        ({"epoch": 2}, Why.STALE),
        ({"slots": 0}, Why.ZERO_SLOTS),
        ({"price": 0}, Why.AMOUNT_OUT_OF_RANGE),
        ({"price": 1 << 96}, Why.AMOUNT_OUT_OF_RANGE),
        ({"class_id": word("class")}, Why.UNKNOWN_CLASS),
        ({"slots": 7}, Why.SLOTS_CHANGED),
    ],
)
def test_asks_are_for_the_next_round_and_the_slots_announced(fields, reason):
    world = World()
    ask = world.ask(OPERATORS[0], **fields)
    assert ask_fault(ask, {OPERATORS[0]: 8} if ask.slots else {}, world.ledger) is reason


def test_a_snapshot_holds_all_of_the_ledger():
    world, body = World(), request_body(fee=1 << 95)
    world.decide([body], world.asks())
    world.decide([request_body("waits", fee=5 * BID_FEE + 1)])
    done = Completed(id_of(body), b"claim", world.award(body).provers)
    for outcomes in ([], [done]):
        world.decide(outcomes=outcomes)
        raw = msgspec.json.encode(world.ledger)
        assert msgspec.json.decode(raw, type=Ledger) == world.ledger


def test_occupied_and_unserved_follow_the_requests():
    world, body = World(), request_body(slots=5)
    world.decide([body])
    assert unserved(world.ledger, CLASS) == 1
    assert occupied(world.ledger.open.values(), CLASS) == {}
    world.decide(asks=world.asks())
    assert unserved(world.ledger, CLASS) == 0
    assert sum(occupied(world.ledger.open.values(), CLASS).values()) == 5
    assert occupied(world.ledger.open.values(), word("another class")) == {}
