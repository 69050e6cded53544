from __future__ import annotations

import pytest

from protocol.outcomes import Completed, Expired
from protocol.probation import on_probation, sponsor_of, sponsored
from tests.protocol.certified import (
    BID_FEE,
    OPERATORS,
    PRICE,
    World,
    id_of,
    request_body,
    table,
)
from tests.vectors.encoding import address

NEWCOMER = OPERATORS[0]
SPONSOR = sponsor_of(NEWCOMER, table())
"""In this table the session account is the operator's own."""


def probe(name="probe", **fields):
    given = {"requester": SPONSOR, "allowlist": (NEWCOMER,), "slots": 2, "fee": 4 * PRICE}
    return request_body(name, **(given | fields))


def test_one_of_the_others_sponsors_a_newcomer_and_the_seed_draws_it():
    assert SPONSOR in OPERATORS[1:]
    assert len({sponsor_of(NEWCOMER, table(epoch)) for epoch in range(30)}) == 3
    assert sponsor_of(NEWCOMER, table(1, (NEWCOMER,))) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"requester": next(op for op in OPERATORS[1:] if op != SPONSOR)},
        {"requester": address("alice")},
        {"allowlist": ()},
        {"allowlist": (address("stranger"),)},
        {"allowlist": tuple(sorted(OPERATORS[:2]))},
        {"slots": 3},
    ],
)
def test_other_requests_are_no_probation(fields):
    ledger = World().ledger
    assert sponsored(probe().request, ledger, table()) == (SPONSOR, NEWCOMER)
    assert sponsored(probe(**fields).request, ledger, table()) is None


def test_the_treasury_pays_the_sponsor_back_as_far_as_batches_bring_something():
    world, body = World(), probe()
    world.decide([body], world.asks())
    done = world.decide(outcomes=[Completed(id_of(body), b"claim", world.award(body).provers)])
    fee = 2 * (PRICE + BID_FEE)
    assert [result.fee for result in done.closed] == [fee]
    # The newcomer's pay, and all of the bid fee back at once.
    assert world.ledger.credits == {NEWCOMER: 2 * PRICE, SPONSOR: 2 * BID_FEE}
    assert world.ledger.owed == {SPONSOR: 2 * PRICE}
    assert done.header.paid == fee
    assert world.ledger.treasury == 0
    assert world.ledger.standings[NEWCOMER].proven == 2_000

    other = request_body("other", slots=5)
    world.decide([other], world.asks())
    bid_fee = world.ledger.open[id_of(other)].bid_fee
    later = world.decide(outcomes=[Expired(id_of(other))])
    assert later.header.paid == bid_fee
    assert world.ledger.owed == {SPONSOR: 2 * PRICE - bid_fee}


def test_a_newcomer_is_tried_once_an_epoch_until_it_has_proven_something():
    world = World()
    first, second = probe("first"), probe("second")
    world.decide([first, second], world.asks())
    sponsors = sorted(world.ledger.open[id_of(body)].sponsor for body in (first, second))
    assert sponsors == [b"", SPONSOR]
    assert not on_probation(NEWCOMER, world.ledger)
    world.decide(next_epoch=2)
    assert on_probation(NEWCOMER, world.ledger)
    world.decide(outcomes=[Completed(id_of(first), b"claim", world.award(first).provers)])
    assert not on_probation(NEWCOMER, world.ledger)
