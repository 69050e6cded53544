"""Ethereum JSON-RPC over httpx on trio: deadlines on all calls, retries for reads alone."""

from __future__ import annotations

import math
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec
import trio

from chain import rpc_values
from chain.abi import describe_revert
from chain.errors import (
    BadResponseError,
    ChainError,
    ChainTimeoutError,
    NonceTooLowError,
    RefusedError,
    RevertedError,
    UnderfundedError,
    UnderpricedError,
    UnreachableError,
    WrongChainError,
)
from protocol.nesting import MAX_DEPTH, too_deep
from protocol.types import Hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from chain.rpc_values import Block, Log, Receipt

BlockTag = int | str
"""A block number, or one of the names "latest", "pending", "safe" and "finalized"."""

_MAX_ANSWER: Final = 32 * 2**20
_MAX_BATCH: Final = 200
_BACK_OFF_S: Final = (0.1, 0.4)
_REVERT_CODE: Final = 3
# What endpoints write into the message of an error; there is no common number for these.
_SEND_ERRORS: Final[tuple[tuple[str, type[ChainError]], ...]] = (
    ("nonce too low", NonceTooLowError),
    ("insufficient funds", UnderfundedError),
    ("underpriced", UnderpricedError),
)


class _Once(httpx.AsyncByteStream):
    """A request body that can be cancelled: httpx's own is a generator that nobody then closes."""

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@dataclass(frozen=True, slots=True)
class Call:
    """One JSON-RPC call."""

    method: str
    params: tuple[object, ...] = ()


class ChainClient:
    """One endpoint. Every method raises ChainError subclasses and nothing else of the transport."""

    def __init__(self, url: str, http: httpx.AsyncClient, timeout_s: float) -> None:
        self.url = url
        self._http = http
        self._timeout_s = timeout_s
        self._ids = count(1)

    async def call(self, method: str, *params: object, retry: bool = True) -> Any:
        """The result, itself unchecked; `retry` only for what does not change the chain.

        Raises:
            UnreachableError: after the last retry.
            ChainTimeoutError: no answer within the time limit of one call, retries included.
            BadResponseError: the answer is no JSON-RPC answer to this call.
            RevertedError: an executed call reverted.
            RefusedError: any other JSON-RPC error.
        """
        request = self._request(Call(method, params))
        answer = await self._exchange(request, method, retry=retry)
        return _result(answer, request["id"], method)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results of reads in their order, in as few exchanges as fit.

        Raises:
            ChainError: as `call`, for the first call that failed.
        """
        results: list[Any] = []
        for start in range(0, len(calls), _MAX_BATCH):
            part = calls[start : start + _MAX_BATCH]
            requests = [self._request(call) for call in part]
            answers = await self._exchange(requests, f"{len(part)} calls", retry=True)
            if not isinstance(answers, list) or len(answers) != len(part):
                # A single object is how an endpoint refuses a batch as a whole.
                raise BadResponseError(f"{self.url} did not answer a batch with a batch")
            by_id = {str(a.get("id")): a for a in answers if isinstance(a, dict)}
            for call, request in zip(part, requests, strict=True):
                results.append(_result(by_id.get(str(request["id"])), request["id"], call.method))
        return results

    async def chain_id(self) -> int:
        """The chain's id (EIP-155)."""
        return rpc_values.quantity(await self.call("eth_chainId"))

    async def check_chain(self, chain_id: int) -> None:
        """Raise WrongChainError unless the endpoint serves this chain."""
        found = await self.chain_id()
        if found != chain_id:
            raise WrongChainError(f"{self.url} serves chain {found} instead of {chain_id}")

    async def block_number(self) -> int:
        """Number of the latest block."""
        return rpc_values.quantity(await self.call("eth_blockNumber"))

    async def block(self, tag: BlockTag) -> Block | None:
        """The block's header, None if there is no such block (yet)."""
        found = await self.call("eth_getBlockByNumber", block_tag(tag), False)
        return None if found is None else rpc_values.block(found)

    async def head(self) -> Block:
        """Header of the latest block."""
        found = await self.block("latest")
        if found is None:
            raise BadResponseError(f"{self.url} knows no latest block")
        return found

    async def code(self, address: bytes, tag: BlockTag = "latest") -> bytes:
        """The code at an address, empty if there is no contract."""
        return rpc_values.data(await self.call("eth_getCode", hexed(address), block_tag(tag)))

    async def balance(self, address: bytes) -> int:
        """Ether of an account in wei."""
        return rpc_values.quantity(await self.call("eth_getBalance", hexed(address), "latest"))

    async def nonce(self, address: bytes, tag: BlockTag = "latest") -> int:
        """Number of the account's next transaction."""
        found = await self.call("eth_getTransactionCount", hexed(address), block_tag(tag))
        return rpc_values.quantity(found)

    async def execute(
        self, to: bytes, calldata: bytes, *, sender: bytes | None = None, at: BlockTag = "latest"
    ) -> bytes:
        """Output of a call that changes nothing; raises RevertedError with the decoded error."""
        call = execution(to, calldata, sender, at)
        return rpc_values.data(await self.call(call.method, *call.params))

    async def estimate_gas(
        self, sender: bytes, to: bytes | None, calldata: bytes, *, value: int = 0
    ) -> int:
        """Gas that a transaction would use in the next block; raises RevertedError."""
        transaction = {"from": hexed(sender), "data": hexed(calldata), "value": hex(value)}
        if to is not None:
            transaction["to"] = hexed(to)
        return rpc_values.quantity(await self.call("eth_estimateGas", transaction, "pending"))

    async def logs(self, first: int, last: int, addresses: Sequence[bytes]) -> tuple[Log, ...]:
        """All events of some contracts in the blocks `first` to `last`, both included."""
        return rpc_values.logs(await self.call("eth_getLogs", log_filter(first, last, addresses)))

    async def receipt(self, transaction: bytes) -> Receipt | None:
        """The receipt of a mined transaction, None while there is none."""
        found = await self.call("eth_getTransactionReceipt", hexed(transaction))
        return None if found is None else rpc_values.receipt(found)

    async def send_raw(self, raw: bytes) -> Hash:
        """Hand over a signed transaction, once; whether it arrived is for the caller to look up."""
        sent = await self.call("eth_sendRawTransaction", hexed(raw), retry=False)
        return Hash(rpc_values.sized(sent, 32))

    def _request(self, call: Call) -> dict[str, Any]:
        params = list(call.params)
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": call.method, "params": params}

    async def _exchange(self, body: object, what: str, *, retry: bool) -> Any:
        with trio.move_on_after(self._timeout_s):
            for pause_s in (*_BACK_OFF_S, math.inf) if retry else (math.inf,):
                try:
                    return await self._post(body)
                except UnreachableError:
                    if pause_s == math.inf:
                        raise
                await trio.sleep(pause_s)
        raise ChainTimeoutError(f"{self.url} did not answer {what} in {self._timeout_s:g} s")

    async def _post(self, body: object) -> Any:
        content = msgspec.json.encode(body)
        received = bytearray()
        try:
            request = self._http.build_request(
                "POST", self.url, content=content, headers={"content-type": "application/json"}
            )
            request.stream = _Once(content)
            async with aclosing(await self._http.send(request, stream=True)) as response:
                async for chunk in response.aiter_bytes():
                    # Read to the end or to the deadline, but keep no more: httpx's nested
                    # generators can not be left early without a complaint of trio.
                    received += chunk[: _MAX_ANSWER + 1 - len(received)]
                status = response.status_code
        except httpx.InvalidURL as exc:
            raise UnreachableError(f"{self.url} is no URL") from exc
        except httpx.HTTPError as exc:
            raise UnreachableError(f"{self.url}: {type(exc).__name__} {exc}".rstrip()) from exc
        if status >= 500 or status == 429:
            raise UnreachableError(f"{self.url} answers with HTTP status {status}")
        if len(received) > _MAX_ANSWER:
            raise BadResponseError(f"{self.url} sent more than {_MAX_ANSWER} bytes")
        content = bytes(received)
        if too_deep(content):
            raise BadResponseError(f"{self.url} sent JSON that nests deeper than {MAX_DEPTH}")
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise BadResponseError(f"{self.url} sent no JSON (HTTP status {status})") from exc


