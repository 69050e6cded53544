"""Verbs that read the market: market, quote, explain, auction verify."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from node.api.port import Json
from node.errors import ExitCode
from node.history import receipts_of, summary_of
from protocol.auction import Buyer, clear
from protocol.clearing import Rule
from protocol.market_record import record_of
from protocol.market_state import market_json, standing_json
from protocol.params import DEVNET
from protocol.types import Hash, Wei
from tests.node.cli.conftest import FinishedRequest
from tests.node.client.proven import make_bundle, table
from tests.node.client.test_quoting import crowded
from tests.node.client.test_round_verification import record
from tests.node.proving.conftest import built
from tests.protocol.certified import CLASS, OPERATORS, PRICE, World, id_of, request_body
from tests.vectors.encoding import word

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


def lines(ran):
    """What a verb printed, which fits a terminal of 80 columns."""
    assert ran.code == ExitCode.OK
    rows = ran.out.splitlines()
    assert all(len(row) <= 80 for row in rows), max(rows, key=len)
    return rows


def thick(finished, *, price=5):
    """Make the node's round a thick clearing in which 20 slots are more than an eighth."""
    market = replace(crowded(), price=Wei(price))
    (document,) = record_of([(market, clear(market))])
    finished.document_of_round = {**finished.document_of_round, "markets": [document]}


def test_market_shows_every_class(cli, url, finished):
    rows = lines(cli("market", "--node", url))
    (shown,) = [row.split() for row in rows if "groth16/S" in row]
    assert shown[:4] == ["groth16/S", "thin", "0.000875", "ether"]
    assert shown[-1] == "ago"
    (told,) = json.loads(cli("market", "--node", url, "--json").out)["classes"]
    assert (told["rule"], told["last"]["round"]) == ("thin", ROUND)
    finished.document_of_round["markets"] = []
    assert any(row.endswith("none") for row in map(str.rstrip, lines(cli("market", "--node", url))))


def test_market_shows_prices_and_depth_of_a_class(cli, url):
    rows = lines(cli("market", "--class", "groth16/S", "--node", url))
    assert rows[0] == (
        "groth16/S: thin market in epoch 1, thin in the next by its clearings so far"
    )
    assert rows[1] == "reference price 0.000875 ether a slot, bid fee 0.5 % of it"
    assert rows[2] == "requests that wait: 1, for slots: 2; slots announced: 32, busy: 0"
    assert "0.001 |..." in rows
    (history,) = [row.split() for row in rows if row.split()[:1] == [str(ROUND)]]
    assert history[-7:] == ["thin", "0.001", "13", "32", "11", "5", "4"]
    assert rows[-2].startswith("< the curves cross: ")
    assert rows[-1] == "2 more slots are wanted by requests that name their operators"
    told = json.loads(cli("market", "--class", "groth16/S", "--node", url, "--json").out)
    depth = told["depth"]
    assert (depth["round"], depth["named_slots"]) == (ROUND, 2)
    assert [set(level) for level in depth["levels"]] == [{"price", "wanted", "offered"}] * 3
    assert [level["wanted"] for level in depth["levels"]] == [9, 11, 11]
    assert depth["crossing"]["slots"] == 11


def test_market_says_where_nothing_was_sold(cli, url, finished):
    poor = World()
    done = poor.decide([REQUEST], poor.asks())
    finished.document_of_round["markets"] = record_of(done.clearings)
    rows = lines(cli("market", "--class", "groth16/S", "--node", url))
    assert any("(0.001)" in row for row in rows)
    assert any(row.startswith("(price): nothing was sold") for row in rows)
    finished.document_of_round["markets"] = []
    rows = lines(cli("market", "--class", "groth16/S", "--node", url))
    assert rows[-1] == "no clearing yet"


def test_a_deep_market_is_cut_around_its_crossing(cli, url, finished):
    fees = range(1, 40)
    buyers = tuple(Buyer(Hash(word(f"b{fee}")), 1, Wei(fee), (), (), True) for fee in fees)
    market = replace(crowded(), rule=Rule.THIN, buyers=buyers)
    finished.document_of_round["markets"] = record_of([(market, clear(market))])
    rows = lines(cli("market", "--class", "groth16/S", "--node", url))
    assert rows[-1] == "27 more prices: --json has all"
    assert sum(row.rstrip().endswith("<") for row in rows) >= 1


