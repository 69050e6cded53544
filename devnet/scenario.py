"""What a scenario is: a cluster, what happens to it, and what must be true in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from devnet.cluster import ClusterSpec
from devnet.errors import DevnetError
from protocol.claims import decode_claim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from devnet.cluster import Cluster
    from devnet.progress import Progress
    from node.client.api import Json
    from protocol.claims import Claim


@dataclass(slots=True)
class Live:
    """A request under way, as an event sees it."""

    cluster: Cluster
    progress: Progress
    document: Json = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    gateway: str = ""
    """Name of the gateway of the view in which the request was handed in."""
    _changed: trio.Event = field(default_factory=trio.Event)

    def update(self, document: Json) -> None:
        """A new document came in."""
        self.document = document
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, holds: Callable[[Json], bool]) -> Json:
        """The first document of which something holds."""
        while not holds(self.document):
            await self._changed.wait()
        return self.document

    async def kill(self, name: str) -> None:
        """Kill a node with SIGKILL and remember it."""
        await self.cluster.kill(name)
        self.killed.append(name)
        self.progress.say(f"{name} was killed (SIGKILL)")

    async def restart(self, name: str) -> None:
        """Bring a killed node back."""
        await self.cluster.restart(name)
        self.killed.remove(name)
        self.progress.say(f"{name} runs again")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended. `before` and `after`: whether the consumer let its issuer mint."""

    document: Json
    expected: Claim
    cluster: Cluster
    killed: tuple[str, ...]
    before: bool
    after: bool

    @property
    def result(self) -> Json:
        """The result part of the document; empty if there is none."""
        return self.document.get("result") or {}

    @property
    def provers(self) -> list[str]:
        """Addresses of the operators whose proofs count, each once."""
        return list(dict.fromkeys(row["operator"] for row in self.document.get("segments", ())))

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints; `stages_ms` counts from the stage `received`."""
        result = self.result
        stages = {k: v for k, v in (self.document.get("stages_ms") or {}).items() if v is not None}
        start = stages.get("received", min(stages.values(), default=0))
        raw = bytes.fromhex(str(result.get("claim") or "0x")[2:])
        claim = decode_claim(raw) if raw else None
        return {
            "request_id": self.document["request_id"],
            "status": self.document["state"],
            "round": result.get("round"),
            "gateway": result.get("gateway"),
            "provers": self.provers,
            "voters": result.get("voters"),
            "operators": result.get("operators"),
            "settle_tx": result.get("settle_tx"),
            "gas_used": result.get("gas_used"),
            "claim": {"root": f"0x{claim.root:064x}", "total": str(claim.total)} if claim else None,
            "consumer": {"before": self.before, "after": self.after},
            "stages_ms": {name: at - start for name, at in stages.items()},
        }


@dataclass(frozen=True, slots=True)
class Must:
    """A sentence that has to be true of an outcome."""

    text: str
    holds: Callable[[Outcome], bool]


@dataclass(frozen=True, slots=True)
class Act:
    """One request and what happens meanwhile; `afterwards` runs when it has ended.

    With `at_view_start` it is handed in when a view begins, so that its round opens in that view.
    """

    name: str
    events: tuple[Callable[[Live], Awaitable[None]], ...] = ()
    afterwards: tuple[Callable[[Live], Awaitable[None]], ...] = ()
    must: tuple[Must, ...] = ()
    at_view_start: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """`accounts` is the size of the private CSV, drawn from `seed`."""

    summary: str
    acts: tuple[Act, ...]
    cluster: ClusterSpec = ClusterSpec()  # noqa: RUF009 - frozen
    accounts: int = 64
    seed: int = 2026
    deadline_s: int = 180

    def only(self, name: str) -> Scenario:
        """The scenario with one of its acts alone; raises DevnetError for an unknown one."""
        acts = tuple(act for act in self.acts if act.name == name)
        if not acts:
            known = ", ".join(act.name for act in self.acts)
            raise DevnetError(f"there is no act {name!r}; choose one of: {known}")
        return Scenario(self.summary, acts, self.cluster, self.accounts, self.seed, self.deadline_s)


def _quorum(outcome: Outcome) -> bool:
    # Every operator of a devnet has the same stake.
    return 3 * int(outcome.result["voters"]) > 2 * int(outcome.result["operators"])


SETTLED: Final = (
    Must("the request is settled", lambda o: o.document["state"] == "settled"),
    Must(
        "the settled claim is the one computed from the CSV",
        lambda o: decode_claim(bytes.fromhex(o.result["claim"][2:])) == o.expected,
    ),
    Must("over two thirds of the operators signed", _quorum),
    Must("the stablecoin can be minted afterwards", lambda o: o.after),
    Must(
        "no node that was not killed has ended",
        lambda o: not o.cluster.ended(),
    ),
)
"""True of every request in the end, whatever happened to the nodes."""

GATE_OPENED: Final = (Must("the stablecoin could not be minted before", lambda o: not o.before),)
"""True of the first request of a cluster."""
