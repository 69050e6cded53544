"""Requests that are refused: each with its reason, nothing kept, nothing charged."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from chain.client import open_client
from chain.contracts import ProofMarket
from chain.deployments import load_deployment
from node.client.api import NodeClient, open_http
from node.client.submit import Order, prepare
from node.crypto import SessionKey
from node.errors import RefusedError
from node.keys import load_session_key, read_password
from protocol.bounds import MAX_FRAME
from protocol.codec import decode, encode
from protocol.eip712 import Domain, digest
from protocol.messages import Envelope, Kind, ProofRequest, Vote
from protocol.types import Address
from tests.e2e.workload import draw_accounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Standing

MAX_FEE: Final = 10**17


@dataclass(frozen=True)
class Terms:
    """Everything that goes into a signed request; a good one unless something is replaced."""

    request: ProofRequest
    domain: Domain
    requester: SessionKey

    def but(self, **fields: Any) -> Terms:
        """The same with other fields of the request."""
        return replace(self, request=msgspec.structs.replace(self.request, **fields))

    def frame(self) -> bytes:
        """Signed and encoded."""
        signature = self.requester.sign(digest(self.domain, self.request))
        return encode(Envelope(int(Kind.REQUEST), self.request.requester, self.request, signature))


def amount(wei: int) -> bytes:
    return wei.to_bytes(32, "big")


def vote(terms: Terms) -> bytes:
    body = Vote(1, 1, 1, bytes(32))
    return encode(Envelope(Kind.PREPARE, terms.request.requester, body, bytes(96)))


OTHER: Final = SessionKey(b"\x07" * 32)
BAD: Final[dict[str, tuple[Callable[[Terms], bytes], str]]] = {
    "no bytes": (lambda _: b"", "malformed"),
    "garbage": (lambda _: secrets.token_bytes(300), "malformed"),
    "oversized": (lambda _: bytes(MAX_FRAME + 1), "frame_too_large"),
    "a vote": (vote, "not_a_member"),
    "unknown program": (
        lambda t: t.but(program_id=secrets.token_bytes(32)).frame(),
        "unknown_program",
    ),
    "reserve above escrow": (
        lambda t: t.but(reserve=amount(5_000 * 10**18)).frame(),
        "escrow_too_low",
    ),
    "reserve below the bid fee": (lambda t: t.but(reserve=amount(1)).frame(), "fee_below_bid_fee"),
    "nobody's escrow": (
        lambda t: replace(t.but(requester=OTHER.address), requester=OTHER).frame(),
        "escrow_too_low",
    ),
    "deadline in the past": (lambda t: t.but(deadline_view=0).frame(), "deadline_past"),
    "deadline in years": (lambda t: t.but(deadline_view=10**8).frame(), "deadline_too_far"),
    "issued yesterday": (
        lambda t: t.but(issued_at=t.request.issued_at - 86_400).frame(),
        "issued_at_off",
    ),
    "another's request": (lambda t: replace(t, requester=OTHER).frame(), "bad_signature"),
    "another registry": (
        lambda t: replace(t, domain=Domain(t.domain.chain_id, Address(b"\x09" * 20))).frame(),
        "bad_signature",
    ),
    "another chain": (
        lambda t: replace(t, domain=Domain(1, t.domain.registry)).frame(),
        "bad_signature",
    ),
}


async def terms_of(devnet: Standing, client: NodeClient) -> Terms:
    """A request that would be admitted."""
    files = devnet.state["requester"]
    key = load_session_key(Path(files["key"]), read_password(Path(files["password_file"])))
    node = await client.get("/v1/node")
    order = Order("solvency", draw_accounts(16, 1), MAX_FEE, 120)
    body = decode(prepare(order, key, node).frame).body
    assert isinstance(body, ProofRequest)
    domain = Domain(int(node["chain_id"]), Address(bytes.fromhex(node["registry"][2:])))
    return Terms(body, domain, key)


async def test_what_is_refused_leaves_no_trace(devnet: Standing) -> None:
    deployment = load_deployment(Path(devnet.state["deployment"]))
    async with open_http() as http, open_client(devnet.state["rpc_url"]) as chain:
        market = ProofMarket(chain, deployment.contracts.proof_market)
        clients = [NodeClient([url], http) for url in devnet.apis]
        good = await terms_of(devnet, clients[0])

        async def trace() -> tuple[int, int, list[object]]:
            listed = [(await node.get("/v1/requests"))["requests"] for node in clients]
            escrow = await market.escrow_of(good.request.requester)
            return escrow, await market.last_sequence(), listed

        before = await trace()
        told = {}
        for name, (make, _) in BAD.items():
            with pytest.raises(RefusedError) as refused:
                await clients[0].post("/v1/requests", make(good))
            told[name] = refused.value.reason
        assert told == {name: reason for name, (_, reason) in BAD.items()}
        assert await trace() == before
        assert all([(await node.readiness())["ready"] for node in clients])
