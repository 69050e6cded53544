"""Requests of a chosen size, handed in and followed through a node's API."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.records import ROOT
from node.client.submit import Order, Prepared, prepare
from node.programs.accounts import Account, read_accounts

if TYPE_CHECKING:
    from devnet.cluster import Cluster
    from node.client.api import Json, NodeClient

PROGRAM: Final = "solvency"
MAX_FEE: Final = 10**17
"""Wei of the fee token; far above the posted price of a hundred segments."""
SEED: Final = 2026
_DRAW: Final = ROOT / "examples" / "solvency" / "draw.py"
_POLL_MS: Final = 2_000


def accounts(count: int) -> tuple[Account, ...]:
    """So many drawn accounts, the same in every run."""
    text = runpy.run_path(str(_DRAW))["draw"](count, SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "accounts.csv"
        path.write_text(text, encoding="utf-8")
        return tuple(read_accounts(path))


async def prepared(
    client: NodeClient,
    cluster: Cluster,
    books: tuple[Account, ...],
    deadline_s: int,
    allowlist: tuple[bytes, ...] = (),
) -> Prepared:
    """A signed request, ready to be handed in."""
    node = await client.get("/v1/node")
    order = Order(PROGRAM, books, MAX_FEE, deadline_s, allowlist)
    return await trio.to_thread.run_sync(prepare, order, cluster.requester, node)


async def hand_in(client: NodeClient, request: Prepared) -> None:
    """A request and its bid, sealed to the node's committee; raises RefusedError."""
    await client.post("/v1/requests", request.frame)
    bid = request.bid(await client.get("/v1/node"))
    await client.post(f"/v1/requests/0x{request.request_id.hex()}/bid", bid)


async def until_stage(client: NodeClient, request_id: bytes, stage: str) -> Json:
    """The first document of a request that has reached a stage."""
    version = 0
    path = f"/v1/requests/0x{request_id.hex()}"
    while True:
        document = await client.get(path, {"version": version, "wait_ms": _POLL_MS})
        if stage in document["stages_ms"]:
            return document
        version = int(document["version"])