@asynccontextmanager
async def open_client(url: str, *, timeout_s: float = 10.0) -> AsyncIterator[ChainClient]:
    """Open a connection pool to an endpoint; `timeout_s` bounds each call, retries included."""
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=8)
    # No redirects and no proxy from the environment: the endpoint is where the configuration says.
    # The scope around each call is the deadline; the pool's own limit only stands behind it.
    async with httpx.AsyncClient(
        timeout=2 * timeout_s, limits=limits, trust_env=False, follow_redirects=False
    ) as http:
        yield ChainClient(url, http, timeout_s)


def hexed(raw: bytes) -> str:
    """0x-prefixed hexadecimal."""
    return "0x" + raw.hex()


def block_tag(tag: BlockTag) -> str:
    """A block parameter as JSON-RPC writes it."""
    return hex(tag) if isinstance(tag, int) else tag


def execution(to: bytes, calldata: bytes, sender: bytes | None, at: BlockTag) -> Call:
    """An `eth_call`."""
    transaction = {"to": hexed(to), "data": hexed(calldata)}
    if sender is not None:
        transaction["from"] = hexed(sender)
    return Call("eth_call", (transaction, block_tag(at)))


def log_filter(first: int, last: int, addresses: Sequence[bytes]) -> dict[str, object]:
    """The parameter of `eth_getLogs`."""
    where = [hexed(address) for address in addresses]
    return {"fromBlock": hex(first), "toBlock": hex(last), "address": where}


def _result(answer: object, number: int, method: str) -> Any:
    if not isinstance(answer, dict) or answer.get("id") != number:
        raise BadResponseError(f"no answer to {method}")
    error = answer.get("error")
    if error is not None:
        raise _translated(error, method)
    if "result" not in answer:
        raise BadResponseError(f"the answer to {method} has neither result nor error")
    return answer["result"]


def _translated(error: object, method: str) -> ChainError:
    if not isinstance(error, dict):
        return BadResponseError(f"the error of {method} is no object")
    code, message = error.get("code"), error.get("message")
    if not isinstance(code, int) or not isinstance(message, str):
        return BadResponseError(f"the error of {method} has no code or message")
    text = f"{method}: {message[:200]}"
    reverts = error.get("data")
    if code == _REVERT_CODE or "revert" in message.lower():
        try:
            raw = rpc_values.data(reverts) if reverts is not None else b""
        except BadResponseError as exc:
            return exc
        name, described = describe_revert(raw)
        return RevertedError(name, raw, described or text)
    lowered = message.lower()
    for marker, kind in _SEND_ERRORS:
        if marker in lowered:
            return kind(text)
    return RefusedError(text, code)
