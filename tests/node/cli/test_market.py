"""Verbs that read the market: market, quote, explain, auction verify."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from node.api.port import Json
from node.errors import ExitCode
from node.history import receipts_of, summary_of
from protocol.market_state import market_json, standing_json
from protocol.params import DEVNET
from tests.node.cli.conftest import FinishedRequest
from tests.node.client.proven import make_bundle, table
from tests.node.client.test_round_verification import record
from tests.node.proving.conftest import built
from tests.protocol.certified import CLASS, OPERATORS, PRICE, World, id_of, request_body

__all__ = ["built"]

ROUND = 41
REQUEST = request_body("poor", slots=2, fee=PRICE)


@dataclass
class Market(FinishedRequest):
    """A node that knows one round with a clearing, too."""

    document_of_round: Json = field(default_factory=record)
    world: World = field(default_factory=World)
    lost: str = "poor"

    def __post_init__(self) -> None:
        self.world.decide([REQUEST], self.world.asks())

    def describe(self) -> Json:
        rows = [{"class_id": "0x" + CLASS.hex(), "name": "groth16/S", "reference_price": "1"}]
        about = super().describe()
        programs = [row | {"class_id": "0x" + CLASS.hex()} for row in about["programs"]]
        return {**about, "classes": rows, "programs": programs} | self.change

    async def round(self, number: int) -> Json | None:
        return self.document_of_round if number == ROUND else None

    async def table(self, epoch: int) -> Json | None:
        from protocol.documents import table_json  # noqa: PLC0415

        return table_json(table())

    async def clearings(self, class_id: bytes | None, before: int, limit: int) -> list[Json]:
        document = self.document_of_round
        return [summary_of(document, market) for market in document["markets"]][:limit]

    async def receipts(self, bidder: bytes, before: int, limit: int) -> list[Json]:
        document = self.document_of_round
        return [
            receipt
            for market in document["markets"]
            for who, receipt in receipts_of(document, market)
            if who == bidder
        ]

    def market(self, class_id: bytes) -> Json | None:
        return market_json(self.world.ledger, CLASS, DEVNET) if class_id == CLASS else None

    def standing(self, operator: bytes) -> Json | None:
        known = operator in OPERATORS
        return standing_json(self.world.ledger, operator, DEVNET) if known else None

    def document(self) -> Json:
        more: dict[str, Any] = {
            "max_fee": str(PRICE),
            "award": None,
            "verdict": "fee_below_price",
            "stages_ms": {"received": 1, "admitted": 400},
        }
        return super().document() | more | self.change

    async def request(self, request_id: bytes, version: int, wait_ms: int) -> Json | None:
        if request_id == id_of(REQUEST):
            return self.document() | {"request_id": "0x" + request_id.hex()}
        return await super().request(request_id, version, wait_ms)


@pytest.fixture
def finished(built):
    return Market(make_bundle(built))


@pytest.fixture
def accounts(tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_text("account_id,balance\n" + "".join(f"a{n},{n}\n" for n in range(20)))
    return path


def test_market_shows_every_class_and_one(cli, url):
    ran = cli("market", "--node", url)
    assert ran.code == ExitCode.OK
    assert "groth16/S" in ran.out
    one = cli("market", "--class", "groth16/S", "--node", url)
    assert one.code == ExitCode.OK
    assert f"depth in round {ROUND}" in one.out
    told = json.loads(cli("market", "--class", "groth16/S", "--node", url, "--json").out)
    assert told["clearings"][0]["round"] == ROUND
    demand, supply = told["depth"]["demand"], told["depth"]["supply"]
    assert [point["slots"] for point in demand] == sorted(point["slots"] for point in demand)
    assert [int(point["price"]) for point in demand] == sorted(
        (int(point["price"]) for point in demand), reverse=True
    )
    assert supply[-1]["slots"] == 32


def test_an_unknown_class_names_those_there_are(cli, url):
    ran = cli("market", "--class", "groth16/XL", "--node", url)
    assert ran.code == ExitCode.BAD_INPUT
    assert ran.complains()
    assert "groth16/S" in ran.err


def test_quote_says_slots_price_and_chance(cli, url, accounts):
    told = json.loads(cli("quote", "solvency", accounts, "--node", url, "--json").out)
    assert (told["slots"], told["class"], told["rule"]) == (3, "groth16/S", "thin")
    assert int(told["fee_now"]) == 3 * int(told["reference_price"]) + int(told["bid_fee"])
    assert [row["percent"] for row in told["fees"]] == [50, 80, 95, 100]
    least = int(told["fees"][-1]["fee"])
    for fee, chance in ((least, 100), (least - 1, 0)):
        answer = cli("quote", "solvency", accounts, "--fee", fee, "--node", url, "--json")
        assert json.loads(answer.out)["chance_percent"] == chance
    shown = cli("quote", "solvency", accounts, "--fee", least, "--node", url)
    assert shown.out.splitlines()[-1] == f"chance of {least} wei: 100 %"


def test_quote_without_a_clearing_knows_the_reference_price(cli, url, accounts, finished):
    finished.document_of_round = {**finished.document_of_round, "markets": []}
    ran = cli("quote", "solvency", accounts, "--node", url)
    assert ran.code == ExitCode.OK
    assert "no clearing yet" in ran.out
    assert cli("quote", "nothing", accounts, "--node", url).code == ExitCode.BAD_INPUT


def test_explain_a_request(cli, url):
    ran = cli("explain", "0x" + id_of(REQUEST).hex(), "--node", url)
    assert ran.code == ExitCode.OK
    assert "fee_below_price: the maximum fee is below slots times price" in ran.out
    assert f"the price was {2 * PRICE}" in ran.out
    told = json.loads(cli("explain", id_of(REQUEST).hex(), "--node", url, "--json").out)
    assert told["receipts"][0]["verdict"] == "fee_below_price"
    other = cli("explain", id_of(REQUEST).hex(), "--round", 5, "--node", url, "--json")
    assert json.loads(other.out)["receipts"] == []


def test_explain_an_operator(cli, url, finished):
    finished.change = {"operator": "0x" + OPERATORS[0].hex()}
    for name in ("me", "0x" + OPERATORS[0].hex()):
        ran = cli("explain", name, "--node", url)
        assert ran.code == ExitCode.OK
        assert "quality 10000 of 10000" in ran.out
        assert "sells at most 8 slots" in ran.out
    assert cli("explain", "0x" + "07" * 20, "--node", url).code == ExitCode.BAD_INPUT
    assert cli("explain", "0x1234", "--node", url).complains()
    assert cli("explain", "0x" + "07" * 32, "--node", url).code == ExitCode.REFUSED


def test_auction_verify_says_identical_or_the_first_difference(cli, url, finished):
    ran = cli("auction", "verify", ROUND, "--node", url, "--node", url)
    assert ran.code == ExitCode.OK
    assert ran.out.splitlines()[-1] == "identical"
    finished.document_of_round["markets"][0]["trades"][0]["fee"] = "1"
    ran = cli("auction", "verify", ROUND, "--node", url)
    assert ran.code == ExitCode.ANSWER_NO
    assert ran.out.splitlines()[-1].startswith("DIFFERENT: clearings: ")
    told = json.loads(cli("auction", "verify", ROUND, "--node", url, "--json").out)
    assert (told["identical"], told["round"]) == (False, ROUND)
    gone = cli("auction", "verify", 7, "--node", url)
    assert gone.code == ExitCode.REFUSED
    assert "not_kept" in gone.err
    finished.document_of_round["markets"] = "none"
    assert cli("auction", "verify", ROUND, "--node", url).complains()


@pytest.mark.parametrize("verb", [("market",), ("explain", "me"), ("market", "--class", "x")])
def test_a_node_that_answers_otherwise_is_told(cli, url, finished, verb):
    finished.change = {"classes": 5, "operator": 7}
    assert cli(*verb, "--node", url).complains()
