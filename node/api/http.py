"""Starlette application over a NodePort: parsing, calling, answering, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from protocol.errors import Rejection, RejectionReason

if TYPE_CHECKING:
    from starlette.requests import Request

    from node.api.port import NodePort

MAX_BODY_BYTES: Final = 1 << 20
MAX_WAIT_MS: Final = 30_000
MAX_PAGE: Final = 100
NEWEST: Final = 10**12 - 1
"""A round above all that will ever be."""

_STATUS: Final = {
    RejectionReason.UNKNOWN_REQUEST: 404,
    RejectionReason.UNKNOWN_CLASS: 404,
    RejectionReason.NOT_KEPT: 404,
    RejectionReason.FRAME_TOO_LARGE: 413,
    RejectionReason.QUEUE_FULL: 429,
    RejectionReason.PROVER_UNREACHABLE: 424,
}
_UNKNOWN: Final = {
    "request": RejectionReason.UNKNOWN_REQUEST,
    "class": RejectionReason.UNKNOWN_CLASS,
}


def build_api(node: NodePort) -> Starlette:
    """The routes of `docs/api.md` over one node."""
    api = _Api(node)
    return Starlette(
        routes=[
            Route("/livez", api.live),
            Route("/readyz", api.ready),
            Route("/metrics", api.metrics),
            Route("/v1/node", api.node),
            Route("/v1/requests", api.submit, methods=["POST"]),
            Route("/v1/requests", api.requests, methods=["GET"]),
            Route("/v1/requests/{id}", api.request),
            Route("/v1/requests/{id}/inputs/{segment:int}", api.deliver, methods=["PUT"]),
            Route("/v1/requests/{id}/bid", api.bid, methods=["POST"]),
            Route("/v1/requests/{id}/receipts", api.bid_receipts),
            Route("/v1/requests/{id}/cancel", api.cancel, methods=["POST"]),
            Route("/v1/requests/{id}/proof", api.proof),
            Route("/v1/rounds", api.clearings),
            Route("/v1/rounds/{number:int}", api.round),
            Route("/v1/tables/{epoch:int}", api.table),
            Route("/v1/markets/{id}", api.market),
            Route("/v1/operators/{id}", api.standing),
            Route("/v1/receipts/{id}", api.receipts),
            Route("/v1/evidence", api.evidence),
        ],
        exception_handlers={Rejection: _refused},
    )


class _Api:
    def __init__(self, node: NodePort) -> None:
        self._node = node

    async def live(self, _request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _request: Request) -> Response:
        checks = self._node.checks()
        ready = all(check.ok for check in checks)
        rows = [
            {"name": c.name, "ok": c.ok, "detail": c.detail, "mend": "" if c.ok else c.mend}
            for c in checks
        ]
        return JSONResponse({"ready": ready, "checks": rows}, 200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self._node.registry), media_type=CONTENT_TYPE_LATEST)

    async def node(self, _request: Request) -> Response:
        return JSONResponse(self._node.describe())

    async def submit(self, request: Request) -> Response:
        request_id = await self._node.submit(await _body(request))
        return JSONResponse({"request_id": "0x" + request_id.hex()}, 202)

    async def bid(self, request: Request) -> Response:
        bid_id = await self._node.bid(_id(request), await _body(request))
        return JSONResponse({"bid_id": "0x" + bid_id.hex()}, 202)

    async def requests(self, request: Request) -> Response:
        limit = min(_number(request, "limit", MAX_PAGE), MAX_PAGE)
        after = request.query_params.get("after")
        rows = await self._node.requests(_hex(after, 32) if after else None, limit)
        following = rows[-1]["request_id"] if len(rows) == limit else None
        return JSONResponse({"requests": rows, "next": following})

    async def request(self, request: Request) -> Response:
        wait_ms = min(_number(request, "wait_ms", 0), MAX_WAIT_MS)
        document = await self._node.request(_id(request), _number(request, "version", 0), wait_ms)
        return _found(document)

    async def deliver(self, request: Request) -> Response:
        operator = _hex(request.query_params.get("operator", ""), 20)
        segment = int(request.path_params["segment"])
        await self._node.deliver(_id(request), segment, operator, await _body(request))
        return Response(status_code=204)

    async def cancel(self, request: Request) -> Response:
        await self._node.cancel(await _body(request))
        return JSONResponse({}, 202)

    async def proof(self, request: Request) -> Response:
        return _found(await self._node.proof(_id(request)))

    async def round(self, request: Request) -> Response:
        return _found(await self._node.round(_path_number(request, "number")), "round")

    async def table(self, request: Request) -> Response:
        return _found(await self._node.table(_path_number(request, "epoch")), "table")

    async def market(self, request: Request) -> Response:
        return _found(self._node.market(_id(request)), "class")

    async def standing(self, request: Request) -> Response:
        return _found(self._node.standing(_hex(request.path_params["id"], 20)), "operator")

    async def clearings(self, request: Request) -> Response:
        asked = request.query_params.get("class_id")
        class_id = _hex(asked, 32) if asked else None
        before, limit = _page(request)
        rows = await self._node.clearings(class_id, before, limit)
        return JSONResponse({"clearings": rows, "next": _next(rows, limit)})

    async def receipts(self, request: Request) -> Response:
        text = request.path_params["id"]
        bidder = _hex(text, 20 if len(text.removeprefix("0x")) == 40 else 32)
        before, limit = _page(request)
        rows = await self._node.receipts(bidder, before, limit)
        return JSONResponse({"receipts": rows, "next": _next(rows, limit)})

    async def bid_receipts(self, request: Request) -> Response:
        return JSONResponse({"receipts": await self._node.bid_receipts(_id(request))})

    async def evidence(self, request: Request) -> Response:
        before, limit = _page(request)
        rows = await self._node.evidence(before, limit)
        return JSONResponse({"evidence": rows, "next": _next(rows, limit)})


def _found(document: dict[str, object] | None, what: str = "request") -> Response:
    if document is None:
        raise Rejection(_UNKNOWN.get(what, RejectionReason.NOT_KEPT), f"no such {what}")
    return JSONResponse(document)


async def _refused(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, Rejection):
        raise exc
    body = {"reason": exc.reason.code, "text": exc.reason.value.text, "detail": exc.detail}
    return JSONResponse(body, _STATUS.get(exc.reason, 400))


async def _body(request: Request) -> bytes:
    """The request's body, never more than the limit in memory."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Rejection(RejectionReason.FRAME_TOO_LARGE, f"{MAX_BODY_BYTES} bytes at most")
        parts.append(part)
    return b"".join(parts)


def _id(request: Request) -> bytes:
    return _hex(request.path_params["id"], 32)


def _hex(text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as exc:
        raise Rejection(RejectionReason.MALFORMED, "not hexadecimal") from exc
    if len(value) != size:
        raise Rejection(RejectionReason.MALFORMED, f"{size} bytes expected")
    return value


def _page(request: Request) -> tuple[int, int]:
    """Rounds below `before`, so many of them."""
    return _number(request, "before", NEWEST), max(1, _number(request, "limit", MAX_PAGE))


def _next(rows: list[dict[str, object]], limit: int) -> object:
    """What to ask for as `before` to page on; None at the end."""
    return rows[-1]["round"] if len(rows) >= min(limit, MAX_PAGE) else None


def _path_number(request: Request, name: str) -> int:
    return min(int(request.path_params[name]), NEWEST)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Rejection(RejectionReason.MALFORMED, f"{name} is no number")
    return int(text)
