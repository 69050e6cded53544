"""What the services depend on: narrow protocols that adapters satisfy and `app.py` joins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

from protocol.batch import Batch
from protocol.inputs import AnyInput
from protocol.messages import Certificate
from protocol.types import Hash

Submit = Callable[[AnyInput], Awaitable[None]]
"""Hands an input to the replica; returns once it is journalled."""


class Clock(Protocol):
    """The node's own clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class Arrival(Protocol):
    """A frame of an operator whose identity the transport has proven."""

    @property
    def operator(self) -> bytes:
        """20-byte address."""
        ...

    @property
    def frame(self) -> bytes:
        """Unchecked bytes."""
        ...

    @property
    def via(self) -> Literal["gossip", "stream"]:
        """How it came."""
        ...


class Network(Protocol):
    """Bytes to and from operators."""

    async def broadcast(self, frame: bytes, reliable: bool) -> None:
        """Gossip a frame; reliable adds an acknowledged stream to every operator."""
        ...

    async def send(self, operator: bytes, frame: bytes) -> None:
        """Queue a frame for one operator over its acknowledged stream."""
        ...

    async def send_blob(self, operator: bytes, name: bytes, data: bytes, timeout: float) -> None:
        """Deliver a blob; raises UndeliveredError."""
        ...

    def connected(self) -> frozenset[bytes]:
        """Operators with a live, greeted connection."""
        ...

    def penalise(self, operator: bytes, reason: str, points: float) -> None:
        """Charge an operator in the peer ledger."""
        ...


class Prover(Protocol):
    """Proves and checks in workers; keeps private inputs and checkpoints on disk."""

    async def hold_input(self, request_id: Hash, segment: int, private_input: bytes) -> None:
        """Keep a private input until `forget`; on return it survives a crash."""
        ...

    async def held_inputs(self) -> tuple[tuple[Hash, int], ...]:
        """Request and segment of every private input on disk."""
        ...

    async def prove(
        self, request_id: Hash, segment: int, program_id: Hash, combining: bool
    ) -> tuple[tuple[bytes, ...], bytes]:
        """(public values, proof), self-verified; raises Rejection or BackendError."""
        ...

    async def check(
        self, program_id: Hash, combining: bool, values: tuple[bytes, ...], proof: bytes
    ) -> None:
        """Return if the proof holds; raises Rejection or BackendError."""
        ...

    async def forget(self, request_id: Hash) -> None:
        """Delete a request's private inputs and checkpoints."""
        ...


class SettleError(Exception):
    """A settlement transaction did not go through; `reason` is a stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Settler(Protocol):
    """Sends settlement transactions."""

    async def settle(self, header: Batch, debits: bytes, certificate: Certificate) -> None:
        """Bring a batch on chain unless it is there; raises SettleError."""
        ...


class UndeliveredError(Exception):
    """A blob did not reach its operator; `code` is the receiver's reply, 0 if there was none."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(f"{reason} (code {code})" if code else reason)
        self.reason = reason
        self.code = code


class Documents(Protocol):
    """Where requests' documents and proof bundles are kept."""

    async def save_document(
        self, request_id: bytes, at_ms: int, document: Mapping[str, Any]
    ) -> None:
        """Keep the newest document of a request."""
        ...

    async def document(self, request_id: bytes) -> dict[str, Any] | None:
        """The newest document."""
        ...

    async def request_of(self, bid_id: bytes) -> bytes | None:
        """The request that a bid is for."""
        ...

    async def documents(self, after: bytes | None, most: int) -> list[dict[str, Any]]:
        """Documents, newest request first, from behind `after` on."""
        ...

    async def save_bundle(self, request_id: bytes, bundle: Mapping[str, Any]) -> None:
        """Keep a request's proof bundle."""
        ...

    async def bundle(self, request_id: bytes) -> dict[str, Any] | None:
        """The proof bundle, if this node has it."""
        ...
