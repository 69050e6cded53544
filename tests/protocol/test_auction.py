from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.auction import (
    Buyer,
    MarketInput,
    Seller,
    clear,
)
from protocol.clearing import (
    Lot,
    Offer,
    Rule,
    Verdict,
    clear_thick,
    clear_thin,
    seller_payment,
    tie_rank,
)
from protocol.errors import LocalProtocolError
from protocol.types import Hash, Wei
from tests.vectors.auction_vectors import MARKETS, market
from tests.vectors.encoding import address, word

OPERATORS = [address(f"operator {place}") for place in range(4)]
QUALITIES = [10_000, 10_000, 10_000, 9_999, 5_000, 1]


@st.composite
def markets(draw, rules=(Rule.THIN, Rule.THICK)):
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
        rule=draw(st.sampled_from(rules)),
        price=Wei(price),
        recent=(Wei(3), Wei(9)),
        beacon=Hash(word(f"beacon {draw(st.integers(0, 99))}")),
        buyers=tuple(
            Buyer(
                Hash(word(f"buyer {place}")),
                slots,
                Wei(max(1, slots * price + over)),
                allowlist,
                tuple(operators[:1]) * (place % 3),
                place % 2 == 0,
            )
            for place, (slots, over, allowlist) in enumerate(buyers)
        ),
        waiting=(),
        sellers=tuple(
            Seller(operator, slots, Wei(ask), quality)
            for operator, (slots, ask, quality) in zip(operators, sellers, strict=True)
        ),
    )


def plain(given_market):
    """What `node auction clear` makes of the bids that name no operators."""
    lots = [Lot(b.request_id, b.slots, b.max_fee) for b in given_market.buyers if not b.allowlist]
    offers = [Offer(s.operator, s.slots, s.ask, s.quality) for s in given_market.sellers]
    if given_market.rule is Rule.THICK:
        return clear_thick(lots, offers, given_market.beacon)
    return clear_thin(lots, offers, given_market.beacon, given_market.price)


def reference(given_market):
    """Who proves what, once more: read word by word and without regard to speed."""
    beacon, found = given_market.beacon, plain(given_market)
    price = Fraction(given_market.price) if given_market.rule is Rule.THIN else found.price
    if price is None:
        return {}
    slots_left = {
        seller.operator: seller.slots
        for seller, verdict in zip(given_market.sellers, found.verdicts[1], strict=True)
        if verdict in {Verdict.WON, Verdict.NOT_NEEDED}
    }
    public = [buyer for buyer in given_market.buyers if not buyer.allowlist]
    won = {b.request_id for b, v in zip(public, found.verdicts[0], strict=True) if v is Verdict.WON}

    def chance(identity):
        return tie_rank(beacon, identity)

    served = {}
    for buyer in sorted(
        given_market.buyers, key=lambda each: (len(each.allowlist) > 0, chance(each.request_id))
    ):
        usable = [op for op in slots_left if not buyer.allowlist or op in buyer.allowlist]
        room = sum(slots_left[operator] for operator in usable)
        if buyer.allowlist and (buyer.max_fee < buyer.slots * price or room < buyer.slots):
            continue
        if not buyer.allowlist and buyer.request_id not in won:
            continue
        chosen = []
        for _ in range(buyer.slots):
            most = max(slots_left[operator] for operator in usable)
            best = [operator for operator in usable if slots_left[operator] == most]
            chosen.append(min(best, key=chance))
            slots_left[chosen[-1]] -= 1
        served[buyer.request_id] = chosen
    return served


def receipts_of(result):
    return {receipt.bidder: receipt for receipt in result.receipts}