def test_an_unknown_class_names_those_there_are(cli, url):
    ran = cli("market", "--class", "groth16/XL", "--node", url)
    assert ran.code == ExitCode.BAD_INPUT
    assert ran.complains()
    assert "groth16/S" in ran.err


def test_quote_says_slots_price_and_chance(cli, url, accounts):
    told = json.loads(cli("quote", "solvency", accounts, "--node", url, "--json").out)
    assert (told["slots"], told["class"], told["rule"]) == (3, "groth16/S", "thin")
    assert int(told["fee_now"]) == 3 * int(told["reference_price"]) + int(told["bid_fee"])
    assert told["recent_prices"] == [str(PRICE)]
    (cleared,) = told["rounds"]
    assert (cleared["round"], cleared["rule"], len(cleared["fees"])) == (ROUND, "thin", 3)
    assert [row["percent"] for row in told["fees"]] == [50, 80, 95, 100]
    least = int(told["fees"][-1]["fee"])
    assert cleared["fees"] == [str(least)] * 3
    for fee, chance in ((least, 100), (least - 1, 0)):
        answer = cli("quote", "solvency", accounts, "--fee", fee, "--node", url, "--json")
        assert json.loads(answer.out)["chance_percent"] == chance
    rows = lines(cli("quote", "solvency", accounts, "--fee", least, "--node", url))
    assert rows[0].startswith("solvency: 3 slots of class groth16/S (2 segments and")
    assert rows[-1] == "chance of 0.003015 ether: 100 %"
    rows = lines(cli("quote", "solvency", accounts, "--node", url))
    assert rows[-1] == "chance of 100 %: 0.003015 ether"


def test_quote_of_a_large_request_tells_of_its_first_tranche(cli, url, accounts, finished):
    thick(finished)
    accounts.write_text("account_id,balance\n" + "".join(f"a{n},{n}\n" for n in range(100)))
    rows = lines(cli("quote", "solvency", accounts, "--node", url))
    assert "it would buy in tranches, 4 slots a round; what follows is told of the first" in rows
    told = json.loads(cli("quote", "solvency", accounts, "--node", url, "--json").out)
    assert (told["slots"], told["slots_at_once"]) == (8, 4)
    # 6 a slot, and the bid fee of a wei a slot; 2 wei more pay one more for the tranche.
    assert set(told["rounds"][0]["fees"]) <= {"56", "58"}


def test_quote_tells_fees_that_no_round_would_have_served(cli, url, accounts, finished):
    market = replace(crowded(), sellers=())
    finished.document_of_round["markets"] = record_of([(market, clear(market))])
    rows = lines(cli("quote", "solvency", accounts, "--node", url))
    assert rows[-1] == "chance of 100 %: no fee would have done"
    told = cli("quote", "solvency", accounts, "--fee", "1ether", "--node", url, "--json")
    assert json.loads(told.out)["chance_percent"] == 0


def test_quote_without_a_clearing_knows_the_reference_price(cli, url, accounts, finished):
    finished.document_of_round = {**finished.document_of_round, "markets": []}
    rows = lines(cli("quote", "solvency", accounts, "--node", url))
    assert rows[-1] == "no clearing yet: the reference price is all that is known"
    for fee, said in (("1ether", "1 ether covers it"), ("5", "5 wei does not cover it")):
        asked = cli("quote", "solvency", accounts, "--fee", fee, "--node", url)
        assert lines(asked)[-1] == said
    assert cli("quote", "nothing", accounts, "--node", url).code == ExitCode.BAD_INPUT


def test_quote_refuses_what_submit_refuses(cli, url, accounts):
    assert cli("quote", "solvency", accounts, "--fee", "much", "--node", url).complains()
    accounts.write_text("account_id,balance\na,-1\n")
    ran = cli("quote", "solvency", accounts, "--node", url)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)
    assert "line 2" in ran.err


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
