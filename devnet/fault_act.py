"""One fault: a request is handed in, and a gateway is lost at a known point of its round."""

from __future__ import annotations

import runpy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from devnet.artifacts import ROOT
from devnet.errors import NotTrueError
from devnet.faults import Fault, begin, catch, end
from devnet.standpoint import Standpoint
from node.client.api import NodeClient, open_http
from node.client.submit import Order, prepare, submit
from node.programs.accounts import parse_accounts

if TYPE_CHECKING:
    import httpx

    from devnet.cluster import Cluster
    from devnet.progress import Progress
    from node.client.api import Json
    from node.client.submit import Prepared

PROGRAM: Final = "solvency"
MAX_FEE: Final = 10**17
ACCOUNTS: Final = 16
TRIES: Final = 5
"""Requests in whose rounds a point is looked for: one has two rounds, a phase lasts some 30 ms."""
DEADLINE_S: Final = 90
GRACE_S: Final = 60.0
"""A request must be over so long after its deadline."""
BACK_DEADLINE_S: Final = 60.0
"""A node that is back must have come to the others' round."""
VIEWS_LOST: Final = 1.25
"""A fault lasts at least so many views, and until the others have decided the round."""
_LOOK_S: Final = 0.05
_DRAW: Final = ROOT / "examples" / "solvency" / "draw.py"


@dataclass(frozen=True, slots=True)
class FaultAct:
    """One fault of the gateway at one point of its round."""

    fault: Fault
    at: Standpoint

    @property
    def name(self) -> str:
        """What `--act` calls it."""
        return f"{self.fault.value}-{self.at.value}"


@dataclass(frozen=True, slots=True)
class Loss:
    """How an act went; `gateway` and `decided_by` are names of nodes."""

    act: FaultAct
    gateway: str
    round: int
    view: int
    decided_by: str
    document: Json
    settled_ms: int
    """From the fault to the end of the request, as its requester saw it."""
    requests: int
    """How many it took until the gateway was caught at that point."""

    @property
    def took_over(self) -> str | None:
        """Who led the round to its end; None: what the lost gateway had said was enough."""
        return None if self.decided_by == self.gateway else self.decided_by

    def as_json(self) -> dict[str, Any]:
        """One row of the answer."""
        return {
            "phase": self.act.at.value,
            "fault": self.act.fault.value,
            "gateway": self.gateway,
            "round": self.round,
            "view": self.view,
            "took_over": self.took_over,
            "request_id": self.document["request_id"],
            "status": self.document["state"],
            "settled_ms": self.settled_ms,
            "requests": self.requests,
        }


@dataclass(slots=True)
class _Request:
    """A request from hand-in to end; its requester talks to one node that is not lost."""

    client: NodeClient
    prepared: Prepared
    document: Json
    ended_ms: int = 0

    async def run(self) -> None:
        self.document = await submit(self.client, self.prepared, self._seen)
        self.ended_ms = _now_ms()

    def _seen(self, document: Json) -> None:
        self.document = document


@dataclass(frozen=True, slots=True)
class _Caught:
    gateway: str
    view: int
    round: int
    view_ms: int


async def run_act(act: FaultAct, cluster: Cluster, progress: Progress) -> Loss:
    """Hand in requests until a gateway could be lost at the wanted point, and see that one through.

    Raises:
        NotTrueError: names what is not true.
        DevnetError, NodeError: it could not be run to its end.
    """
    for tries in range(1, TRIES + 1):
        async with open_http() as http:
            loss = await _attempt(act, cluster, http, progress, tries)
        if loss is not None:
            return loss
        progress.say(f"{act.name}: no gateway was caught there; once more")
    raise NotTrueError(f"{act.name}: not true: a gateway is caught there in {TRIES} requests")


