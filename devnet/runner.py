"""Runs a scenario: a cluster, one request per act with its events, then the checks."""

from __future__ import annotations

import runpy
import shutil
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from devnet.artifacts import ROOT
from devnet.cluster import run_cluster
from devnet.consumer import Consumer
from devnet.errors import DevnetError, NotTrueError
from devnet.fault_scenario import FaultScenario, run_faults
from devnet.market_scenario import MarketScenario, run_market
from devnet.progress import RequestTeller
from devnet.scenario import Live, Outcome
from node.client.api import NodeClient, open_http
from node.client.submit import Order, prepare, submit
from node.errors import NodeError
from node.programs.accounts import read_accounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devnet.cluster import Cluster
    from devnet.fault_scenario import FaultOutcome
    from devnet.market_scenario import MarketOutcome
    from devnet.progress import Progress
    from devnet.scenario import Act, Scenario
    from node.client.api import Json
    from node.client.submit import Prepared
    from node.programs.accounts import Account

    AnyScenario = Scenario | MarketScenario | FaultScenario

PROGRAM: Final = "solvency"
MAX_FEE: Final = 10**17
"""Wei of the fee token; far above the posted price of a hundred segments."""
FAILED_LOGS: Final = ROOT / ".artifacts" / "failed-scenario"
_DRAW: Final = ROOT / "examples" / "solvency" / "draw.py"
_SCENARIOS: Final = Path(__file__).parent / "scenarios"
_LOOK_S: Final = 0.02
_GRACE_S: Final = 60.0
"""A request must be over so long after its deadline, settled or refunded."""


@dataclass(frozen=True, slots=True)
class _Books:
    """The private accounts of a scenario and what the act's requests have in common."""

    accounts: tuple[Account, ...]
    total: int


def scenario_names() -> list[str]:
    """Names of the scenario files, as a person writes them."""
    return sorted(p.stem.replace("_", "-") for p in _SCENARIOS.glob("[!_]*.py"))


def load_scenario(name: str) -> AnyScenario:
    """The scenario of this name; raises DevnetError for an unknown one."""
    if name not in scenario_names():
        raise DevnetError(f"no scenario {name!r}; choose one of: {', '.join(scenario_names())}")
    scenario: AnyScenario = import_module(f"devnet.scenarios.{name.replace('-', '_')}").SCENARIO
    return scenario


async def run_scenario(
    scenario: AnyScenario, progress: Progress
) -> list[Outcome] | MarketOutcome | FaultOutcome:
    """Run every act on one fresh cluster; the outcomes in their order, or that of the whole.

    Raises:
        NotTrueError: names the first thing that is not true.
        DevnetError, ChainError, NodeError, BackendError: it could not be run to its end.
    """
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="provernet-") as name:
        folder = Path(name)
        try:
            if isinstance(scenario, MarketScenario):
                return await run_market(scenario, folder, progress)
            if isinstance(scenario, FaultScenario):
                return await run_faults(scenario, folder, progress)
            books = draw_books(folder, scenario)
            async with run_cluster(scenario.cluster, folder, progress.say) as cluster:
                consumer = Consumer(cluster.client, cluster.deployment)
                await consumer.add_reserves(books.total)
                for act in scenario.acts:
                    if len(scenario.acts) > 1:
                        progress.say(f"--- {act.name}")
                    outcome = await _run_act(act, scenario, cluster, consumer, books, progress)
                    outcomes.append(outcome)
        except Exception:
            progress.say(f"the logs of what failed are in {_keep_logs(folder)}")
            raise
    return outcomes


def _keep_logs(folder: Path) -> Path:
    """Copy the logs out of a folder that is about to go, over those of the last failure."""
    shutil.rmtree(FAILED_LOGS, ignore_errors=True)
    FAILED_LOGS.mkdir(parents=True)
    for log in (*folder.glob("*.log"), *folder.glob("node-*/node.log")):
        name = log.name if log.parent == folder else f"{log.parent.name}.log"
        shutil.copy(log, FAILED_LOGS / name)
    return FAILED_LOGS


