"""Evidence and receipts in the database: kept once, paged, and readable through the API and CLI."""

from __future__ import annotations

import json

import httpx
import pytest

from node.api.http import build_api
from node.evidence import EvidenceBook
from node.store import Store
from protocol.effects import KeepEvidence, KeepReceipt
from protocol.messages import BidReceipt, Envelope, Kind
from tests.node.operators import OPERATORS, SESSIONS, WORD

REQUEST = b"\x0d" * 32


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "node.sqlite")
    yield opened
    opened.close()


def fault(number, key=None):
    document = {"evidence_id": f"0x{number:064x}", "fault": "double_lock", "round": number}
    return KeepEvidence(key or number.to_bytes(32, "big"), number, document)


def receipt(member, bid_id=WORD, number=7):
    body = BidReceipt(1, number, OPERATORS[member], bid_id)
    signature = SESSIONS[member].sign(bytes(32))
    return KeepReceipt(REQUEST, Envelope(int(Kind.BID_RECEIPT), OPERATORS[member], body, signature))


async def test_evidence_is_kept_once_and_paged_by_round(store):
    book = EvidenceBook(store)
    for effect in (fault(1), fault(3), fault(2), fault(3), fault(9, key=(3).to_bytes(32, "big"))):
        await book.keep(effect)
    assert [row["round"] for row in await book.page(100, 2)] == [3, 2]
    assert [row["round"] for row in await book.page(2, 2)] == [1]


async def test_the_first_receipt_of_each_member_and_bid_is_kept(store):
    book = EvidenceBook(store)
    for effect in (receipt(0), receipt(1), receipt(0, number=8), receipt(0, bid_id=bytes(32))):
        await book.keep_receipt(effect)
    kept = await book.receipts(REQUEST)
    members = [bytes.fromhex(row["member"][2:]) for row in kept]
    assert members == [OPERATORS[0], OPERATORS[1], OPERATORS[0]]
    assert [row["round"] for row in kept] == [7, 7, 7]
    assert await book.receipts(bytes(32)) == []


class Node:
    """The part of a node that answers these questions."""

    def __init__(self, book):
        self.book = book

    async def evidence(self, before, limit):
        return await self.book.page(before, limit)

    async def bid_receipts(self, request_id):
        return await self.book.receipts(request_id)


async def test_the_api_pages_evidence_and_tells_receipts(store):
    book = EvidenceBook(store)
    for number in (1, 2, 3):
        await book.keep(fault(number))
    await book.keep_receipt(receipt(2))
    transport = httpx.ASGITransport(build_api(Node(book)))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
        first = json.loads((await http.get("/v1/evidence?limit=2")).content)
        assert [row["round"] for row in first["evidence"]] == [3, 2]
        second = json.loads((await http.get(f"/v1/evidence?before={first['next']}")).content)
        assert [row["round"] for row in second["evidence"]] == [1]
        assert second["next"] is None
        told = json.loads((await http.get(f"/v1/requests/0x{REQUEST.hex()}/receipts")).content)
        assert [row["member"] for row in told["receipts"]] == ["0x" + OPERATORS[2].hex()]
