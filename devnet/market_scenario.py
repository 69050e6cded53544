"""A scenario of many requests at once: they meet in one market, and each round is recomputed."""

from __future__ import annotations

import runpy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from chain.contracts import ProofMarket
from devnet.artifacts import ROOT
from devnet.cluster import ClusterSpec, run_cluster
from devnet.errors import DevnetError, NotTrueError
from devnet.operators import ESCROW
from node.client.api import NodeClient, open_http
from node.client.round_verification import compare, verify_round
from node.client.submit import Order, prepare, submit
from node.programs.accounts import parse_accounts
from protocol.claims import decode_claim
from protocol.eip712 import Domain
from protocol.types import Hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from devnet.cluster import Cluster
    from devnet.progress import Progress
    from node.client.api import Json
    from node.client.round_verification import RoundReport
    from protocol.claims import Claim

PROGRAM: Final = "solvency"
PAGE: Final = 100
_LOOK_S: Final = 0.2
_DRAW: Final = ROOT / "examples" / "solvency" / "draw.py"


@dataclass(frozen=True, slots=True)
class Bid:
    """A request: how many accounts its private list has, and its maximum fee in wei."""

    accounts: int
    max_fee: int


@dataclass(frozen=True, slots=True)
class MarketScenario:
    """Requests that are handed in together, each through another node."""

    summary: str
    bids: tuple[Bid, ...]
    cluster: ClusterSpec
    must: tuple[tuple[str, Callable[[MarketOutcome], bool]], ...]
    deadline_s: int = 180

    def only(self, name: str) -> MarketScenario:
        """It has no acts; raises DevnetError."""
        raise DevnetError(f"there is no act {name!r}; this scenario is one whole")


@dataclass(slots=True)
class Ended:
    """How one request ended."""

    bid: Bid
    expected: Claim
    document: Json

    @property
    def slots(self) -> int:
        """Its segments and the combining one."""
        return int(self.document["slots"])

    @property
    def paid(self) -> int:
        """Wei that left its owner's escrow."""
        return int((self.document.get("result") or {"fee": "0"})["fee"])

    @property
    def settled(self) -> bool:
        """Whether it is settled, with the claim computed from its list."""
        claim = bytes.fromhex(str((self.document.get("result") or {}).get("claim", "0x"))[2:])
        return self.document["state"] == "settled" and decode_claim(claim) == self.expected

    def as_json(self) -> Json:
        """One row of the answer."""
        document = self.document
        provers = dict.fromkeys(str(row["operator"]) for row in document["segments"])
        return {
            "request_id": document["request_id"],
            "slots": self.slots,
            "max_fee": str(self.bid.max_fee),
            "paid": str(self.paid),
            "provers": list(provers),
            "status": document["state"],
            "reason": document["reason"],
            "verdict": document["verdict"],
            "round": (document.get("award") or {}).get("round"),
            "settle_tx": (document.get("result") or {}).get("settle_tx"),
        }


@dataclass(slots=True)
class MarketOutcome:
    """What happened, and what recomputing it showed."""

    cluster: Cluster
    requests: list[Ended]
    clearings: list[Json] = field(default_factory=list)
    """Summaries, oldest first."""
    rounds: int = 0
    """Rounds recomputed from two nodes."""
    difference: str = ""
    """First difference found, empty if there is none."""
    unsettled_roots: list[int] = field(default_factory=list)
    """Sequences whose root on chain is another one."""
    debited: int = 0
    """Wei that left the requester's escrow on chain."""

    @property
    def thick(self) -> list[Json]:
        """Clearings by trade reduction."""
        return [row for row in self.clearings if row["rule"] == "thick"]

    def as_json(self) -> Json:
        """What `--json` prints."""
        sold = [row for row in self.clearings if row["served"]]
        names = (
            "round",
            "rule",
            "buyers",
            "sellers",
            "demanded",
            "offered",
            "volume",
            "served",
            "price",
            "rate",
            "fees",
            "surplus",
        )
        return {
            "requests": [ended.as_json() for ended in self.requests],
            "clearings": [{name: row[name] for name in names} for row in sold],
            "verified": {
                "rounds": self.rounds,
                "identical": not self.difference,
                "difference": self.difference,
            },
            "debited_on_chain": str(self.debited),
        }


