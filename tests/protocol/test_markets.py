"""Markets over rounds and epochs: which rule clears them, tranches, announced slots, bid fees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.auction import clear
from protocol.clearing import MIN_BUYERS, Rule, Verdict
from protocol.errors import RejectionReason as Why
from protocol.market_record import markets_hash, parse_record, record_of
from protocol.outcomes import Completed, Expired, Reassigned, ReassignReason
from protocol.params import DEVNET
from tests.protocol.certified import BID_FEE, OPERATORS, PRICE, World, id_of
from tests.protocol.certified import request_body as body_of

CHEAP = 2 * BID_FEE + 2
"""A maximum fee that never buys a slot at the posted price."""


def waiting(count, **fields):
    # Their deadline is an early one: who is expired bounds the view of whoever comes later.
    given = {"slots": 2, "fee": CHEAP, "deadline_view": 50} | fields
    return [body_of(f"waiting {place}", **given) for place in range(count)]


def crowd(world, count=MIN_BUYERS, slots=8, **fields):
    """A first epoch of one clearing with so many buyers that nobody serves; then the second."""
    bodies = waiting(count, **fields)
    world.decide(bodies, world.asks(slots=slots))
    world.decide(outcomes=[Expired(id_of(body)) for body in bodies], next_epoch=2)


def rule_of(world):
    return world.decide([body_of("probe")], world.asks(slots=8)).clearings[0][0].rule


def test_a_crowded_epoch_makes_the_next_one_thick():
    world = World()
    crowd(world)
    assert rule_of(world) is Rule.THICK
    assert rule_of(world) is Rule.THICK  # one buyer, but the rule stands for the epoch


@pytest.mark.parametrize(
    "shape",
    [
        {"count": MIN_BUYERS - 1},
        {"allowlist": (OPERATORS[0],)},  # they set no price, so they are no crowd
    ],
)
def test_a_sparse_epoch_makes_the_next_one_thin(shape):
    world = World()
    crowd(world, **shape)
    assert rule_of(world) is Rule.THIN


def test_a_seller_with_over_a_quarter_of_the_slots_makes_the_next_epoch_thin():
    world = World()
    asks = [world.ask(op, slots=8 if op == OPERATORS[0] else 7) for op in OPERATORS]
    bodies = waiting(MIN_BUYERS)
    world.decide(bodies, asks)
    world.decide(outcomes=[Expired(id_of(body)) for body in bodies], next_epoch=2)
    assert rule_of(world) is Rule.THIN


def test_buyers_of_the_same_epoch_do_not_flip_the_rule():
    world = World()
    world.decide(waiting(3 * MIN_BUYERS), world.asks())
    assert rule_of(world) is Rule.THIN


def test_an_epoch_without_a_clearing_in_between_begins_thin_again():
    world = World()
    crowd(world)
    world.decide(next_epoch=3)
    assert rule_of(world) is Rule.THIN


def thick_world():
    world = World()
    crowd(world)
    return world


def test_a_request_above_an_eighth_of_the_slots_trades_in_tranches():
    world = thick_world()
    small = [body_of(f"small {place}", slots=2, fee=4 * PRICE) for place in range(9)]
    large = body_of("large", slots=7, fee=63 * PRICE)
    first = world.decide([*small, large], world.asks(slots=8))
    (market, result) = first.clearings[0]
    wanted = {buyer.request_id: buyer for buyer in market.buyers}[id_of(large)]
    assert (wanted.slots, wanted.combining) == (4, False)
    fee = world.ledger.open[id_of(large)].bid_fee
    assert wanted.max_fee == (63 * PRICE - fee) * 4 // 7
    assert id_of(large) in {trade.request_id for trade in result.trades}
    assert id_of(large) not in first.awarded
    entry = world.ledger.open[id_of(large)]
    assert (entry.award, len(entry.held.assignments), entry.missing) == (None, 4, 3)

    done = world.decide(asks=world.asks(slots=8))
    (market, _) = done.clearings[0]
    rest = {buyer.request_id: buyer for buyer in market.buyers}[id_of(large)]
    assert (rest.slots, rest.combining) == (3, True)
    assert rest.held == entry.held.provers


def test_slots_of_tranches_are_taken_until_the_request_is_over():
    world = thick_world()
    small = [body_of(f"small {place}", slots=2, fee=4 * PRICE) for place in range(9)]
    large = body_of("large", slots=7, fee=63 * PRICE)
    world.decide([*small, large], world.asks(slots=8))
    bid_fee = world.ledger.open[id_of(large)].bid_fee
    sold = sum(entry.slots - entry.missing for entry in world.ledger.open.values())
    later = world.decide(asks=world.asks(slots=8))
    (market, _) = later.clearings[0]
    assert sum(seller.slots for seller in market.sellers) == 8 * len(OPERATORS) - sold
    free = world.decide(outcomes=[Expired(id_of(large))])
    assert free.closed[0].fee == bid_fee
    assert sum(world.ledger.credits.values()) == 0


def test_large_requests_take_turns_and_who_can_not_pay_loses_it():
    world = thick_world()
    small = [body_of(f"small {place}", slots=2, fee=8 * PRICE) for place in range(9)]
    rich = [body_of(f"rich {place}", slots=9, fee=90 * PRICE) for place in range(2)]
    poor = body_of("poor", slots=9, fee=9 * PRICE // 10)
    turns = []
    for step in range(12):
        bodies = [body_of(f"{step} {place}", slots=2, fee=8 * PRICE) for place in range(9)]
        done = world.decide(
            [*small, *rich, poor, *bodies],
            world.asks(slots=8),
            [complete(world, entry) for entry in awarded(world)],
        )
        (market, result) = done.clearings[0]
        large = {buyer.request_id for buyer in market.buyers} & {id_of(b) for b in [*rich, poor]}
        waits = [r.bidder for r in result.receipts if r.verdict is Verdict.TRANCHE_TURN]
        assert len(large) <= 1
        assert not large & {*waits}
        holders = [entry for entry in world.ledger.open.values() if entry.held is not None]
        assert len(holders) <= 1
        turns += large
        if {id_of(body) for body in rich} <= {
            *world.ledger.closed,
            *(e.request_id for e in awarded(world)),
        }:
            break
    else:
        pytest.fail("two large requests block each other")
    assert id_of(poor) not in world.ledger.closed


def test_tranches_end_in_one_award():
    world = thick_world()
    large = body_of("large", slots=5, fee=50 * PRICE)
    others = iter(range(1_000))
    for _ in range(20):
        small = [body_of(f"s {next(others)}", slots=2, fee=4 * PRICE) for _ in range(12)]
        done = world.decide(
            [large, *small], world.asks(slots=8), [complete(world, e) for e in awarded(world)]
        )
        if id_of(large) in done.awarded:
            break
    award = world.award(large)
    assert len(award.assignments) == 5
    bid_fee = world.ledger.open[id_of(large)].bid_fee
    paid = world.decide(outcomes=[Completed(id_of(large), b"claim", award.provers)])
    (result,) = [row for row in paid.closed if row.request_id == id_of(large)]
    assert result.fee == award.fee + bid_fee <= 50 * PRICE


def awarded(world):
    return [entry for entry in world.ledger.open.values() if entry.award is not None]


def complete(world, entry):
    return Completed(entry.request_id, b"claim", entry.award.provers)


def test_slots_are_announced_once_an_epoch():
    world = World()
    world.decide(asks=world.asks(slots=8))
    for slots in (7, 9):
        done = world.decide([body_of()], [world.ask(OPERATORS[0], slots=slots)])
        assert [skip.reason for skip in done.skipped if skip.reason is Why.SLOTS_CHANGED]
        assert done.clearings == ()
    assert world.decide(asks=world.asks(slots=8), next_epoch=2).awarded
    done = world.decide([body_of("later")], world.asks(slots=9))
    assert done.awarded == (id_of(body_of("later")),)


def test_a_newcomer_sells_few_slots_and_more_as_it_proves():
    world = World()
    world.params = replace(DEVNET, newcomer_slots=2)
    first = body_of("first", slots=8)
    done = world.decide([first], world.asks(slots=20))
    (market, _) = done.clearings[0]
    assert [seller.slots for seller in market.sellers] == [2, 2, 2, 2]
    provers = world.award(first).provers
    done = world.decide(
        [body_of("second", slots=2)],
        world.asks(slots=20),
        [Completed(id_of(first), b"claim", provers)],
    )
    (market, _) = done.clearings[0]
    assert [seller.slots for seller in market.sellers] == [4, 4, 4, 4]


def test_an_operator_sells_no_more_slots_than_its_stake_covers():
    world = World()
    world.params = replace(DEVNET, slot_stake=250 * DEVNET.slot_stake)
    done = world.decide([body_of(slots=10, fee=20 * PRICE)], world.asks(slots=8))
    (market, _) = done.clearings[0]
    assert [seller.slots for seller in market.sellers] == [4, 4, 4, 4]
    done = world.decide([body_of("next", slots=9, fee=20 * PRICE)], world.asks(slots=8))
    (market, result) = done.clearings[0]
    assert sum(seller.slots for seller in market.sellers) == 16 - 10
    assert result.receipts[0].verdict is Verdict.NO_ROOM


def test_who_loses_segments_sells_fewer_slots_for_less_and_comes_back():
    world = World()
    body = body_of(slots=5)
    world.decide([body], world.asks())
    loser = world.award(body).provers[0]
    place = world.award(body).provers.index(loser)
    lost = Reassigned(id_of(body), place, 0, ReassignReason.NO_RESULT)
    done = world.decide([body_of("next")], world.asks(), [lost])
    (market, _) = done.clearings[0]
    (seller,) = [seller for seller in market.sellers if seller.operator == loser]
    assert seller.quality < 10_000
    assert seller.slots < 8
    before = world.ledger.standings[loser]
    world.decide(next_epoch=2)
    assert world.ledger.standings[loser].bad < before.bad


def test_the_treasurys_share_makes_the_weight_of_a_proof():
    world = World()
    body = body_of(slots=4)
    world.decide([body], world.asks())
    world.decide(outcomes=[Completed(id_of(body), b"claim", world.award(body).provers)])
    for operator in OPERATORS:
        assert world.ledger.standings[operator].proven == 1_000


@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(2, 4), st.integers(1, 12)), min_size=10, max_size=16),
    st.lists(st.integers(1, 10), min_size=4, max_size=4),
)
def test_a_record_of_a_round_says_what_was_cleared(salt, bids, prices):
    world = thick_world()
    bodies = [
        body_of(f"{salt} {place}", slots=slots, fee=slots * fee * PRICE)
        for place, (slots, fee) in enumerate(bids)
    ]
    asks = [
        world.ask(op, slots=8, price=price * PRICE)
        for op, price in zip(OPERATORS, prices, strict=True)
    ]
    done = world.decide(bodies, asks)
    assert done.clearings[0][0].rule is Rule.THICK
    again = parse_record(record_of(done.clearings))
    assert tuple(again) == done.clearings
    assert [clear(market) for market, _ in again] == [result for _, result in done.clearings]
    assert markets_hash(again) == markets_hash(done.clearings)
    fees = sum(trade.fee for trade in done.clearings[0][1].trades)
    pays = sum(sum(trade.pays) for trade in done.clearings[0][1].trades)
    assert fees >= pays
