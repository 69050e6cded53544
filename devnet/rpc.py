"""JSON-RPC to a devnet's Anvil, whose well-known accounts are unlocked: no keys here."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import trio

from devnet.errors import DevnetError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Every call has this long, except where the caller's own deadline is shorter.
TIMEOUT_S = 20.0
# EIP-7825: no transaction may ask for more gas.
TRANSACTION_GAS_LIMIT = 16_777_216


class RpcError(DevnetError):
    """Anvil refused a call; `data` holds the revert data if there is any."""

    def __init__(self, method: str, message: str, data: bytes) -> None:
        super().__init__(f"{method}: {message}")
        self.data = data


class Rpc:
    """One JSON-RPC endpoint."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self._client = client

    async def call(self, method: str, *params: object) -> Any:
        """Call a method and return its result.

        Raises:
            RpcError: the method failed.
            DevnetError: there was no answer.
        """
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = await self._client.post(self.url, json=body)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as exc:
            raise DevnetError(
                f"Anvil at {self.url} does not answer {method}: {exc!r}; is it running?"
            ) from exc
        if "error" in answer:
            error = answer["error"]
            data = error.get("data")
            revert = (
                bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
            )
            raise RpcError(method, str(error.get("message")), revert)
        return answer["result"]

    async def accounts(self) -> list[str]:
        """The unlocked, funded accounts, lower-case hex."""
        return list(await self.call("eth_accounts"))

    async def read(self, to: str, data: bytes, *, sender: str | None = None) -> bytes:
        """`eth_call` on the pending block, where the next transaction would run."""
        transaction = {"to": to, "data": "0x" + data.hex()}
        if sender is not None:
            transaction["from"] = sender
        return bytes.fromhex((await self.call("eth_call", transaction, "pending"))[2:])

    async def transact(self, sender: str, to: str | None, data: bytes) -> dict[str, Any]:
        """Send from an unlocked account (`to` None: create a contract) and return the receipt.

        Raises:
            RpcError: the node refused it, or it was mined and reverted.
        """
        transaction = {"from": sender, "data": "0x" + data.hex(), "gas": hex(TRANSACTION_GAS_LIMIT)}
        if to is not None:
            transaction["to"] = to
            # A revert is told with its data here; a mined failure would only say "status 0".
            transaction["gas"] = await self.call("eth_estimateGas", transaction, "pending")
        digest = await self.call("eth_sendTransaction", transaction)
        with trio.move_on_after(TIMEOUT_S):
            while True:
                receipt = await self.call("eth_getTransactionReceipt", digest)
                if receipt is not None:
                    if int(receipt["status"], 16) != 1:
                        raise RpcError("eth_sendTransaction", f"{digest} reverted", b"")
                    return dict(receipt)
                await trio.sleep(0.01)  # Anvil has no call that waits for another account's receipt
        raise DevnetError(
            f"transaction {digest} was not mined in {TIMEOUT_S:.0f} s; is Anvil mining?"
        )


@asynccontextmanager
async def open_rpc(url: str) -> AsyncIterator[Rpc]:
    """Open a connection pool to an endpoint for the length of a block."""
    # `trust_env=False`: a proxy from the environment must not stand between us and our own machine.
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        yield Rpc(url, client)
