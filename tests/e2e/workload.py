"""Requests for a running cluster as a client makes them, and what the nodes say in the end."""

from __future__ import annotations

import runpy
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import trio

from chain.contracts import ProofMarket
from devnet.operators import ESCROW
from node.client.api import NodeClient, open_http
from node.client.submit import Order, prepare, submit
from node.programs.accounts import parse_accounts
from tests.e2e.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from devnet.cluster import Cluster
    from node.programs.accounts import Account

MAX_FEE: Final = 10**17
LOG_LINES: Final = 60
AGREE_DEADLINE_S: Final = 30.0

Json = dict[str, Any]


def draw_accounts(count: int, seed: int) -> tuple[Account, ...]:
    """The private accounts of one request, as the example draws them."""
    text = runpy.run_path(str(ROOT / "examples" / "solvency" / "draw.py"))["draw"](count, seed)
    return tuple(parse_accounts(text.encode()))


async def settle_one(
    cluster: Cluster,
    accounts: tuple[Account, ...],
    deadline_s: int,
    seen: Callable[[Json], None] = lambda _: None,
    through: Sequence[str] = (),
    allowlist: tuple[bytes, ...] = (),
) -> Json:
    """Submit one request through any node, or these, and stay until it is over; its document."""
    urls = [cluster.nodes[name].files.api_url for name in through] or cluster.api_urls
    async with open_http() as http:
        client = NodeClient(urls, http)
        node = await client.get("/v1/node")
        order = Order("solvency", accounts, MAX_FEE, deadline_s, allowlist)
        prepared = await trio.to_thread.run_sync(prepare, order, cluster.requester, node)
        return await submit(client, prepared, seen)


async def ask(url: str, path: str) -> Json:
    """GET a JSON object of one node."""
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
        answer: Json = (await http.get(url + path)).raise_for_status().json()
        return answer


async def documents_of(cluster: Cluster, request_id: str) -> list[Json]:
    """A request's document on every node, once the chain has told each that it is over."""
    path = f"/v1/requests/{request_id}"
    found: list[Json] = []
    with trio.fail_after(AGREE_DEADLINE_S):
        for url in cluster.api_urls:
            document = await ask(url, path)
            while document["state"] not in {"settled", "refunded"}:
                waiting = f"{path}?version={document['version']}&wait_ms=2000"
                document = await ask(url, waiting)
            found.append(document)
    return found


async def check_escrow(cluster: Cluster, fees: int) -> None:
    """The requester paid the fees of what was settled, and nothing else."""
    market = ProofMarket(cluster.client, cluster.deployment.contracts.proof_market)
    assert await market.escrow_of(cluster.requester.address) == ESCROW - fees


def logs_of(folder: Path) -> str:
    """The last lines of every node's log, for a person who has to find out."""
    parts = []
    for path in sorted(folder.rglob("node.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        parts += [f"---- {path.parent.name}", *lines[-LOG_LINES:]]
    return "\n".join(parts)


def check_logs(folder: Path) -> None:
    """No node met anything that it did not expect."""
    for path in sorted(folder.rglob("node.log")):
        text = path.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, f"{path.parent.name}:\n{text[-6000:]}"


@asynccontextmanager
async def logs_shown(folder: Path, *facts: str) -> AsyncIterator[None]:
    """Add the nodes' logs, and how to repeat the run, to a failure."""
    try:
        yield
    except (Exception, BaseExceptionGroup) as exc:
        exc.add_note("\n".join([*facts, logs_of(folder)]))
        raise
