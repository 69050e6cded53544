"""Contracts on a devnet, used through Anvil's unlocked accounts: no keys here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import trio

from chain import rpc_values
from chain.client import ChainClient, execution, hexed
from chain.errors import ChainTimeoutError, RevertedError
from chain.rpc_values import Receipt
from chain.transaction import TRANSACTION_GAS_LIMIT
from devnet.artifacts import Artifact
from devnet.errors import DevnetError
from protocol.types import Address, Hash

RECEIPT_DEADLINE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Contract:
    """A deployed contract together with its ABI and the way to it."""

    client: ChainClient
    address: Address
    artifact: Artifact

    async def read(self, function: str, *args: object) -> Any:
        """Call a view function on the pending block; a single return value comes bare."""
        data = self.artifact.call(function, *args)
        # Block delays are judged where the next transaction would run.
        values = self.artifact.result(
            function, await self.client.execute(self.address, data, at="pending")
        )
        return values[0] if len(values) == 1 else values

    async def transact(self, sender: bytes, function: str, *args: object) -> Receipt:
        """Send a transaction from an unlocked account and wait for its receipt."""
        return await transact(
            self.client, sender, self.address, self.artifact.call(function, *args)
        )


async def unlocked_accounts(client: ChainClient) -> tuple[Address, ...]:
    """Anvil's funded accounts, in the order of its mnemonic."""
    found = await client.call("eth_accounts")
    return tuple(Address(rpc_values.sized(account, 20)) for account in found)


async def deploy(client: ChainClient, sender: bytes, artifact: Artifact, *args: object) -> Contract:
    """Create a contract from an unlocked account."""
    receipt = await transact(client, sender, None, artifact.creation(*args))
    if receipt.contract is None:
        raise DevnetError(f"the creation of {artifact.name} made no contract; see Anvil's log")
    return Contract(client, receipt.contract, artifact)


async def transact(client: ChainClient, sender: bytes, to: bytes | None, data: bytes) -> Receipt:
    """Send from an unlocked account (`to` None: create a contract) and wait for the receipt.

    Raises:
        RevertedError: it would revert, or it was mined and did.
        ChainTimeoutError: it was not mined in time.
    """
    transaction = {"from": hexed(sender), "data": hexed(data), "gas": hex(TRANSACTION_GAS_LIMIT)}
    if to is not None:
        # A revert is told with its data here; a mined one would only say "failed".
        (call, _) = execution(to, data, sender, "pending").params
        transaction |= {
            "to": hexed(to),
            "gas": await client.call("eth_estimateGas", call, "pending"),
        }
    sent = Hash(
        rpc_values.sized(await client.call("eth_sendTransaction", transaction, retry=False), 32)
    )
    with trio.move_on_after(RECEIPT_DEADLINE_S):
        while True:
            receipt = await client.receipt(sent)
            if receipt is not None:
                if not receipt.succeeded:
                    raise RevertedError(
                        "", b"", f"transaction {hexed(sent)} was mined and reverted"
                    )
                return receipt
            await trio.sleep(0.01)  # Anvil has no call that waits for a receipt
    raise ChainTimeoutError(f"transaction {hexed(sent)} was not mined in {RECEIPT_DEADLINE_S:g} s")
