"""Bringing private inputs to provers that are late, down, or replaced."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from node.box import SealingKey
from node.client.api import Json
from node.client.submit import Prepared, _Courier
from node.errors import RefusedError
from node.private_input import associated_data
from node.programs.solvency import SEED_BYTES, plan
from tests.e2e.workload import draw_accounts

REQUEST = b"\x01" * 32
FIRST, STANDBY = "0x" + "0a" * 20, "0x" + "0b" * 20
KEY = SealingKey(b"\x07" * 32)
PREPARED = Prepared(REQUEST, b"", plan(draw_accounts(2, 1), bytes(SEED_BYTES)))


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
