from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from msgspec import structs

from node.client.round_verification import compare, first_difference, verify_round
from node.client.table_hash import table_hash
from protocol.batch import ResultStatus, build_batch, unsettled_batch
from protocol.documents import round_document, table_json
from protocol.eip712 import batch_digest, value_digest
from protocol.execution import Execution
from protocol.market_record import markets_hash
from protocol.messages import DecidedRound, Value
from protocol.types import ZERO_HASH
from tests.node.client.proven import DOMAIN, OTHER_REQUEST, certify, table
from tests.protocol.certified import OPERATORS, PRICE, World, request_body
from tests.vectors.encoding import word

VALUE = Value(
    epoch=3,
    round=41,
    parent=word("parent"),
    lists=(word("list"),),
    bids=(word("bid"),),
    outcomes=(),
    evidence=(),
    next_epoch=3,
)


def cleared() -> Execution:
    world = World()
    bodies = [request_body(f"r{place}", slots=3, fee=4 * PRICE) for place in range(3)]
    bodies.append(request_body("poor", slots=2, fee=PRICE))
    bodies.append(request_body("named", slots=2, fee=9 * PRICE, allowlist=(OPERATORS[0],)))
    return world.decide(bodies, world.asks(slots=8))


def record(*, settled=False):
    done, value = cleared(), value_digest(DOMAIN, VALUE)
    traded = markets_hash(done.clearings)
    batch = None
    if settled:
        batch = build_batch(
            epoch=3,
            round_number=41,
            value=value,
            sequence=1,
            parent=ZERO_HASH,
            results=[replace(OTHER_REQUEST, status=ResultStatus.EXPIRED)],
            credit_rows=[],
            debit_rows=[],
            stake_rows=[],
            reputation_root=ZERO_HASH,
            parameters_hash=word("parameters"),
            markets_hash=traded,
            paid=0,
        )
    header = unsettled_batch(3, 41, value, traded) if batch is None else batch.header
    certificate = certify(batch_digest(DOMAIN, header), value)
    decided = DecidedRound(VALUE, certificate, (), ())
    return round_document(decided, replace(done, header=header, settled=batch), b"\x01" * 20, 9)


def verify(document, of=None, trusted=None):
    return verify_round("here", document, table_json(of or table()), DOMAIN, trusted)


def failed(report):
    return [step.name for step in report.steps if not step.ok]


@pytest.mark.parametrize("settled", [False, True])
def test_an_honest_record_holds(settled):
    report = verify(record(settled=settled))
    assert failed(report) == []
    assert report.difference == ""
    assert report.markets[0]["trades"]


def at(document, path):
    for name in path[:-1]:
        document = document[name]
    return document, path[-1]


MARKET = ("markets", 0)


@pytest.mark.parametrize(
    ("path", "value", "steps"),
    [
        ((*MARKET, "trades", 0, "fee"), "1", ["clearings", "commitment"]),
        ((*MARKET, "trades", 0, "provers", 0), "0x" + "07" * 20, ["clearings", "commitment"]),
        ((*MARKET, "receipts", 0, "verdict"), "no_room", ["clearings", "commitment"]),
        ((*MARKET, "next_price"), "5", ["clearings", "commitment"]),
        ((*MARKET, "surplus"), "5", ["clearings", "commitment"]),
        ((*MARKET, "sellers", 0, "quality"), 9_000, ["clearings", "commitment"]),
        ((*MARKET, "recent"), ["5"], ["commitment"]),
        (("bids",), [], ["value"]),
        (("next_epoch",), 4, ["value"]),
        (("batch", "root"), "0x" + "09" * 32, ["commitment", "batch"]),
        (("batch", "paid"), "9", ["batch"]),
        (("batch", "round"), 40, ["batch"]),
        (("certificate", "digest"), "0x" + "09" * 32, ["batch", "certificate"]),
        (("certificate", "non_signers"), [0, 2], ["certificate"]),
        (("certificate", "signature"), "0x" + "09" * 96, ["certificate"]),
    ],
)
def test_whatever_is_changed_is_found(path, value, steps):
    document = record()
    held, name = at(document, path)
    assert held[name] != value
    held[name] = value
    assert failed(verify(document)) == steps


def test_a_forged_result_names_its_first_difference():
    document = record()
    document["markets"][0]["trades"][0]["fee"] = "1"
    assert verify(document).difference.startswith("clearings: recorded and recomputed: markets[0]")


def test_operators_of_another_epoch_certify_nothing():
    assert failed(verify(record(), structs.replace(table(), epoch=2))) == ["certificate"]


def test_a_table_of_invented_operators_is_caught_by_the_hash_that_is_trusted():
    known = table_hash(table().operators)
    assert failed(verify(record(), trusted=known)) == []
    assert failed(verify(record(), trusted=word("another"))) == ["operator table"]


def test_nodes_that_say_otherwise_are_told_apart():
    honest = verify(record())
    forged = record()
    forged["markets"][0]["price"]["num"] = "7"
    assert compare([honest, honest]) == ""
    assert "markets[0].price.num" in compare([honest, verify(forged)])
    other = record()
    other["certificate"]["digest"] = "0x" + "09" * 32
    assert "batch" in compare([honest, verify(other)])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*MARKET, "buyers", 0, "slots"), 1 << 60),
        ((*MARKET, "buyers", 0, "slots"), 0),
        ((*MARKET, "sellers", 0, "slots"), -1),
        ((*MARKET, "buyers", 0, "max_fee"), "-5"),
        ((*MARKET, "buyers", 0, "max_fee"), "9" * 100_000),
        ((*MARKET, "buyers", 0, "request_id"), "0x12"),
        ((*MARKET, "rule"), "best"),
        ((*MARKET, "receipts", 0, "verdict"), "lucky"),
        ((*MARKET, "extra"), 1),
        ((*MARKET,), None),
        (("markets",), "none"),
        (("batch", "sequence"), 1 << 64),
        (("certificate", "signature"), "0x"),
        (("lists",), ["0x1"]),
        (("round",), "41"),
    ],
)
def test_what_is_no_record_is_refused_without_being_recomputed(path, value):
    document = copy.deepcopy(record())
    held, name = at(document, path)
    held[name] = value
    with pytest.raises(ValueError, match=r"."):
        verify(document)


def test_the_first_difference_is_named_by_its_path():
    assert first_difference({"a": [1, 2]}, {"a": [1, 3]}, "x") == "x.a[1]: 2 and 3"
    assert first_difference({"a": 1}, {"b": 1}, "x") == 'x: {"a":1} and {"b":1}'
    assert first_difference([1], [1], "x") == ""
