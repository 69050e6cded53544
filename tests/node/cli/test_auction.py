"""`node auction clear`: the worked example, and every file that is no market."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node import market_file
from node.errors import ExitCode
from node.market_file import MAX_AMOUNT

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "market.json"


def cleared(cli: Any, path: Path) -> dict[str, Any]:
    ran = cli("auction", "clear", path, "--json")
    assert ran.code == ExitCode.OK, ran.err
    return dict(json.loads(ran.out))


def test_the_worked_example(cli):
    answer = cleared(cli, EXAMPLE)
    assert answer["mode"] == "thick"
    assert answer["buyer_price"] == {"num": 8, "den": 1}
    assert [(row["id"], row["won"], row["pays"]) for row in answer["buyers"]] == [
        ("r1", True, 48),
        ("r2", True, 40),
        ("r3", True, 56),
        ("r4", False, 0),
        ("r5", False, 0),
        ("r6", False, 0),
    ]
    assert [row["reason"] for row in answer["buyers"][3:]] == [
        "no_room",
        "sets_price",
        "fee_below_price",
    ]
    assert [(row["id"], row["slots_sold"], row["receives"]) for row in answer["sellers"]] == [
        ("p1", 10, 50),
        ("p2", 8, 40),
        ("p3", 0, 0),
        ("p4", 0, 0),
    ]
    assert answer["treasury"] == 54
    shown = cli("auction", "clear", EXAMPLE)
    assert "thick market: buyers pay 8 wei a slot, the treasury keeps 54 wei" in shown.out


def market(**changes: Any) -> dict[str, Any]:
    return {
        "mode": "auto",
        "reference_price": "5",
        "beacon": "0x0102",
        "buyers": [{"id": "b", "slots": 2, "max_fee": "10", "copies": 2}],
        "sellers": [
            {"id": "b", "slots": 2, "ask": 1, "quality": 5_000},
            {"id": "ü", "slots": 1, "ask": "4", "quality": 10_000},
        ],
        **changes,
    }


@pytest.fixture
def written(tmp_path):
    def write(content: object) -> Path:
        path = tmp_path / "market.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, errors="surrogatepass")
        return path

    return write


def test_a_small_market_is_thin_and_copies_go_to_distinct_sellers(cli, written):
    answer = cleared(cli, written(market()))
    assert (answer["mode"], answer["buyer_price"]) == ("thin", {"num": 5, "den": 1})
    assert answer["buyers"] == [{"id": "b", "won": True, "pays": 10, "reason": "won"}]
    assert [(row["slots_sold"], row["receives"]) for row in answer["sellers"]] == [(1, 2), (1, 5)]
    assert answer["treasury"] == 3


def test_an_empty_market_has_no_price(cli, written):
    for mode in ("thick", "thin", "auto"):
        answer = cleared(cli, written(market(mode=mode, buyers=[], sellers=[])))
        assert (answer["buyer_price"], answer["treasury"]) == (None, 0)


def test_amounts_up_to_the_bound(cli, written):
    buyers = [{"id": "b", "slots": 1, "max_fee": str(MAX_AMOUNT)}]
    sellers = [{"id": "s", "slots": 1, "ask": MAX_AMOUNT, "quality": 1}]
    given = market(buyers=buyers, sellers=sellers, mode="thin", reference_price=MAX_AMOUNT)
    assert cleared(cli, written(given))["buyers"][0]["won"] is False


BUYER = {"id": "b", "slots": 2, "max_fee": 10}
SELLER = {"id": "s", "slots": 2, "ask": 1, "quality": 5_000}
BAD: dict[str, object] = {
    "no JSON": "{",
    "an array": "[]",
    "nesting": '{"mode":' + "[" * 100_000,
    "another mode": market(mode="dutch"),
    "an unknown field": market(shiny=1),
    "an unknown field of a buyer": market(buyers=[{**BUYER, "shiny": 1}]),
    "an unknown field of a seller": market(sellers=[{**SELLER, "whale": True}]),
    "a missing field": {key: value for key, value in market().items() if key != "beacon"},
    "a float": market(buyers=[{**BUYER, "max_fee": 10.0}]),
    "a float price": market(reference_price=1.5),
    "an exponent": market(buyers=[{**BUYER, "max_fee": "1e3"}]),
    "a negative amount": market(buyers=[{**BUYER, "max_fee": -1}]),
    "a negative decimal": market(sellers=[{**SELLER, "ask": "-1"}]),
    "an overflow": market(buyers=[{**BUYER, "max_fee": MAX_AMOUNT + 1}]),
    "a long decimal": market(sellers=[{**SELLER, "ask": "9" * 78}]),
    "endless digits": '{"mode":"thick","reference_price":' + "1" * 100_000 + "}",
    "zero slots": market(buyers=[{**BUYER, "slots": 0}]),
    "zero slots of a seller": market(sellers=[{**SELLER, "slots": 0}]),
    "zero copies": market(buyers=[{**BUYER, "copies": 0}]),
    "a part of a segment": market(buyers=[{**BUYER, "slots": 3, "copies": 2}]),
    "endless copies": market(buyers=[{**BUYER, "slots": 1 << 53, "copies": 2}]),
    "no quality": market(sellers=[{**SELLER, "quality": 0}]),
    "too much quality": market(sellers=[{**SELLER, "quality": 10_001}]),
    "true": market(buyers=[{**BUYER, "slots": True}]),
    "a buyer twice": market(buyers=[BUYER, BUYER]),
    "a seller twice": market(sellers=[SELLER, SELLER]),
    "an empty id": market(buyers=[{**BUYER, "id": ""}]),
    "a long id": market(buyers=[{**BUYER, "id": "x" * 300}]),
    "a beacon without 0x": market(beacon="00"),
    "half a byte": market(beacon="0x0"),
    "no price to post": market(mode="thin", reference_price=0),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_and_exit_code_2(cli, written, name):
    ran = cli("auction", "clear", written(BAD[name]), "--json")
    assert (ran.code, ran.complains(), ran.out) == (ExitCode.BAD_INPUT, True, "")
    assert "market.json" in ran.err


def test_files_beyond_their_bounds(cli, written, tmp_path, monkeypatch):
    monkeypatch.setattr(market_file, "MAX_ROWS", 2)
    ran = cli("auction", "clear", written(market()))
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)
    with (tmp_path / "great.json").open("w") as file:
        file.truncate(market_file.MAX_BYTES + 1)
    for path in (tmp_path / "great.json", tmp_path / "none.json", tmp_path):
        ran = cli("auction", "clear", path)
        assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)
