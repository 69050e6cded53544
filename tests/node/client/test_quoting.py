from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from node.client.quoting import _IDS, Quote, _least, quote, slots_at_once
from protocol.auction import Buyer, MarketInput, Seller, clear
from protocol.clearing import Rule, Verdict, tie_rank
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


def wins(market, slots, max_fee, identity=_IDS[0]):
    """Whether a request, or its first tranche, would have been served."""
    wanted = slots_at_once(slots, market)
    left = max(0, max_fee - bid_fee_of(slots, market.price, BPS))
    buyer = Buyer(identity, wanted, Wei(left * wanted // slots), (), (), True)
    receipts = clear(replace(market, buyers=(*market.buyers, buyer))).receipts
    return {r.bidder: r.verdict for r in receipts}[identity] is Verdict.WON


@given(markets(), st.integers(2, 9), st.sampled_from(_IDS))
def test_the_least_fee_wins_and_one_wei_less_does_not(market, slots, identity):
    least = _least(slots, market, identity, BPS)
    if least is None:
        assert not any(wins(market, slots, fee, identity) for fee in (10**4, 10**6, 10**9))
    else:
        assert wins(market, slots, least, identity)
        assert not wins(market, slots, least - 1, identity)


def crowded(*buyers):
    """A thick market of 32 slots, of which a request trades for four at a time."""
    fees = (9, 8, 7, 6, 5)
    return MarketInput(
        class_id=CLASS,
        rule=Rule.THICK,
        price=Wei(5),
        recent=(),
        beacon=Hash(word("beacon")),
        buyers=(
            *[Buyer(Hash(word(f"b{fee}")), 4, Wei(4 * fee), (), (), True) for fee in fees],
            *buyers,
        ),
        waiting=(),
        sellers=tuple(Seller(operator, 8, Wei(1), 10_000) for operator in OPERATORS),
    )


def test_a_large_request_is_quoted_by_its_first_tranche():
    market = crowded()
    assert (slots_at_once(3, market), slots_at_once(20, market)) == (3, 4)
    assert slots_at_once(20, replace(market, rule=Rule.THIN)) == 20
    # 16 slots are sold, so the fourth of the others is left out: it bids 6 a slot, and a tie with
    # it is chance. The bid fee is 1 wei a slot.
    (draws,) = quote(20, [market], BPS).clearings
    assert set(draws) <= {20 + 20 * 6, 20 + 20 * 6 + 5}


def test_only_one_large_request_buys_at_a_time():
    other = Buyer(Hash(word("large")), 4, Wei(40), (), (), False)
    ranks = {
        identity: tie_rank(crowded().beacon, identity) for identity in (*_IDS, other.request_id)
    }
    early = [identity for identity in _IDS if ranks[identity] < ranks[other.request_id]]
    (draws,) = quote(20, [crowded(other)], BPS).clearings
    assert 0 < len(early) < len(_IDS)
    assert [identity for identity, fee in zip(_IDS, draws, strict=True) if fee] == early
    # Who holds slots goes on, whatever the beacon says.
    holding = replace(other, held=(OPERATORS[0],))
    assert quote(20, [crowded(holding)], BPS).clearings == ((None,) * 3,)
    assert None not in quote(4, [crowded(holding)], BPS).clearings[0]


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
    found = Quote(2, ((9, None), (5,)))
    assert [found.fee_for(percent) for percent in (30, 60, 90)] == [5, 9, None]
    assert [found.chance(fee) for fee in (4, 5, 9, 10**18)] == [0, 33, 66, 66]
