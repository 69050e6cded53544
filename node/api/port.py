"""What the HTTP API asks of the node behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One readiness check; `mend` says what to do when it fails."""

    name: str
    ok: bool
    detail: str
    mend: str


class NodePort(Protocol):
    """Reads and commands of one node; every command raises Rejection with its reason."""

    @property
    def registry(self) -> CollectorRegistry:
        """Metrics of this node."""
        ...

    def checks(self) -> tuple[Check, ...]:
        """Readiness, in pipeline order."""
        ...

    def describe(self) -> Json:
        """`GET /v1/node`."""
        ...

    async def submit(self, frame: bytes) -> bytes:
        """Admit and spread a REQUEST envelope; returns the request id once it is journalled."""
        ...

    async def bid(self, request_id: bytes, frame: bytes) -> bytes:
        """Take and spread a SEALED_BID envelope for a request; returns its id once journalled."""
        ...

    async def cancel(self, frame: bytes) -> None:
        """Spread a CANCEL envelope."""
        ...

    async def requests(self, after: bytes | None, limit: int) -> list[Json]:
        """Summaries, newest first."""
        ...

    async def request(self, request_id: bytes, version: int, wait_ms: int) -> Json | None:
        """The document of a request, or of a bid's, newer than `version` or once the wait ends."""
        ...

    async def deliver(self, request_id: bytes, segment: int, operator: bytes, box: bytes) -> None:
        """Take a sealed input to its prover and wait for its answer."""
        ...

    async def proof(self, request_id: bytes) -> Json | None:
        """The proof bundle of a certified request."""
        ...

    async def round(self, number: int) -> Json | None:
        """The public record of a decided round."""
        ...

    async def clearings(self, class_id: bytes | None, before: int, limit: int) -> list[Json]:
        """Summaries of clearings below a round, newest first."""
        ...

    async def receipts(self, bidder: bytes, before: int, limit: int) -> list[Json]:
        """Receipts of a request or an operator below a round, newest first."""
        ...

    async def table(self, epoch: int) -> Json | None:
        """The operator table of an epoch that decided a round."""
        ...

    async def bid_receipts(self, request_id: bytes) -> list[Json]:
        """Committee members' receipts for the bids of a request."""
        ...

    async def evidence(self, before: int, limit: int) -> list[Json]:
        """Proven faults of operators in rounds below one, newest first."""
        ...

    def market(self, class_id: bytes) -> Json | None:
        """A class's market as it is now; None for a class that nobody can trade."""
        ...

    def standing(self, operator: bytes) -> Json | None:
        """An operator's reputation and what follows from it; None if it is in no table."""
        ...
