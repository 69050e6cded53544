"""Bids that have to be sealed anew; private inputs for provers that are late, down, or replaced."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from node.box import BidCiphers, SealingKey
from node.client.api import Json
from node.client.submit import Prepared, _Bidder, _Courier
from node.errors import RefusedError
from node.private_input import associated_data
from node.programs.solvency import SEED_BYTES, plan
from protocol.codec import decode
from protocol.messages import BuyBid, SealedBid
from protocol.sealing import open_bid, own_share
from tests.e2e.workload import draw_accounts
from tests.node.operators import DOMAIN, REQUESTER

REQUEST = b"\x01" * 32
FIRST, STANDBY = "0x" + "0a" * 20, "0x" + "0b" * 20
KEY = SealingKey(b"\x07" * 32)
CLASS, MAX_FEE = b"\x0c" * 32, 10**15
PREPARED = Prepared(
    request_id=REQUEST,
    frame=b"the request",
    plan=plan(draw_accounts(2, 1), bytes(SEED_BYTES)),
    domain=DOMAIN,
    class_id=CLASS,
    max_fee=MAX_FEE,
    key=REQUESTER,
)
MEMBERS = [SealingKey(bytes([place + 1]) * 32) for place in range(4)]


def row(operator: str, attempt: int = 0, state: str = "assigned") -> Json:
    return {
        "segment": 0,
        "operator": operator,
        "attempt": attempt,
        "round": 1,
        "state": state,
        "sealing_key": "0x" + KEY.public_key.hex(),
    }


class Node:
    """Refuses inputs until told otherwise."""

    def __init__(self) -> None:
        self.taking = False
        self.puts: list[tuple[str, bytes, str]] = []

    async def put(self, path: str, body: bytes, params: dict[str, str]) -> Json:
        await trio.lowlevel.checkpoint()
        self.puts.append((path, body, params["operator"]))
        if not self.taking:
            raise RefusedError("refused", "see docs/reasons.md", "prover_unreachable")
        return {}


async def quiet() -> None:
    """Until nothing happens for longer than any retry."""
    await trio.sleep(5)


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def courier(node: Node) -> _Courier:
    return _Courier(node, PREPARED)  # type: ignore[arg-type]


async def test_a_refused_input_is_brought_again_without_news(
    autojump_clock: trio.testing.MockClock, node: Node, courier: _Courier
) -> None:
    async with trio.open_nursery() as nursery:
        courier.deliver(nursery, row(FIRST))
        await trio.sleep(1.2)
        assert len(node.puts) > 1
        node.taking = True
        courier.deliver(nursery, row(FIRST))  # the next document still shows it
        await quiet()
        taken = len(node.puts)
        courier.deliver(nursery, row(FIRST))
        await quiet()
        assert len(node.puts) == taken, "what was taken is not brought again"
    path, box, operator = node.puts[-1]
    assert path.endswith("/inputs/0")
    data = associated_data(REQUEST, 0, bytes.fromhex(operator[2:]))
    assert KEY.open(box, data) == PREPARED.plan.segment_inputs[0]


async def test_a_replaced_prover_is_left_alone(
    autojump_clock: trio.testing.MockClock, node: Node, courier: _Courier
) -> None:
    async with trio.open_nursery() as nursery:
        courier.deliver(nursery, row(FIRST))
        await trio.sleep(1.2)
        courier.deliver(nursery, row(STANDBY, 1))
        await trio.sleep(1.2)
        before = len(node.puts)
        await quiet()
        assert {operator for _, _, operator in node.puts[before:]} == {STANDBY}
        courier.deliver(nursery, row(STANDBY, 1, "accepted"))
        await quiet()
        before = len(node.puts)
        await quiet()
        assert len(node.puts) == before, "an accepted segment has its input"


class Market:
    """A node's API as far as a bidder sees it."""

    def __init__(self) -> None:
        self.epoch = 1
        self.refusal = ""
        self.document: Json = {"bid_id": None, "state": "classified"}
        self.bids: list[SealedBid] = []
        self.requests = 0

    async def get(self, path: str, params: object = None) -> Json:
        await trio.lowlevel.checkpoint()
        if path != "/v1/node":
            return self.document
        committee = [{"sealing_key": "0x" + key.public_key.hex()} for key in MEMBERS]
        return {"sealing": {"epoch": self.epoch, "round": 7, "committee": committee}}

    async def post(self, path: str, frame: bytes) -> Json:
        await trio.lowlevel.checkpoint()
        if path == "/v1/requests":
            self.requests += 1
            return {}
        if self.refusal:
            raise RefusedError("refused", "see docs/reasons.md", self.refusal)
        body = decode(frame).body
        assert isinstance(body, SealedBid)
        self.bids.append(body)
        return {}


def bidder_of(market: Market) -> _Bidder:
    return _Bidder(market, PREPARED)  # type: ignore[arg-type]


async def test_a_bid_is_sealed_once_for_an_epoch_and_anew_for_the_next() -> None:
    market = Market()
    bidder = bidder_of(market)
    await bidder.hand_in()
    await bidder.poll(0, {})
    market.epoch = 2
    await bidder.poll(0, {})
    first, again, later = market.bids
    assert first == again
    assert (first.epoch, later.epoch, market.requests) == (1, 2, 1)
    shares = {
        place: own_share(DOMAIN, later, place, key.public_key, BidCiphers(key)) or b""
        for place, key in enumerate(MEMBERS[:2])
    }
    opened = open_bid(DOMAIN, later, shares, BidCiphers())
    assert isinstance(opened, BuyBid)
    assert int.from_bytes(opened.max_fee, "big") == MAX_FEE


@pytest.mark.parametrize("state", ["auctioned", "assigned", "settled"])
async def test_an_admitted_request_needs_no_bid(state: str) -> None:
    market = Market()
    market.document = {"bid_id": None, "state": state}
    await bidder_of(market).poll(0, {})
    assert market.bids == []


async def test_a_bid_that_comes_at_a_turn_of_epochs_is_tried_again() -> None:
    market = Market()
    market.refusal = "stale"
    bidder = bidder_of(market)
    await bidder.hand_in()
    market.refusal = ""
    await bidder.poll(0, {})
    assert len(market.bids) == 1


async def test_a_bid_that_is_refused_for_good_is_told() -> None:
    market = Market()
    market.refusal = "second_bid"
    with pytest.raises(RefusedError):
        await bidder_of(market).hand_in()
