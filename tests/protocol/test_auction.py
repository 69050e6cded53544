from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.auction import (
    Buyer,
    MarketInput,
    Seller,
    clear_thin,
    seller_payment,
)
from protocol.clearing import Verdict, tie_rank
from protocol.errors import LocalProtocolError
from protocol.types import Hash, Wei
from tests.vectors.auction_vectors import MARKETS, market
from tests.vectors.encoding import address, word

OPERATORS = [address(f"operator {place}") for place in range(4)]
QUALITIES = [10_000, 10_000, 10_000, 9_999, 5_000, 1]


@st.composite
def markets(draw):
    """Small markets where most bids are close to the price, on either side."""
    price = draw(st.integers(1, 8))
    asks = st.integers(-price, 1).map(lambda above: max(1, price + above))
    sellers = draw(
        st.lists(st.tuples(st.integers(1, 4), asks, st.sampled_from(QUALITIES)), max_size=4)
    )
    operators = OPERATORS[: len(sellers)]
    allowlists = st.just(())
    if operators:
        some = st.lists(st.sampled_from(operators), max_size=3, unique=True).map(tuple)
        allowlists = st.one_of(st.just(()), st.just(()), some)
    buyers = draw(
        st.lists(st.tuples(st.integers(1, 6), st.integers(-2, 6), allowlists), max_size=5)
    )
    return MarketInput(
        class_id=Hash(word("class")),
        price=Wei(price),
        beacon=Hash(word(f"beacon {draw(st.integers(0, 99))}")),
        buyers=tuple(
            Buyer(Hash(word(f"buyer {place}")), slots, Wei(max(1, slots * price + over)), allowlist)
            for place, (slots, over, allowlist) in enumerate(buyers)
        ),
        sellers=tuple(
            Seller(operator, slots, Wei(ask), quality)
            for operator, (slots, ask, quality) in zip(operators, sellers, strict=True)
        ),
    )


def reference(given_market):
    """The rules of the thin market once more, read word by word and without regard to speed."""
    price, beacon = given_market.price, given_market.beacon
    slots_left = {
        seller.operator: seller.slots
        for seller in given_market.sellers
        if seller.ask * 10_000 / seller.quality <= price
    }

    def chance(identity):
        return tie_rank(beacon, identity)

    served = {}
    for buyer in sorted(given_market.buyers, key=lambda buyer: chance(buyer.request_id)):
        usable = [op for op in slots_left if not buyer.allowlist or op in buyer.allowlist]
        if buyer.max_fee < buyer.slots * price:
            continue
        if sum(slots_left[operator] for operator in usable) < buyer.slots:
            continue
        chosen = []
        for _ in range(buyer.slots - 1):
            most = max(slots_left[operator] for operator in usable)
            best = [operator for operator in usable if slots_left[operator] == most]
            chosen.append(min(best, key=chance))
            slots_left[chosen[-1]] -= 1
        holders = [operator for operator in usable if slots_left[operator] > 0]
        most = max((chosen.count(operator), slots_left[operator]) for operator in holders)
        best = [op for op in holders if (chosen.count(op), slots_left[op]) == most]
        chosen.append(min(best, key=chance))
        slots_left[chosen[-1]] -= 1
        served[buyer.request_id] = tuple(chosen)
    return served


def receipts_of(result):
    return {receipt.bidder: receipt for receipt in result.receipts}


@given(markets())
def test_clearing_follows_the_rules_read_word_by_word(given_market):
    result = clear_thin(given_market)
    assert {trade.request_id: trade.provers for trade in result.trades} == reference(given_market)