@given(markets())
def test_clearing_follows_the_rules_read_word_by_word(given_market):
    trades = {trade.request_id: [*trade.provers] for trade in clear(given_market).trades}
    chosen = reference(given_market)
    assert {key: sorted(row) for key, row in trades.items()} == {
        key: sorted(row) for key, row in chosen.items()
    }
    for buyer in given_market.buyers:
        if buyer.request_id not in trades:
            continue
        *segments, last = trades[buyer.request_id]
        if not buyer.combining:
            assert [*segments, last] == chosen[buyer.request_id]
            continue
        held = [*buyer.held, *chosen[buyer.request_id]]
        most = max(held.count(operator) for operator in chosen[buyer.request_id])
        best = [operator for operator in chosen[buyer.request_id] if held.count(operator) == most]
        assert last == min(best, key=lambda operator: tie_rank(given_market.beacon, operator))


@given(markets())
def test_bids_that_name_nobody_trade_as_the_offline_command_says(given_market):
    """A request that names its operators moves no price, and takes no slot from the others."""
    found, receipts = plain(given_market), receipts_of(clear(given_market))
    public = [buyer for buyer in given_market.buyers if not buyer.allowlist]
    for buyer, fee, verdict in zip(public, found.pays, found.verdicts[0], strict=True):
        receipt = receipts[buyer.request_id]
        assert (receipt.amount, receipt.verdict) == (fee, verdict)
    for seller, sold, gets in zip(given_market.sellers, found.sold, found.receives, strict=True):
        receipt = receipts[seller.operator]
        assert receipt.slots >= sold
        if len(public) == len(given_market.buyers):
            # Rounded down for each request by itself.
            assert gets - len(public) < receipt.amount <= gets if sold else receipt.amount == gets


@given(markets())
def test_money_and_capacity(given_market):
    result = clear(given_market)
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
        if receipt.slots:
            rate = Fraction(result.rate.num, result.rate.den)
            most = seller_payment(receipt.slots, rate, seller.quality)
            assert most - len(result.trades) < receipt.amount <= most
    for trade in result.trades:
        assert sum(trade.pays) <= trade.fee
        assert len(trade.pays) == len(trade.provers)
    fees = sum(trade.fee for trade in result.trades)
    paid = sum(receipts[seller.operator].amount for seller in given_market.sellers)
    assert fees - paid == result.surplus >= 0
    flawless = all(seller.quality == 10_000 for seller in given_market.sellers)
    if flawless and given_market.rule is Rule.THIN:
        assert result.surplus == 0


@given(markets())
def test_allowlists_bind_provers_and_standbys(given_market):
    by_id = {buyer.request_id: buyer for buyer in given_market.buyers}
    for trade in clear(given_market).trades:
        allowed = by_id[trade.request_id].allowlist
        assert not allowed or {*trade.provers, *trade.standby} <= {*allowed}


@given(markets())
def test_the_standby_order_starts_with_who_has_no_segment(given_market):
    for trade in clear(given_market).trades:
        busy = [operator in trade.provers for operator in trade.standby]
        assert busy == sorted(busy)
        assert {*trade.provers} <= {*trade.standby}


@given(markets(), st.randoms(use_true_random=False))
def test_the_order_of_bidders_does_not_matter(given_market, random):
    buyers, sellers = list(given_market.buyers), list(given_market.sellers)
    random.shuffle(buyers)
    random.shuffle(sellers)
    shuffled = replace(given_market, buyers=tuple(buyers), sellers=tuple(sellers))
    assert clear(shuffled) == clear(given_market)


@given(markets())
def test_no_other_ask_pays_a_seller_more(given_market):
    truthful = receipts_of(clear(given_market))
    for place, seller in enumerate(given_market.sellers):
        honest = truthful[seller.operator]
        gain = honest.amount - honest.slots * seller.ask
        for lie in range(1, 14):
            sellers = list(given_market.sellers)
            sellers[place] = replace(seller, ask=Wei(lie))
            told = receipts_of(clear(replace(given_market, sellers=tuple(sellers))))
            receipt = told[seller.operator]
            assert receipt.amount - receipt.slots * seller.ask <= gain


