"""What a node that one asks may answer, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from node.client.api import NodeClient
from node.errors import NodeUnreachableError, RefusedError

DEEP = b"[" * 200_000
A, B = "http://a.test", "http://b.test"


@pytest.fixture
def lifted() -> Iterator[None]:
    """The recursion limit as py_ecc leaves it where something imports it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(before)


def client(*answers: httpx.Response) -> NodeClient:
    """A client of nodes a and b, who give these answers in turn."""
    left = list(answers)
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: left.pop(0)))
    return NodeClient([A, B], http)


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"[]",
        DEEP,
        b'{"a":' + DEEP,
        DEEP.decode().encode("utf-16"),
        b"\xff",
    ],
    ids=["garbage", "array", "deep", "deep object", "deep in utf-16", "no text"],
)
@pytest.mark.usefixtures("lifted")
async def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(NodeUnreachableError):
        await client(httpx.Response(200, content=content)).get("/v1/node")


async def test_the_next_node_is_asked_after_a_failure_and_stays_first() -> None:
    asked = client(httpx.Response(500), httpx.Response(200, json={"x": 1}))
    assert await asked.get("/v1/node") == {"x": 1}
    assert asked.node == B


async def test_a_refusal_carries_its_reason() -> None:
    answer = httpx.Response(409, json={"reason": "not_assigned", "text": "not assigned"})
    with pytest.raises(RefusedError) as caught:
        await client(answer).put("/v1/requests/0x/inputs/0", b"", {})
    assert caught.value.reason == "not_assigned"
