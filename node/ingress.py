"""The only way in for peers' bytes: size, rate, decode, expiry, membership, signature.

What comes out is an input for the replica or a counted reason; nothing a peer sends raises past
`admit`. Frames with BLS signatures or envelopes within are checked in worker threads. The BLS
library keeps the interpreter lock during a pairing (1.6 ms measured), so the loop's longest stall
is one pairing, not one frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from node.ingress_checks import CONTAINERS, VOTES, Checks, Horizon
from protocol.bounds import MAX_FRAME
from protocol.codec import decode
from protocol.errors import Rejection, RejectionReason
from protocol.hashing import keccak
from protocol.inputs import Received
from protocol.messages import Certificate, Envelope, Kind, Proposal, Status, Timeout

if TYPE_CHECKING:
    from protocol.crypto import SignatureChecker
    from protocol.eip712 import Domain

TOKENS_PER_SECOND: Final = 1_000
"""A peer's steady rate; a frame costs one token, one more for each KiB, and what its kind says."""
BURST_TOKENS: Final = 8_000
KIND_TOKENS: Final[dict[int, int]] = {
    **dict.fromkeys((*VOTES, Kind.PROPOSAL, Kind.TIMEOUT, Kind.STATUS, Kind.CERTIFICATE), 10),
    Kind.FETCH: 50,
    Kind.FETCH_BATCHES: 100,
    Kind.EVIDENCE: 100,
    Kind.RECALL: 100,
}
"""About 2 ms of pairings for what has BLS signatures; a whole frame of bodies to send back."""
REPLAY_MS: Final = 250
"""The same bytes again within this time are dropped: gossip and stream bring a message twice.

Shorter than resend_ms: what is sent again later may be needed.
"""
_MAX_RECENT: Final = 8_192
_MAX_PEERS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a frame went no further; `penalty` is for the peer ledger."""

    reason: RejectionReason
    detail: str

    @property
    def penalty(self) -> int:
        """Points that the peer loses."""
        return self.reason.value.penalty


@dataclass(slots=True)
class _Bucket:
    tokens: int
    at_ms: int


class Ingress:
    """Admission of frames; `refusals` counts reasons by code for the metrics."""

    def __init__(
        self,
        domain: Domain,
        checker: SignatureChecker,
        on_fault: Callable[[Exception], None],
    ) -> None:
        self.refusals: Counter[str] = Counter()
        self.admitted = 0
        self._checks = Checks(domain, checker)
        self._on_fault = on_fault
        self._buckets: dict[bytes, _Bucket] = {}
        self._recent: dict[bytes, int] = {}
        # One place each, so that a long reply never keeps votes waiting.
        self._votes = trio.CapacityLimiter(1)
        self._replies = trio.CapacityLimiter(1)

    async def admit(
        self, peer: bytes | None, frame: bytes, now_ms: int, horizon: Horizon
    ) -> Received | Refused:
        """Check a frame of an authenticated operator; None: the API, which hands in requests."""
        try:
            await self._check(peer, frame, now_ms, horizon)
        except Rejection as exc:
            self.refusals[exc.reason.code] += 1
            return Refused(exc.reason, exc.detail)
        except Exception as exc:  # noqa: BLE001 - a bug here must not let a peer stop the node
            self.refusals["fault"] += 1
            self._on_fault(exc)
            return Refused(RejectionReason.TOO_EARLY, "a fault in this node's own checks")
        self.admitted += 1
        return Received(frame)

    async def _check(self, peer: bytes | None, frame: bytes, now_ms: int, horizon: Horizon) -> None:
        if len(frame) > MAX_FRAME:
            raise Rejection(RejectionReason.FRAME_TOO_LARGE)
        tokens = 1 + len(frame) // 1_024 + KIND_TOKENS.get(frame[2] if len(frame) > 2 else 0, 0)
        self._take_tokens(b"" if peer is None else peer, tokens, now_ms)
        envelope = decode(frame)
        key = keccak(frame)
        if 0 <= now_ms - self._recent.get(key, now_ms - REPLAY_MS) < REPLAY_MS:
            raise Rejection(RejectionReason.REPLAYED)
        self._checks.expiry(envelope, horizon)
        self._checks.membership(peer, envelope, horizon)
        limiter = self._limiter(envelope)
        if limiter is None:
            self._checks.signatures(envelope, horizon)
        else:
            await trio.to_thread.run_sync(
                self._checks.signatures, envelope, horizon, limiter=limiter
            )
        self._recent.pop(key, None)
        self._recent[key] = now_ms
        if len(self._recent) > _MAX_RECENT:
            del self._recent[next(iter(self._recent))]

    def _limiter(self, envelope: Envelope) -> trio.CapacityLimiter | None:
        """The worker's place for a frame whose checks take longer than a thread hop."""
        if envelope.kind in CONTAINERS:
            return self._replies
        match envelope.body:
            case Certificate():
                heavy = True
            case Proposal() | Timeout():
                heavy = envelope.body.prepare is not None
            case Status():
                heavy = not (envelope.body.prepare is None and envelope.body.lock is None)
            case _:
                heavy = Kind(envelope.kind) in VOTES
        return self._votes if heavy else None

    def _take_tokens(self, peer: bytes, tokens: int, now_ms: int) -> None:
        bucket = self._buckets.pop(peer, None) or _Bucket(BURST_TOKENS, now_ms)
        self._buckets[peer] = bucket
        earned = (now_ms - bucket.at_ms) * TOKENS_PER_SECOND // 1_000
        if earned:
            # A clock that was set back earns nothing and costs nothing.
            earned = max(0, earned)
            bucket.tokens = min(BURST_TOKENS, bucket.tokens + earned)
            bucket.at_ms = now_ms
        if len(self._buckets) > _MAX_PEERS:
            del self._buckets[next(iter(self._buckets))]
        if bucket.tokens < tokens:
            raise Rejection(RejectionReason.RATE_LIMITED)
        bucket.tokens -= tokens
