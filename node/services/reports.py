"""Keeps requests' documents and wakes whoever waits for one to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from node.metrics import Metrics
    from node.ports import Clock, Documents
    from protocol.effects import KeepProof, Report


RECENT: Final = 256
"""Documents held in memory, those that changed last: a live one is read and written often."""


class ReportService:
    """The read side of requests; versions count the changes that this node has seen."""

    def __init__(self, documents: Documents, metrics: Metrics, clock: Clock) -> None:
        self._documents = documents
        self._metrics = metrics
        self._clock = clock
        self._recent: dict[bytes, dict[str, Any]] = {}
        self._changed = trio.Event()

    async def report(self, effect: Report) -> None:
        """Keep a new document."""
        old = await self._document(effect.request_id)
        new = dict(effect.document)
        if old is not None and {**old, "version": 0} == {**new, "version": 0}:
            return
        if old is None or old["state"] != new["state"]:
            self._metrics.requests.labels(str(new["state"])).inc()
        new["version"] = 1 if old is None else int(old["version"]) + 1
        await self._documents.save_document(effect.request_id, self._clock.now_ms(), new)
        self._recent.pop(effect.request_id, None)
        self._recent[effect.request_id] = new
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def keep_proof(self, effect: KeepProof) -> None:
        """Keep a proof bundle."""
        await self._documents.save_bundle(effect.request_id, effect.bundle)

    async def wait(self, request_id: bytes, version: int, wait_ms: int) -> dict[str, Any] | None:
        """The document once its version is above `version`, or as it is when the wait is over."""
        with trio.move_on_after(wait_ms / 1_000):
            while True:
                changed = self._changed
                document = await self._document(request_id)
                if document is not None and int(document["version"]) > version:
                    return document
                await changed.wait()
        return await self._document(request_id)

    async def _document(self, request_id: bytes) -> dict[str, Any] | None:
        return self._recent.get(request_id) or await self._documents.document(request_id)
