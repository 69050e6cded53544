"""HTTP client of one or more nodes: any can answer, the next one is asked when one fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx

from node.errors import NodeUnreachableError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT_TIMEOUT_S: Final = 3.0
READ_TIMEOUT_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 32 << 20

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

    async def post(self, path: str, body: bytes) -> Json:
        """POST bytes; raises NodeUnreachableError or RefusedError."""
        return await self._ask("POST", path, content=body)

    async def put(self, path: str, body: bytes, params: dict[str, str | int]) -> Json:
        """PUT bytes; raises NodeUnreachableError or RefusedError."""
        return await self._ask("PUT", path, content=body, params=params)

    async def _ask(self, method: str, path: str, **arguments: Any) -> Json:
        cause = "no address given"
        for _ in self._urls:
            try:
                response = await self._http.request(method, self.node + path, **arguments)
                if response.status_code < 500:
                    return _answer(response)
                cause = f"{self.node} answered {response.status_code}"
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


def _answer(response: httpx.Response) -> Json:
    if len(response.content) > MAX_ANSWER_BYTES:
        raise NodeUnreachableError("the node's answer is too large", "ask another node")
    try:
        answer = response.json() if response.content else {}
    except ValueError as exc:
        raise NodeUnreachableError(
            f"{response.url} did not answer with JSON", "check that --node is a node's API"
        ) from exc
    if not isinstance(answer, dict):
        raise NodeUnreachableError("the node's answer is no object", "ask another node")
    if response.status_code >= 400:
        text = str(answer.get("text", f"HTTP status {response.status_code}"))
        detail = str(answer.get("detail", ""))
        raise RefusedError(
            f"refused ({answer.get('reason', 'unknown')}): {text}{': ' + detail if detail else ''}",
            "see docs/reasons.md",
            str(answer.get("reason", "unknown")),
        )
    return answer
