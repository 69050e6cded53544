"""`node auction clear`: the worked example, and every file that is no market."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.errors import ExitCode

MAX_AMOUNT = 1 << 255
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
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
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


def buyer(**changes: Any) -> dict[str, Any]:
    return market(buyers=[{**BUYER, **changes}])


def seller(**changes: Any) -> dict[str, Any]:
    return market(sellers=[{**SELLER, **changes}])


# What is in the file, and what the complaint names.
BAD: dict[str, tuple[object, str]] = {
    "an empty file": (b"", "truncated"),
    "a blank line": (b"\n", "truncated"),
    "half of a file": (b"{", "truncated"),
    "no JSON": (b"mode: thick", "malformed"),
    "two objects": (json.dumps(market()).encode() * 2, "trailing"),
    "another encoding": (json.dumps(market()).encode("utf-16"), "malformed"),
    "invalid UTF-8": (b'{"mode":"th\xffck"}', "0xff"),
    "invalid UTF-8 in a name": (b'{"\xc3(":1}', "0xc3"),
    "half of a surrogate pair": (buyer(id="\ud800"), "surrogate"),
    "an array": ([], "got `array`"),
    "nesting": (b'{"mode":' + b"[" * 100_000, "$.mode"),
    "another mode": (market(mode="dutch"), "$.mode"),
    "an unknown field": (market(shiny=1), "`shiny`"),
    "an unknown field of two lines": (market(**{"a\nb": 1}), "`a b`"),
    "an unknown field of a buyer": (buyer(shiny=1), "`shiny` - at `$.buyers[0]`"),
    "an unknown field of a seller": (seller(whale=True), "`whale` - at `$.sellers[0]`"),
    "a missing field": (
        {key: value for key, value in market().items() if key != "beacon"},
        "`beacon`",
    ),
    "a float": (buyer(max_fee=10.0), "$.buyers[0].max_fee"),
    "a float of slots": (buyer(slots=2.5), "$.buyers[0].slots"),
    "a float of copies": (buyer(copies=1.5), "$.buyers[0].copies"),
    "a float to ask": (seller(ask=1.5), "$.sellers[0].ask"),
    "a float of quality": (seller(quality=0.5), "$.sellers[0].quality"),
    "a float price": (market(reference_price=1.5), "$.reference_price"),
    "a float in a string": (buyer(max_fee="1.5"), "$.buyers[0].max_fee"),
    "an exponent": (buyer(max_fee="1e3"), "$.buyers[0].max_fee"),
    "no number": (market(reference_price=float("nan")), "malformed"),
    "null": (buyer(max_fee=None), "$.buyers[0].max_fee"),
    "true": (buyer(slots=True), "$.buyers[0].slots"),
    "a negative amount": (buyer(max_fee=-1), "$.buyers[0].max_fee"),
    "a negative decimal": (seller(ask="-1"), "$.sellers[0].ask"),
    "a negative ask": (seller(ask=-1), "$.sellers[0].ask"),
    "a negative price": (market(mode="thick", reference_price=-1), "$.reference_price"),
    "an overflow": (buyer(max_fee=MAX_AMOUNT + 1), "$.buyers[0].max_fee"),
    "a decimal overflow": (buyer(max_fee=str(MAX_AMOUNT + 1)), "$.buyers[0].max_fee"),
    "an overflow to ask": (seller(ask=MAX_AMOUNT + 1), "$.sellers[0].ask"),
    "an overflow of the price": (
        market(reference_price=str(MAX_AMOUNT + 1)),
        "$.reference_price",
    ),
    "a long decimal": (seller(ask="0" * 78), "$.sellers[0].ask"),
    "endless digits": (
        b'{"mode":"thick","reference_price":' + b"1" * 100_000 + b"}",
        "$.reference_price",
    ),
    "zero slots": (buyer(slots=0), "$.buyers[0].slots"),
    "zero slots of a seller": (seller(slots=0), "$.sellers[0].slots"),
    "negative slots": (buyer(slots=-2), "$.buyers[0].slots"),
    "endless slots": (seller(slots=(1 << 53) + 1), "$.sellers[0].slots"),
    "zero copies": (buyer(copies=0), "$.buyers[0].copies"),
    "a part of a segment": (buyer(slots=3, copies=2), "$.buyers[0].slots"),
    "more copies than slots": (buyer(slots=2, copies=4), "$.buyers[0].copies"),
    "endless copies": (buyer(slots=1 << 53, copies=2), "$.buyers: with copies"),
    "no quality": (seller(quality=0), "$.sellers[0].quality"),
    "too much quality": (seller(quality=10_001), "$.sellers[0].quality"),
    "a buyer twice": (market(buyers=[BUYER, BUYER]), "$.buyers[1].id: 'b'"),
    "a seller twice": (market(sellers=[SELLER, SELLER]), "$.sellers[1].id: 's'"),
    "an empty id": (buyer(id=""), "$.buyers[0].id"),
    "a long id": (buyer(id="x" * 257), "$.buyers[0].id"),
    "a beacon without 0x": (market(beacon="00"), "$.beacon"),
    "half a byte": (market(beacon="0x0"), "$.beacon"),
    "a long beacon": (market(beacon="0x" + "00" * 65), "$.beacon"),
    "no price to post": (market(mode="thin", reference_price=0), "$.reference_price"),
}


def refused(ran: Any, named: str) -> None:
    assert (ran.code, ran.complains(), ran.out) == (ExitCode.BAD_INPUT, True, "")
    assert named in ran.err


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_and_exit_code_2(cli, written, name):
    content, named = BAD[name]
    refused(cli("auction", "clear", written(content), "--json"), named)


def test_more_rows_than_a_file_may_have(cli, tmp_path):
    buyers = b'{"id":"","slots":0,"max_fee":0},' * 1_000_000
    sellers = b'{"id":"","slots":0,"ask":0,"quality":0},' * 1_000_001
    path = tmp_path / "market.json"
    path.write_bytes(
        b'{"mode":"thin","reference_price":1,"beacon":"0x","buyers":[%b],"sellers":[%b]}'
        % (buyers[:-1], sellers[:-1])
    )
    refused(cli("auction", "clear", path), "more than 2000000 buyers and sellers")
    path.unlink()


def test_a_file_of_more_than_512_mib(cli, tmp_path):
    path = tmp_path / "market.json"
    with path.open("wb") as sparse:
        sparse.truncate((512 << 20) + 1)
    refused(cli("auction", "clear", path), "more than 512 MiB")


def test_what_is_no_file(cli, tmp_path):
    refused(cli("auction", "clear", tmp_path / "none.json"), "No such file")
    refused(cli("auction", "clear", tmp_path), "Is a directory")