@given(markets())
def test_no_other_maximum_fee_serves_a_buyer_better(given_market):
    truthful = receipts_of(clear(given_market))
    for place, buyer in enumerate(given_market.buyers):
        honest = truthful[buyer.request_id]
        gain = buyer.max_fee - honest.amount if honest.slots else 0
        for lie in range(1, 75):
            buyers = list(given_market.buyers)
            buyers[place] = replace(buyer, max_fee=Wei(lie))
            told = receipts_of(clear(replace(given_market, buyers=tuple(buyers))))
            receipt = told[buyer.request_id]
            assert (buyer.max_fee - receipt.amount if receipt.slots else 0) <= gain


@given(markets((Rule.THIN,)), st.integers(1, 10**18))
def test_the_reference_price_moves_little_and_towards_balance(given_market, price):
    scaled = replace(given_market, price=Wei(price))
    result = clear(scaled)
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


@given(markets((Rule.THICK,)))
def test_the_reference_price_follows_thick_prices(given_market):
    result = clear(given_market)
    if plain(given_market).price is None:
        assert result.next_price == given_market.price
    else:
        latest = plain(given_market).price
        middle = sorted([3, 9, latest.numerator // latest.denominator])[1]
        assert result.next_price == middle


def test_a_request_larger_than_the_market_does_not_drive_the_price():
    fitting = market("drive", 800, [(2, 1_600, ())], [(2, 10, 10_000)])
    whale = market("drive", 800, [(2, 1_600, ()), (900, 10**9, ())], [(2, 10, 10_000)])
    assert clear(whale).next_price == clear(fitting).next_price == 800


def test_a_price_below_every_ask_rises():
    assert clear(market("low", 800, [(2, 9_000, ())], [(2, 5_000, 10_000)])).next_price == 900


def test_verdicts_of_the_golden_markets():
    verdicts = {
        name: sorted(receipt.verdict.name for receipt in clear(given).receipts)
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
    (trade,) = clear(given_market).trades
    *segments, combiner = trade.provers
    assert sorted(segments) == sorted(seller.operator for seller in given_market.sellers)
    assert combiner == min(segments, key=lambda op: tie_rank(given_market.beacon, op))


def test_the_combining_segment_stays_with_the_holder_of_most():
    given_market = market("most", 5, [(4, 20, ())], [(6, 1, 10_000), (1, 1, 10_000)])
    (trade,) = clear(given_market).trades
    assert trade.provers == (given_market.sellers[0].operator,) * 4


def test_the_combining_segment_goes_to_the_holder_of_most_of_all_tranches():
    tranche = market("three", 5, [(2, 10, ())], [(3, 1, 10_000), (3, 1, 10_000)])
    other = tranche.sellers[1].operator
    for holder in (tranche.sellers[0].operator, other):
        (buyer,) = tranche.buyers
        given_market = replace(tranche, buyers=(replace(buyer, held=(holder,)),))
        (trade,) = clear(given_market).trades
        assert trade.provers[-1] == holder
        assert len({*trade.provers}) == 2
    full = market("full", 5, [(4, 20, ())], [(3, 1, 10_000), (1, 1, 10_000)])
    (trade,) = clear(full).trades
    assert sorted(map(trade.provers.count, {*trade.provers})) == [1, 3]


def test_standbys_without_a_segment_come_first_each_group_in_beacon_order():
    given_market = market("standby", 5, [(2, 10, ())], [(2, 1, 10_000)] * 4)
    (trade,) = clear(given_market).trades
    ranked = sorted(
        (seller.operator for seller in given_market.sellers),
        key=lambda operator: tie_rank(given_market.beacon, operator),
    )
    idle = [operator for operator in ranked if operator not in trade.provers]
    busy = [operator for operator in ranked if operator in trade.provers]
    assert len(busy) == 2
    assert list(trade.standby) == idle + busy


def test_a_seller_at_the_price_that_nothing_falls_to_is_told_so():
    given_market = market("idle", 5, [(1, 5, ())], [(1, 1, 10_000), (1, 1, 10_000)])
    verdicts = [receipt.verdict for receipt in clear(given_market).receipts]
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
        clear(broken)