async def run_market(scenario: MarketScenario, folder: Path, progress: Progress) -> MarketOutcome:
    """Run it on one fresh cluster; raises NotTrueError naming the first thing that is not true."""
    async with run_cluster(scenario.cluster, folder, progress.say) as cluster:
        requests: list[Ended] = []
        async with trio.open_nursery() as nursery:
            for place, bid in enumerate(scenario.bids):
                nursery.start_soon(_ask, scenario, cluster, place, bid, requests, progress)
        outcome = MarketOutcome(cluster, requests)
        await _recompute(outcome, progress)
        for text, holds in scenario.must:
            if not holds(outcome):
                raise NotTrueError(f"not true: {text}", outcome)
        return outcome


async def _ask(
    scenario: MarketScenario,
    cluster: Cluster,
    place: int,
    bid: Bid,
    requests: list[Ended],
    progress: Progress,
) -> None:
    """Hand one request in, deliver its input to whoever proves it, stay until it is over."""
    draw = runpy.run_path(str(_DRAW))["draw"]
    accounts = parse_accounts(draw(bid.accounts, place).encode())
    urls = cluster.api_urls
    async with open_http() as http:
        client = NodeClient([*urls[place % len(urls) :], *urls[: place % len(urls)]], http)
        about = await client.get("/v1/node")
        order = Order(PROGRAM, accounts, bid.max_fee, scenario.deadline_s)
        prepared = await trio.to_thread.run_sync(prepare, order, cluster.requester, about)
        told = ""

        def tell(document: Json) -> None:
            nonlocal told
            state = str(document.get("state", ""))
            if state != told and state in {"assigned", "certified", "settled", "refunded"}:
                progress.say(f"request {place} ({slots} slots) is {state}")
            told = state

        slots = len(prepared.plan.segment_inputs) + 1
        document = await submit(client, prepared, tell)
        requests.append(Ended(bid, prepared.plan.claim, {**document, "slots": slots}))


async def _recompute(outcome: MarketOutcome, progress: Progress) -> None:
    """Recompute every round from the records of two nodes, and compare with the chain."""
    cluster = outcome.cluster
    market = ProofMarket(cluster.client, cluster.deployment.contracts.proof_market)
    two = cluster.api_urls[:2]
    async with open_http() as http:
        client = NodeClient(two[:1], http)
        last = int((await client.get("/v1/node"))["round"])
        before: Json = {}
        while True:
            page = await client.get("/v1/rounds", {"limit": PAGE, **before})
            outcome.clearings[:0] = reversed(page["clearings"])
            if page["next"] is None:
                break
            before = {"before": page["next"]}
        progress.say(f"recomputes {last} rounds from the records of two nodes")
        for number in range(1, last + 1):
            reports = [await _report(http, url, number, cluster) for url in two]
            outcome.rounds += 1
            found = next((r.difference for r in reports if r.difference), "") or compare(reports)
            if found:
                outcome.difference = f"round {number}: {found}"
                return
            document = await client.get(f"/v1/rounds/{number}")
            sequence = int(document["batch"]["sequence"])
            root = Hash(bytes.fromhex(document["batch"]["root"][2:]))
            if sequence and await market.root_of(sequence) != root:
                outcome.unsettled_roots.append(sequence)
    escrow = await market.escrow_of(cluster.requester.address)
    outcome.debited = ESCROW - escrow


async def _report(http: httpx.AsyncClient, url: str, number: int, cluster: Cluster) -> RoundReport:
    client = NodeClient([url], http)
    with trio.fail_after(30.0):
        about = await client.get("/v1/node")
        while int(about["round"]) < number:
            await trio.sleep(_LOOK_S)
            about = await client.get("/v1/node")
    document = await client.get(f"/v1/rounds/{number}")
    table = await client.get(f"/v1/tables/{document['epoch']}")
    deployment = cluster.deployment
    domain = Domain(deployment.chain_id, deployment.contracts.prover_registry)
    return await trio.to_thread.run_sync(verify_round, url, document, table, domain)
