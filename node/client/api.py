"""HTTP client of one or more nodes: any can answer, the next one is asked when one fails."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx

from node.errors import InputError, NodeUnreachableError, RefusedError
from protocol.errors import LocalProtocolError
from protocol.nesting import too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONNECT_TIMEOUT_S: Final = 3.0
READ_TIMEOUT_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 32 << 20
NOT_READY: Final = 503

Json = dict[str, Any]


class NodeClient:
    """Asks nodes in turn, starting with the one that answered last."""

    def __init__(self, urls: Sequence[str], http: httpx.AsyncClient) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._http = http
        self._at = 0

    @property
    def node(self) -> str:
        """URL of the node that is asked first."""
        return self._urls[self._at]

    async def get(self, path: str, params: dict[str, str | int] | None = None) -> Json:
        """GET a JSON object; raises NodeUnreachableError or RefusedError."""
        return await self._ask("GET", path, params=params)

    async def readiness(self) -> Json:
        """`GET /readyz`, whose 503 is an answer too; raises as `get`."""
        return await self._ask("GET", "/readyz", NOT_READY)

    async def post(self, path: str, body: bytes) -> Json:
        """POST bytes; raises NodeUnreachableError or RefusedError."""
        return await self._ask("POST", path, content=body)

    async def put(self, path: str, body: bytes, params: dict[str, str | int]) -> Json:
        """PUT bytes; raises NodeUnreachableError or RefusedError."""
        return await self._ask("PUT", path, content=body, params=params)

    async def _ask(self, method: str, path: str, fine: int = 200, **arguments: Any) -> Json:
        cause = "no address given"
        for _ in self._urls:
            try:
                async with self._http.stream(method, self.node + path, **arguments) as response:
                    if response.status_code < 500 or response.status_code == fine:
                        return _answer(response, await _content(response), fine)
                cause = f"{self.node} answered {response.status_code}"
            except httpx.InvalidURL as exc:
                raise InputError(f"{self.node!r} is no address: {exc}", "give --node URL") from exc
            except httpx.HTTPError as exc:
                cause = f"{self.node}: {type(exc).__name__}"
            self._at = (self._at + 1) % len(self._urls)
        raise NodeUnreachableError(
            f"no node answered ({cause})", "start one with `node start` or give --node URL"
        )


def open_http() -> httpx.AsyncClient:
    """An HTTP client with deadlines on everything."""
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    return httpx.AsyncClient(timeout=timeout, trust_env=False)


@contextmanager
def as_documented() -> Iterator[None]:
    """Around code that takes an answer to have the fields of `docs/api.md`.

    Raises:
        NodeUnreachableError: it does not; what answered is no node, or not of this version.
    """
    try:
        yield
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        LocalProtocolError,  # a value that the answer gave does not fit what is signed
    ) as exc:
        raise NodeUnreachableError(
            f"the answer is not as documented ({type(exc).__name__}: {exc})",
            "check that --node is a node's API of this version",
        ) from exc


async def _content(response: httpx.Response) -> bytes:
    """The body, never more than the limit in memory."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise NodeUnreachableError("the node's answer is too large", "ask another node")
        parts.append(part)
    return b"".join(parts)


def _answer(response: httpx.Response, content: bytes, fine: int) -> Json:
    try:
        answer = None if too_deep(content) else json.loads(content.decode() or "{}")
    except ValueError as exc:
        raise NodeUnreachableError(
            f"{response.url} did not answer with JSON", "check that --node is a node's API"
        ) from exc
    if not isinstance(answer, dict):
        raise NodeUnreachableError("the node's answer is no plain object", "ask another node")
    if response.status_code >= 400 and response.status_code != fine:
        text = str(answer.get("text", f"HTTP status {response.status_code}"))
        detail = str(answer.get("detail", ""))
        raise RefusedError(
            f"refused ({answer.get('reason', 'unknown')}): {text}{': ' + detail if detail else ''}",
            "see docs/reasons.md",
            str(answer.get("reason", "unknown")),
        )
    return answer
