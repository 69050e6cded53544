"""How amounts, times and charts read."""

from __future__ import annotations

import time

import pytest

from node.cli.chart import bar, column_chart
from node.cli.output import age, amount, money, rounded, unit_for
from node.cli.submit import parse_amount


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0 wei"),
        (7, "7 wei"),
        (999, "999 wei"),
        (20 * 10**9, "20 gwei"),
        (10**12, "0.000001 ether"),
        (5 * 10**15 + 1, "0.005000000000000001 ether"),
        (2 * 10**20, "200 ether"),
    ],
)
def test_money_is_exact_and_can_be_given_back(wei, text):
    assert money(wei) == text
    if wei:
        assert parse_amount(text) == wei


def test_amounts_in_other_units():
    assert [amount(1_500, places) for places in (0, 2, 3)] == ["1500", "15", "1.5"]
    assert unit_for(10**15) == ("ether", 18)
    assert rounded(710_391_574_435_765, 18) == "0.000710392"
    assert rounded(10**12, 18) == "0.000001"
    assert rounded(123_456_789, 0) == "123457000"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (3, "3 s"), (119, "119 s"), (130, "2 min"), (7_300, "2 h"), (200_000, "2 d")],
)
def test_ages(seconds, text):
    now_ms = int(time.time() * 1_000)
    assert age(now_ms - seconds * 1_000) == text


def test_a_chart_has_its_range_and_fits_its_width():
    lines = column_chart([1, 9, 16], str, width=80, height=2, plain=False)
    assert lines == ["16 |   ▁▁▁███", " 1 |▁▁▁██████"]
    plain = column_chart([1, 9, 16], str, width=80, height=2, plain=True)
    assert plain == ["16 |   ...###", " 1 |...######"]
    flat = column_chart([5] * 500, str, width=80, height=4, plain=False)
    assert flat[-1] == "5 |" + "▁" * 76
    assert all(len(line) <= 80 for line in flat)


def test_a_bar_shows_whatever_is_not_nothing():
    cells = [bar(value, 1_000, 10, plain=True) for value in (0, 1, 500, 1_000)]
    assert [len(cell) for cell in cells] == [0, 1, 5, 10]
    assert bar(0, 0, 10, plain=False) == ""
