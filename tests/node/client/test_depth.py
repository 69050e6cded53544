from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.client.depth import Crossing, Level, crossing_of, levels_of
from protocol.auction import Buyer, MarketInput, Seller
from protocol.clearing import Rule
from protocol.types import Hash, Wei
from tests.protocol.certified import CLASS, OPERATORS
from tests.vectors.encoding import address, word


def market(buyers, sellers, named=()):
    """Buyers of slots and fee a slot, sellers of slots, ask and quality."""
    return MarketInput(
        class_id=CLASS,
        rule=Rule.THIN,
        price=Wei(5),
        recent=(),
        beacon=Hash(word("beacon")),
        buyers=(
            *[
                Buyer(Hash(word(f"b{place}")), slots, Wei(slots * fee), (), (), True)
                for place, (slots, fee) in enumerate(buyers)
            ],
            *[
                Buyer(Hash(word(f"n{place}")), slots, Wei(slots * fee), OPERATORS, (), True)
                for place, (slots, fee) in enumerate(named)
            ],
        ),
        waiting=(),
        sellers=tuple(
            Seller(address(f"s{place}"), slots, Wei(ask), quality)
            for place, (slots, ask, quality) in enumerate(sellers)
        ),
    )


def test_both_curves_at_every_price_dearest_first():
    levels = levels_of(market([(2, 9), (3, 4), (1, 4)], [(4, 3, 10_000), (5, 4, 8_000)]))
    assert levels == [Level(9, 2, 9), Level(5, 2, 9), Level(4, 6, 4), Level(3, 6, 4)]
    assert crossing_of(levels) == Crossing(4, low=3, high=4)


def test_requests_that_name_their_operators_are_left_out():
    assert levels_of(market([], [(4, 3, 10_000)], named=[(2, 9)])) == [Level(3, 0, 4)]


def test_curves_that_do_not_cross():
    assert crossing_of(levels_of(market([(2, 4)], [(4, 5, 10_000)]))) is None
    assert crossing_of(levels_of(market([], []))) is None


ROWS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), max_size=8)


@given(ROWS, ROWS)
def test_the_curves_count_every_slot_and_cross_at_the_most_that_trades(buyers, sellers):
    levels = levels_of(market(buyers, [(*row, 10_000) for row in sellers]))
    for level in levels:
        assert level.wanted == sum(slots for slots, fee in buyers if fee >= level.price)
        assert level.offered == sum(slots for slots, ask in sellers if ask <= level.price)
    most = 0
    for price in range(1, 31):
        wanted = sum(slots for slots, fee in buyers if fee >= price)
        offered = sum(slots for slots, ask in sellers if ask <= price)
        most = max(most, min(wanted, offered))
    found = crossing_of(levels)
    assert (found.slots if found else 0) == most
    if found:
        assert found.low <= found.high
