from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from node.client.quoting import _IDS, Quote, _least, quote
from protocol.auction import Buyer, MarketInput, Seller, clear
from protocol.clearing import Rule, Verdict
from protocol.ledger import bid_fee_of
from protocol.types import Hash, Wei
from tests.protocol.certified import CLASS, OPERATORS
from tests.vectors.encoding import word

BPS = 50


@st.composite
def markets(draw):
    """Markets of a class as records hold them."""
    sellers = draw(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 900)), max_size=4))
    buyers = draw(st.lists(st.tuples(st.integers(2, 5), st.integers(1, 1_200)), max_size=8))
    return MarketInput(
        class_id=CLASS,
        rule=draw(st.sampled_from(Rule)),
        price=Wei(draw(st.integers(1, 800))),
        recent=(),
        beacon=Hash(word(f"beacon {draw(st.integers(0, 9))}")),
        buyers=tuple(
            Buyer(Hash(word(f"b{place}")), slots, Wei(slots * fee), (), (), True)
            for place, (slots, fee) in enumerate(buyers)
        ),
        waiting=(),
        sellers=tuple(
            Seller(operator, slots, Wei(ask), 10_000)
            for operator, (slots, ask) in zip(OPERATORS, sellers, strict=False)
        ),
    )


def wins(market, slots, max_fee):
    """Whether a request would have been served, when it wants all of its slots at once."""
    limit = Wei(max(0, max_fee - bid_fee_of(slots, market.price, BPS)))
    buyer = Buyer(_IDS[0], slots, limit, (), (), True)
    receipts = clear(replace(market, buyers=(*market.buyers, buyer))).receipts
    return {r.bidder: r.verdict for r in receipts}[_IDS[0]] is Verdict.WON


@given(markets(), st.integers(2, 3))
def test_the_least_fee_wins_and_one_wei_less_does_not(market, slots):
    room = sum(seller.slots for seller in market.sellers)
    if market.rule is Rule.THICK and room < 8 * slots:
        return  # it would trade in tranches
    least = _least(slots, market, _IDS[0], BPS)
    if least is None:
        assert not wins(market, slots, 10**9)
    else:
        assert wins(market, slots, least)
        assert not wins(market, slots, least - 1)


@given(st.lists(markets(), max_size=4))
def test_chance_and_fee_say_the_same(given_markets):
    found = quote(2, given_markets, BPS)
    if not given_markets:
        assert (found.chance(5), found.fee_for(50)) == (None, None)
        return
    for percent in (1, 50, 80, 100):
        fee = found.fee_for(percent)
        if fee is not None:
            assert found.chance(fee) >= percent
            assert found.chance(fee - 1) < max(percent, found.chance(fee))


def test_clearings_that_no_fee_would_have_changed_stand_last():
    found = Quote(2, (5, 9, None))
    assert [found.fee_for(percent) for percent in (30, 60, 90)] == [5, 9, None]
    assert [found.chance(fee) for fee in (4, 5, 9, 10**18)] == [0, 33, 66, 66]