async def _attempt(
    act: FaultAct, cluster: Cluster, http: httpx.AsyncClient, progress: Progress, tries: int
) -> Loss | None:
    about = await NodeClient(cluster.api_urls, http).get("/v1/node")
    accounts = parse_accounts(runpy.run_path(str(_DRAW))["draw"](ACCOUNTS, tries).encode())
    order = Order(PROGRAM, accounts, MAX_FEE, DEADLINE_S)
    prepared = await trio.to_thread.run_sync(prepare, order, cluster.requester, about)
    about = await _next_view(NodeClient(cluster.api_urls, http))
    entry = next(n for n in cluster.nodes.values() if n.operator != about["gateway"])
    client = NodeClient([entry.files.api_url], http)
    request = _Request(client, prepared, {})
    caught, begun_ms = None, 0
    with trio.move_on_after(DEADLINE_S + GRACE_S) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.run)
            caught = await _watch(act, cluster, entry.files.name, request)
            if caught is not None:
                begun_ms = _now_ms()
                told = f"round {caught.round}, view {caught.view}"
                progress.say(f"{caught.gateway} is {act.fault.value} in {act.at.value} of {told}")
                await begin(act.fault, cluster, caught.gateway)
                await _until_decided(client, caught, begun_ms)
                end(act.fault, cluster, caught.gateway)
    _check_request(act, request, in_time=not patience.cancelled_caught)
    if caught is None:
        return None
    decided = await client.get(f"/v1/rounds/{caught.round}")
    loss = Loss(
        act,
        caught.gateway,
        caught.round,
        caught.view,
        cluster.name_of(str(decided["gateway"])),
        request.document,
        request.ended_ms - begun_ms,
        tries,
    )
    progress.say(_told(loss))
    if act.at is Standpoint.COLLECTING and loss.took_over is None:
        raise NotTrueError(f"{act.name}: not true: another gateway took the round over")
    await _until_back(act, cluster, caught.gateway, client, http)
    return loss


async def _watch(act: FaultAct, cluster: Cluster, entry: str, request: _Request) -> _Caught | None:
    """Follow the gateways of the views of a request; one that is caught stays stopped."""
    while not request.ended_ms:
        about = await request.client.get("/v1/node")
        gateway, view = cluster.name_of(str(about["gateway"])), int(about["view"])
        ends_ms = _view_start_ms(about, view + 1)
        if gateway != entry:
            stand = await catch(cluster, gateway, act.at, view, ends_ms)
            if stand is not None:
                return _Caught(gateway, view, stand.round, int(about["view_ms"]))
        await _until_ms(ends_ms)
    return None


async def _until_decided(client: NodeClient, caught: _Caught, begun_ms: int) -> None:
    """Wait until the others have decided the round, and the fault outlasted its view."""
    await _until_ms(begun_ms + int(VIEWS_LOST * caught.view_ms))
    await _until_round(client, caught.round)


async def _until_round(client: NodeClient, number: int) -> None:
    """Wait until a node has decided a round."""
    while True:
        if int((await client.get("/v1/node"))["round"]) >= number:
            return
        await trio.sleep(_LOOK_S)  # a decision is not announced, it is asked for


async def _until_back(
    act: FaultAct, cluster: Cluster, gateway: str, client: NodeClient, http: httpx.AsyncClient
) -> None:
    """Wait until the lost node serves again and stands where the others stood, or further."""
    await cluster.wait_ready([gateway], BACK_DEADLINE_S)
    there = int((await client.get("/v1/node"))["round"])
    lost = NodeClient([cluster.nodes[gateway].files.api_url], http)
    with trio.move_on_after(BACK_DEADLINE_S):
        await _until_round(lost, there)
        return
    raise NotTrueError(f"{act.name}: not true: {gateway} came back to round {there}")


def _check_request(act: FaultAct, request: _Request, *, in_time: bool) -> None:
    state = request.document.get("state", "unknown")
    if not in_time:
        raise NotTrueError(f"{act.name}: not true: the request is over in time (it is {state})")
    if state != "settled" or not request.document["root_matches"]:
        raise NotTrueError(f"{act.name}: not true: the request is settled, with its own claim")


def _told(loss: Loss) -> str:
    took = f"{loss.took_over} took it over" if loss.took_over else "it was decided in its own view"
    return f"round {loss.round}: {took}; settled {loss.settled_ms / 1_000:.1f} s after the fault"


async def _next_view(client: NodeClient) -> Json:
    """The node's view of the network as soon as the next view has begun."""
    about = await client.get("/v1/node")
    await _until_ms(_view_start_ms(about, int(about["view"]) + 1))
    return await client.get("/v1/node")


def _view_start_ms(about: Json, view: int) -> int:
    return int(about["deployment_genesis_ms"]) + view * int(about["view_ms"])


async def _until_ms(at_ms: int) -> None:
    """Wait for a moment of the clock that views are cut by."""
    await trio.sleep(max(0, at_ms - _now_ms()) / 1_000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
