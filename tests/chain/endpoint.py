"""A JSON-RPC endpoint that answers what a test tells it to: garbage, silence, or the truth."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

Answer = bytes | dict[str, Any] | list[Any] | int | None
"""A body; an object or list as JSON; an HTTP status alone; None for silence."""


@dataclass
class Endpoint:
    answer: Callable[[Any], Awaitable[Answer]]
    url: str = ""
    requests: list[Any] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        received = b""
        async with stream:
            while chunk := await stream.receive_some(65_536):
                received += chunk
                head, separator, body = received.partition(b"\r\n\r\n")
                if not separator or len(body) < length_of(head):
                    continue
                request = json.loads(body)
                received = b""
                self.requests.append(request)
                answer = await self.answer(request)
                if answer is None:
                    await trio.sleep_forever()
                status = answer if isinstance(answer, int) else 200
                if isinstance(answer, (dict, list)):
                    answer = json.dumps(answer).encode()
                payload = answer if isinstance(answer, bytes) else b""
                line = f"HTTP/1.1 {status} X\r\ncontent-length: {len(payload)}\r\n\r\n"
                try:
                    await stream.send_all(line.encode() + payload)
                except trio.BrokenResourceError:
                    return


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def result(request: dict[str, Any], value: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "result": value}


def error(request: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "error": fields}


@asynccontextmanager
async def endpoint(answer: Callable[[Any], Answer]) -> AsyncIterator[Endpoint]:
    async def reply(request: Any) -> Answer:
        await trio.lowlevel.checkpoint()
        return answer(request)

    async with endpoint_of(reply) as served:
        yield served


@asynccontextmanager
async def endpoint_of(answer: Callable[[Any], Awaitable[Answer]]) -> AsyncIterator[Endpoint]:
    served = Endpoint(answer)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        served.url = f"http://127.0.0.1:{port}"
        nursery.start_soon(trio.serve_listeners, served.serve, listeners)
        yield served
        nursery.cancel_scope.cancel()
