from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.params import DEVNET
from protocol.rotation import (
    OperatorTable,
    committee,
    gateway,
    tolerated,
    view_at,
    view_start_ms,
)
from protocol.types import Hash
from tests.sim.run import make_table

SEED = keccak(b"rotation")


def test_a_quorum_is_strictly_more_than_two_thirds() -> None:
    table = make_table([100, 100, 100], SEED)
    assert not table.quorum(200)
    assert table.quorum(201)
    assert not make_table([100] * 4, SEED).quorum(200)
    assert make_table([100] * 4, SEED).quorum(300)


def test_positions_and_weights_of_operators_and_strangers() -> None:
    table = make_table([5, 6, 7], SEED)
    assert table.total == 18
    assert [table.position_of(row.operator) for row in table.operators] == [0, 1, 2]
    assert table.weight_of(table.operators[2].operator) == 7
    assert table.position_of(b"\x00" * 20) is None
    assert table.weight_of(b"\x00" * 20) == 0


def test_a_table_without_operators_or_with_one_twice_or_without_stake_is_refused() -> None:
    table = make_table([5, 6], SEED)
    for rows in ((), (table.operators[0],) * 2):
        with pytest.raises(LocalProtocolError):
            OperatorTable(1, Hash(SEED), rows)
    with pytest.raises(LocalProtocolError):
        make_table([5, 0], SEED)


@pytest.mark.parametrize(("members", "faulty"), [(1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (16, 5)])
def test_tolerated_faults(members: int, faulty: int) -> None:
    assert tolerated(members) == faulty


def test_a_small_network_s_committee_is_everyone_in_table_order() -> None:
    table = make_table([3, 1, 2, 9], SEED)
    assert committee(table, DEVNET) == tuple(row.operator for row in table.operators)


def test_a_large_network_s_committee_is_drawn_without_replacement_from_the_seed() -> None:
    table = make_table([100] * 40, SEED)
    drawn = committee(table, DEVNET)
    assert len(set(drawn)) == DEVNET.max_committee
    assert [table.position_of(who) for who in drawn] == sorted(
        table.position_of(who) or 0 for who in drawn
    )
    assert drawn == committee(table, DEVNET)
    other = OperatorTable(1, Hash(keccak(b"other")), table.operators)
    assert drawn != committee(other, DEVNET)


def test_a_committee_is_drawn_once_for_a_table_not_at_every_step_of_a_node() -> None:
    table = make_table([100] * 40, SEED)
    assert committee(table, DEVNET) is committee(table, DEVNET)
    smaller = replace(DEVNET, max_committee=7)
    assert len(committee(table, smaller)) == 7


def test_the_committee_is_drawn_by_weight() -> None:
    params = replace(DEVNET, max_committee=4)
    seats: Counter[bytes] = Counter()
    heavy = make_table([300] * 4 + [100] * 12, SEED).operators
    for number in range(400):
        table = OperatorTable(1, Hash(keccak(number.to_bytes(8, "big"))), heavy)
        seats.update(committee(table, params))
    of_heavy = sum(seats[row.operator] for row in heavy[:4]) / 4
    of_light = sum(seats[row.operator] for row in heavy[4:]) / 12
    # Without replacement three times the stake gives a little less than three times the seats.
    assert 2.2 < of_heavy / of_light < 3.0


def test_views_are_shared_by_stake() -> None:
    table = make_table([500, 300, 100, 100], SEED)
    members = committee(table, DEVNET)
    turns = Counter(gateway(table, members, view) for view in range(1_000))
    for row in table.operators:
        assert abs(turns[row.operator] - row.weight) <= 5
    # Over a short span too: nobody starves, nobody hoards.
    for start in range(0, 1_000, 20):
        span = Counter(gateway(table, members, view) for view in range(start, start + 20))
        assert abs(span[table.operators[0].operator] - 10) <= 3


@pytest.mark.parametrize("size", [4, 5, 7, 16])
def test_no_gateway_leads_twice_in_succession(size: int) -> None:
    table = make_table([100 + place for place in range(size)], SEED)
    members = committee(table, DEVNET)
    leaders = [gateway(table, members, view) for view in range(300)]
    assert all(first != second for first, second in pairwise(leaders))


def test_the_schedule_depends_on_the_seed() -> None:
    table = make_table([100] * 4, SEED)
    other = OperatorTable(1, Hash(keccak(b"other")), table.operators)
    members = committee(table, DEVNET)
    assert [gateway(table, members, v) for v in range(20)] != [
        gateway(other, members, v) for v in range(20)
    ]


def test_views_on_the_clock() -> None:
    assert view_start_ms(3, 10_000, 2_000) == 16_000
    assert view_at(15_999, 10_000, 2_000) == 2
    assert view_at(16_000, 10_000, 2_000) == 3
    assert view_at(0, 10_000, 2_000) == 0