@given(markets())
def test_money_and_capacity(given_market):
    result = clear_thin(given_market)
    receipts = receipts_of(result)
    assert len(receipts) == len(given_market.buyers) + len(given_market.sellers)
    proven = [operator for trade in result.trades for operator in trade.provers]
    for buyer in given_market.buyers:
        assert receipts[buyer.request_id].amount <= buyer.max_fee
        assert receipts[buyer.request_id].slots in {0, buyer.slots}
    for seller in given_market.sellers:
        receipt = receipts[seller.operator]
        assert receipt.slots == proven.count(seller.operator) <= seller.slots
        assert receipt.amount >= receipt.slots * seller.ask
        assert receipt.amount == seller_payment(receipt.slots, result.price, seller.quality)
    fees = sum(trade.fee for trade in result.trades)
    paid = sum(receipts[seller.operator].amount for seller in given_market.sellers)
    assert fees - paid == result.surplus >= 0
    if all(seller.quality == 10_000 for seller in given_market.sellers):
        assert result.surplus == 0


@given(markets())
def test_allowlists_bind_provers_and_standbys(given_market):
    by_id = {buyer.request_id: buyer for buyer in given_market.buyers}
    for trade in clear_thin(given_market).trades:
        allowed = by_id[trade.request_id].allowlist
        assert not allowed or {*trade.provers, *trade.standby} <= {*allowed}


@given(markets())
def test_the_standby_order_starts_with_who_has_no_segment(given_market):
    for trade in clear_thin(given_market).trades:
        busy = [operator in trade.provers for operator in trade.standby]
        assert busy == sorted(busy)
        assert {*trade.provers} <= {*trade.standby}


@given(markets(), st.randoms(use_true_random=False))
def test_the_order_of_bidders_does_not_matter(given_market, random):
    buyers, sellers = list(given_market.buyers), list(given_market.sellers)
    random.shuffle(buyers)
    random.shuffle(sellers)
    shuffled = replace(given_market, buyers=tuple(buyers), sellers=tuple(sellers))
    assert clear_thin(shuffled) == clear_thin(given_market)


@given(markets())
def test_no_other_ask_pays_a_seller_more(given_market):
    truthful = receipts_of(clear_thin(given_market))
    for place, seller in enumerate(given_market.sellers):
        honest = truthful[seller.operator]
        gain = honest.amount - honest.slots * seller.ask
        for lie in range(1, 14):
            sellers = list(given_market.sellers)
            sellers[place] = replace(seller, ask=Wei(lie))
            told = receipts_of(clear_thin(replace(given_market, sellers=tuple(sellers))))
            receipt = told[seller.operator]
            assert receipt.amount - receipt.slots * seller.ask <= gain


@given(markets())
def test_no_other_maximum_fee_serves_a_buyer_better(given_market):
    truthful = receipts_of(clear_thin(given_market))
    for place, buyer in enumerate(given_market.buyers):
        honest = truthful[buyer.request_id]
        gain = buyer.max_fee - honest.amount if honest.slots else 0
        for lie in range(1, 75):
            buyers = list(given_market.buyers)
            buyers[place] = replace(buyer, max_fee=Wei(lie))
            told = receipts_of(clear_thin(replace(given_market, buyers=tuple(buyers))))
            receipt = told[buyer.request_id]
            assert (buyer.max_fee - receipt.amount if receipt.slots else 0) <= gain


