from __future__ import annotations

from dataclasses import replace

import pytest

from node import history as module
from node.api.http import NEWEST
from node.history import History
from node.store import Store
from protocol.documents import round_document, table_json
from protocol.effects import KeepRound
from protocol.messages import DecidedRound
from tests.node.client.proven import certify, table
from tests.protocol.certified import CLASS, OPERATORS, PRICE, World, id_of, request_body


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "node.sqlite")
    yield opened
    opened.close()


class Rounds:
    """A world whose rounds become public records."""

    def __init__(self):
        self.world = World()

    def decide(self, *bodies, slots=2):
        dear = self.world.ask(OPERATORS[3], slots=slots, price=PRICE + 1)
        asks = [*self.world.asks(OPERATORS[:3], slots=slots), dear]
        content = self.world.content(bodies, asks)
        done = self.world.decide(bodies, asks)
        record = DecidedRound(content.value, certify(done.ledger.batch, bytes(32)), (), ())
        document = round_document(record, replace(done), OPERATORS[0], 5_000)
        return KeepRound(content.value.round, document, table_json(table()))


async def test_rounds_clearings_and_receipts_are_kept_and_paged(store):
    history, rounds = History(store), Rounds()
    served = request_body("served", slots=3, fee=4 * PRICE)
    poor = request_body("poor", slots=2, fee=PRICE)
    for effect in (rounds.decide(served, poor), rounds.decide(), rounds.decide()):
        await history.keep(effect)
        await history.keep(effect)
    first = await history.round(1)
    assert [row["request_id"] for row in first["markets"][0]["buyers"]] == sorted(
        "0x" + id_of(body).hex() for body in (served, poor)
    )
    assert await history.round(4) is None
    page = await history.clearings(CLASS, NEWEST, 2)
    assert [row["round"] for row in page] == [3, 2]
    (last,) = await history.clearings(None, page[-1]["round"], 2)
    assert (last["round"], last["served"], last["volume"], last["demanded"]) == (1, 1, 3, 5)
    assert (last["offered"], last["buyers"], last["sellers"]) == (8, 2, 4)
    assert await history.clearings(bytes(32), NEWEST, 9) == []
    assert [row["round"] for row in await history.receipts(id_of(poor), NEWEST, 9)] == [3, 2, 1]
    assert (await history.table(3))["epoch"] == 3
    assert await history.table(4) is None


async def test_a_receipt_says_why_and_what_would_have_won(store):
    history, rounds = History(store), Rounds()
    served = request_body("served", slots=3, fee=4 * PRICE)
    poor = request_body("poor", slots=2, fee=PRICE)
    await history.keep(rounds.decide(served, poor))
    (won,) = await history.receipts(id_of(served), NEWEST, 9)
    assert (won["verdict"], won["slots"], won["amount"]) == ("won", 3, str(3 * PRICE))
    (lost,) = await history.receipts(id_of(poor), NEWEST, 9)
    assert (lost["verdict"], lost["amount"]) == ("fee_below_price", "0")
    assert int(lost["would_have_won"]) == 2 * PRICE
    assert lost["rule"] == "thin"
    (dear,) = await history.receipts(OPERATORS[3], NEWEST, 9)
    assert (dear["verdict"], dear["bid"]["ask"]) == ("ask_above_price", str(PRICE + 1))
    assert int(dear["would_have_won"]) == PRICE


async def test_the_oldest_rounds_go(store, monkeypatch):
    monkeypatch.setattr(module, "KEPT_ROUNDS", 2)
    history, rounds = History(store), Rounds()
    poor = request_body("poor", slots=2, fee=PRICE)
    for _ in range(4):
        await history.keep(rounds.decide(poor))
    assert await history.round(2) is None
    assert [row["round"] for row in await history.clearings(None, NEWEST, 9)] == [4, 3]
    assert [row["round"] for row in await history.receipts(id_of(poor), NEWEST, 9)] == [4, 3]


async def test_pages_are_bounded(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_PAGE", 2)
    history, rounds = History(store), Rounds()
    poor = request_body("poor", slots=2, fee=PRICE)
    for _ in range(4):
        await history.keep(rounds.decide(poor))
    assert len(await history.receipts(OPERATORS[0], NEWEST, 10**9)) == 2
