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
from protocol.reputation import Standing
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


def test_explain_a_request_that_lost(cli, url):
    rows = cli("explain", "0x" + id_of(REQUEST).hex(), "--node", url).out.splitlines()
    assert f"round {ROUND}, " in rows[2]
    assert rows[2].endswith("ago, groth16/S, thin market:")
    assert rows[3:7] == [
        "  0.001 ether a slot",
        "  fee_below_price: the maximum fee is below slots times price",
        "  2 slots cost 0.002 ether at this price",
        "  it offered 0.00099 ether for them, after the bid fee",
    ]
    told = json.loads(cli("explain", id_of(REQUEST).hex(), "--node", url, "--json").out)
    assert told["receipts"][0]["verdict"] == "fee_below_price"
    other = cli("explain", id_of(REQUEST).hex(), "--round", 5, "--node", url, "--json")
    assert json.loads(other.out)["receipts"] == []
    said = cli("explain", id_of(REQUEST).hex(), "--round", 5, "--node", url).out
    assert "it was in no clearing of round 5" in said


def test_explain_says_how_a_request_ended(cli, url, finished):
    award = {"round": 40, "gateway": "0x" + OPERATORS[1].hex(), "price": "1", "fee": str(PRICE)}
    finished.change = {"award": award, "verdict": "won"}
    rows = cli("explain", finished.request_id, "--node", url).out.splitlines()
    assert "awarded in round 40 for 0.001 ether" in rows
    assert any(row.startswith("  segment 0: 0x") and "prover number 2" in row for row in rows)
    assert any(row.startswith("  combining segment: 0x") for row in rows)
    assert "settled in round 41 for 0.003 ether" in rows
    assert "  slots 0.001 ether, bid fee 0.002 ether" in rows
    assert f"  transaction 0x{'0d' * 32}" in rows
    assert rows[-1] == "  received 0.0, admitted 0.4"
    finished.change |= {"award": None, "segments": [], "reason": "deadline_past"}
    finished.change["result"] = finished.document()["result"] | {
        "status": "expired",
        "settle_tx": "0x",
    }
    rows = cli("explain", finished.request_id, "--node", url).out.splitlines()
    assert "expired in round 41 for 0.003 ether" in rows
    assert "  slots 0 wei, bid fee 0.003 ether" in rows
    assert "reason: deadline_past" in rows
    assert not any("transaction" in row for row in rows)


def test_explain_an_operator(cli, url, finished):
    finished.change = {"operator": "0x" + OPERATORS[0].hex()}
    for name in ("me", "0x" + OPERATORS[0].hex()):
        rows = lines(cli("explain", name, "--node", url))
        assert rows[2].startswith("quality 10000 of 10000")
        assert any(row.startswith("slot cap 8, ") for row in rows)
        assert "eligible: its quality is at least 2500" in rows
        assert "  it asked 0.0001 ether for each of 8 free slots" in rows
        assert "  asks up to 0.001 ether sell at this price" in rows
        assert any(row.startswith("  it sold ") for row in rows)
    assert cli("explain", "0x" + "07" * 20, "--node", url).code == ExitCode.BAD_INPUT
    assert cli("explain", "0x1234", "--node", url).complains()
    unknown = cli("explain", "0x" + "07" * 32, "--node", url)
    assert (unknown.code, unknown.complains()) == (ExitCode.REFUSED, True)
    assert "an ask is explained by its operator's address" in unknown.err


def test_explain_names_the_clearings_that_an_operator_was_not_in(cli, url, finished):
    (market,) = finished.document_of_round["markets"]
    me = "0x" + OPERATORS[0].hex()
    market["receipts"] = [row for row in market["receipts"] if row["bidder"] != me]
    rows = lines(cli("explain", me, "--node", url))
    assert f"round {ROUND}, groth16/S: not in this clearing, see below" in rows
    assert any("it did not ask, or had no free slot" in row for row in rows)
    told = json.loads(cli("explain", me, "--node", url, "--json").out)
    assert [row["round"] for row in told["absent"]] == [ROUND]
    assert lines(cli("explain", me, "--round", 7, "--node", url))[-1] == "round 7 cleared nothing"
    finished.document_of_round["markets"] = []
    assert lines(cli("explain", me, "--node", url))[-1] == "no round cleared anything yet"


def test_explain_an_operator_that_is_shut_out(cli, url, finished):
    finished.world.ledger = replace(
        finished.world.ledger, standings={OPERATORS[0]: Standing(0, 0, 40_000)}
    )
    rows = lines(cli("explain", "0x" + OPERATORS[0].hex(), "--node", url))
    assert any(row.startswith("quality 1666 of 10000") for row in rows)
    assert any(row.startswith("NOT eligible: its quality is below 2500") for row in rows)


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


VERBS = {
    "market": ("market",),
    "class": ("market", "--class", "groth16/S"),
    "quote": ("quote", "solvency"),
    "request": ("explain", id_of(REQUEST).hex()),
    "operator": ("explain", "0x" + OPERATORS[0].hex()),
}


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    ("verbs", "what", "answer"),
    [
        ("market class quote", "describe", {"classes": 5, "programs": 5}),
        ("market class quote operator", "clearings", 5),
        ("market class quote operator", "clearings", [5]),
        ("market class quote operator", "clearings", [{"round": "../../livez"}]),
        ("class quote", "round", {"markets": []}),
        ("class quote", "round", {"markets": "none"}),
        ("quote", "market", {"reference_price": "dear"}),
        ("request operator", "receipts", 5),
        ("request", "request", {"request_id": "0x../../livez"}),
    ],
)
def test_a_node_that_answers_otherwise_is_told(
    cli, url, finished, accounts, verbs, what, answer, more
):
    async def told(*_arguments):
        return answer

    if what == "describe":
        finished.change = answer
    else:
        setattr(finished, what, told if what != "market" else lambda _class_id: answer)
    for verb in verbs.split():
        arguments = [*VERBS[verb], *([accounts] if verb == "quote" else []), *more]
        ran = cli(*arguments, "--node", url)
        assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True), verb


@pytest.mark.parametrize(
    ("verb", "what"),
    [("market", "market"), ("class", "market"), ("request", "request"), ("operator", "standing")],
)
def test_numbers_that_are_none_are_told_where_they_are_shown(cli, url, finished, verb, what):
    good = {
        "market": finished.market(CLASS),
        "request": finished.document(),
        "standing": finished.standing(OPERATORS[0]),
    }[what]
    bad = {key: "none" if isinstance(value, int) else value for key, value in good.items()}
    bad |= {"reference_price": "none", "max_fee": "none"}

    async def told(*_arguments):
        return bad

    setattr(finished, what, told if what == "request" else lambda _id: bad)
    ran = cli(*VERBS[verb], "--node", url)
    assert ran.code == ExitCode.NODE_UNREACHABLE
    assert ran.err.startswith("error: the answer is not as documented")
    assert len(ran.err.splitlines()) == 1