@given(markets(), st.integers(1, 10**18))
def test_the_reference_price_moves_little_and_towards_balance(given_market, price):
    scaled = replace(given_market, price=Wei(price))
    result = clear_thin(scaled)
    assert result.next_price >= 1
    assert abs(result.next_price - price) <= max(price // 8, 1)
    room = sum(seller.slots for seller in scaled.sellers)
    open_buyers = [buyer for buyer in scaled.buyers if not buyer.allowlist]
    offered = sum(s.slots for s in scaled.sellers if s.ask * 10_000 <= price * s.quality)
    if len(open_buyers) == len(scaled.buyers) and scaled.buyers and scaled.sellers:
        fitting = [b for b in open_buyers if b.max_fee >= b.slots * price and b.slots <= room]
        demanded = sum(buyer.slots for buyer in fitting)
        assert (result.next_price > price) == (demanded > offered)
        assert (result.next_price < price) == (demanded < offered and price > 1)
        assert (result.next_price == price) == (
            demanded == offered or (price == 1 and demanded < offered)
        )


def test_a_request_larger_than_the_market_does_not_drive_the_price():
    fitting = market("drive", 800, [(2, 1_600, ())], [(2, 10, 10_000)])
    whale = market("drive", 800, [(2, 1_600, ()), (900, 10**9, ())], [(2, 10, 10_000)])
    assert clear_thin(whale).next_price == clear_thin(fitting).next_price == 800


def test_a_price_below_every_ask_rises():
    assert clear_thin(market("low", 800, [(2, 9_000, ())], [(2, 5_000, 10_000)])).next_price == 900


def test_verdicts_of_the_golden_markets():
    verdicts = {
        name: sorted(receipt.verdict.name for receipt in clear_thin(given).receipts)
        for name, given in MARKETS.items()
    }
    assert verdicts["a buyer too large is skipped"] == ["NO_ROOM", "WON", "WON", "WON", "WON"]
    assert verdicts["fee and ask on the wrong side"] == [
        "ASK_ABOVE_PRICE",
        "FEE_BELOW_PRICE",
        "WON",
        "WON",
    ]
    assert verdicts["nobody sells"] == ["ASK_ABOVE_PRICE", "NO_ROOM"]
    assert "NO_ROOM" in verdicts["an allowlist binds"]


def test_one_request_spreads_over_four_provers_and_one_of_them_combines():
    given_market = MARKETS["one request on four provers"]
    (trade,) = clear_thin(given_market).trades
    *segments, combiner = trade.provers
    assert sorted(segments) == sorted(seller.operator for seller in given_market.sellers)
    assert combiner == min(segments, key=lambda op: tie_rank(given_market.beacon, op))


def test_the_combining_segment_stays_with_the_holder_of_most():
    given_market = market("most", 5, [(4, 20, ())], [(6, 1, 10_000), (1, 1, 10_000)])
    (trade,) = clear_thin(given_market).trades
    assert trade.provers == (given_market.sellers[0].operator,) * 4


def test_the_combining_segment_goes_to_the_holder_of_most_even_if_others_have_more_free():
    given_market = market("three", 5, [(4, 20, ())], [(3, 1, 10_000), (3, 1, 10_000)])
    (trade,) = clear_thin(given_market).trades
    *segments, combiner = trade.provers
    assert segments.count(combiner) == 2
    full = market("full", 5, [(4, 20, ())], [(3, 1, 10_000), (1, 1, 10_000)])
    (trade,) = clear_thin(full).trades
    assert sorted(map(trade.provers.count, {*trade.provers})) == [1, 3]


def test_standbys_without_a_segment_come_first_each_group_in_beacon_order():
    given_market = market("standby", 5, [(2, 10, ())], [(2, 1, 10_000)] * 4)
    (trade,) = clear_thin(given_market).trades
    ranked = sorted(
        (seller.operator for seller in given_market.sellers),
        key=lambda operator: tie_rank(given_market.beacon, operator),
    )
    idle = [operator for operator in ranked if operator not in trade.provers]
    busy = [operator for operator in ranked if operator in trade.provers]
    assert len(busy) == 1
    assert list(trade.standby) == idle + busy


def test_a_seller_at_the_price_that_nothing_falls_to_is_told_so():
    given_market = market("idle", 5, [(1, 5, ())], [(1, 1, 10_000), (1, 1, 10_000)])
    verdicts = [receipt.verdict for receipt in clear_thin(given_market).receipts]
    assert verdicts.count(Verdict.NOT_NEEDED) == 1


@pytest.mark.parametrize(
    "broken",
    [
        market("two", 5, [(1, 5, ())] * 1, [(0, 1, 10_000)]),
        market("two", 5, [(0, 5, ())], [(1, 1, 10_000)]),
        market("two", 0, [(1, 5, ())], [(1, 1, 10_000)]),
        market("two", 5, [(1, 5, ())], [(1, 1, 10_001)]),
        replace(
            market("two", 5, [], [(1, 1, 10_000)]), sellers=MARKETS["nobody sells"].sellers * 2
        ),
    ],
)
def test_a_market_that_no_ledger_makes_is_our_own_bug(broken):
    with pytest.raises(LocalProtocolError):
        clear_thin(broken)