def draw_books(folder: Path, scenario: Scenario) -> _Books:
    """Draw the private CSV of the scenario as a user would, and read it back."""
    path = folder / "accounts.csv"
    text = runpy.run_path(str(_DRAW))["draw"](scenario.accounts, scenario.seed)
    path.write_text(text, encoding="utf-8")
    accounts = tuple(read_accounts(path))
    return _Books(accounts, sum(account.balance for account in accounts))


async def _run_act(
    act: Act,
    scenario: Scenario,
    cluster: Cluster,
    consumer: Consumer,
    books: _Books,
    progress: Progress,
) -> Outcome:
    before = await consumer.is_open()
    progress.say(f"SolvencyGate is {_gate(before)} before")
    live = Live(cluster, progress)
    async with open_http() as http:
        client = NodeClient(cluster.api_urls, http)
        document, prepared = await _submit(act, scenario, client, live, books)
        after = before
        if document["state"] == "settled":
            bundle = await client.get(f"/v1/requests/{document['request_id']}/proof")
            await consumer.show(bundle)
            after = await consumer.is_open()
            progress.say(f"SolvencyGate is {_gate(after)} after it was shown the result")
    killed = tuple(live.killed)
    outcome = Outcome(document, prepared.plan.claim, cluster, killed, before, after)
    for must in act.must:
        if not must.holds(outcome):
            raise NotTrueError(f"{act.name}: not true: {must.text}", outcome)
    for event in act.afterwards:
        await event(live)
    return outcome


async def _submit(
    act: Act, scenario: Scenario, client: NodeClient, live: Live, books: _Books
) -> tuple[Json, Prepared]:
    """Hand one request in, let the act's events happen, and stay until it is over."""
    node = await client.get("/v1/node")
    order = Order(PROGRAM, books.accounts, MAX_FEE, scenario.deadline_s)
    requester = live.cluster.requester
    prepared = await trio.to_thread.run_sync(prepare, order, requester, node)
    node = await _view(client, begins=act.at_view_start)
    live.gateway = live.cluster.name_of(str(node["gateway"]))
    live.progress.say(
        f"request 0x{prepared.request_id.hex()} goes to {client.node}: {len(books.accounts)}"
        f" accounts; view {node['view']}, gateway {live.gateway}"
    )
    teller = RequestTeller(live.progress, live.cluster.name_of)

    def seen(document: Json) -> None:
        teller.tell(document)
        live.update(document)

    document: Json = {}
    with trio.move_on_after(scenario.deadline_s + _GRACE_S) as patience:
        async with _events(act, live) as finished:
            try:
                document = await submit(client, prepared, seen)
            except NodeError as exc:
                raise NotTrueError(f"{act.name}: the request is accepted: {exc}") from exc
            if not all(event.is_set() for event in finished):
                raise NotTrueError(f"{act.name}: the request ended before all events happened")
    if patience.cancelled_caught:
        state = live.document.get("state", "unknown")
        raise NotTrueError(f"{act.name}: the request is over in time (it is {state})")
    return document, prepared


async def _view(client: NodeClient, *, begins: bool) -> Json:
    """The node's view of the network now, or as soon as the next view begins."""
    first = node = await client.get("/v1/node")
    while begins and node["view"] == first["view"]:
        await trio.sleep(_LOOK_S)
        node = await client.get("/v1/node")
    return node


@asynccontextmanager
async def _events(act: Act, live: Live) -> AsyncIterator[list[trio.Event]]:
    """Run the act's events beside the request; those still waiting at its end are given up."""
    finished = [trio.Event() for _ in act.events]

    async def happen(index: int) -> None:
        await act.events[index](live)
        finished[index].set()

    async with trio.open_nursery() as nursery:
        for index in range(len(act.events)):
            nursery.start_soon(happen, index)
        yield finished
        nursery.cancel_scope.cancel()


def _gate(is_open: bool) -> str:
    return "OPEN (mint went through)" if is_open else "CLOSED (mint reverts)"
