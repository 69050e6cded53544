"""The demo's consumer: a stablecoin that is minted only while its issuer is provably solvent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from chain import contracts as calls
from chain.contracts import gate_is_open
from chain.errors import RevertedError
from chain.interfaces import MINT, STABLECOIN_MINT
from chain.signer import DEVNET_POLICY, Sender, Transaction
from devnet.accounts import CUSTODY, KEEPER, REQUESTER, account
from devnet.errors import DevnetError
from node.client.bundle_format import decode_bundle, read_document
from protocol.batch import InclusionProof, result_leaf
from protocol.types import Hash

if TYPE_CHECKING:
    from chain.client import ChainClient
    from chain.deployments import Deployment
    from chain.rpc_values import Receipt
    from chain.transaction import SentTransaction
    from node.client.api import Json

_MINTED: Final = 10**6
_DEADLINE_S: Final = 20.0
_GAS: Final = 200_000
_CHECK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Consumer:
    """SolvencyGate and DemoStablecoin, and the accounts that use them."""

    client: ChainClient
    deployment: Deployment

    async def add_reserves(self, amount: int) -> None:
        """Put so much of the reserve token into the issuer's custody."""
        custody = account(CUSTODY)
        data = MINT.call(custody.address, amount)
        token = self.deployment.contracts.reserve_token
        await self._send(CUSTODY, Transaction(token, data, _GAS))

    async def is_open(self) -> bool:
        """Whether the issuer can mint now, by a real transaction unless it would revert.

        Raises:
            DevnetError: the gate's answer and what the stablecoin does contradict each other.
        """
        says = await gate_is_open(self.client, self.deployment.contracts.solvency_gate)
        minted = await self._mint()
        if says != minted:
            raise DevnetError(
                f"the gate says {says}, the stablecoin's mint {minted}; a bug in them"
            )
        return minted

    async def show(self, bundle: Json) -> Receipt:
        """Show a settled result to the gate with its inclusion proof; anyone may."""
        shown = decode_bundle(read_document(bundle))
        siblings = tuple(map(Hash, shown.siblings))
        proof = InclusionProof(result_leaf(shown.result), shown.index, siblings)
        gate = self.deployment.contracts.solvency_gate
        # The gate takes no result that was issued after the block in which it is shown.
        while (await self.client.head()).timestamp_s < shown.result.issued_at:  # noqa: ASYNC110
            await trio.sleep(_CHECK_S)
        update = calls.update_gate(gate, shown.batch.sequence, shown.result, proof)
        return await self._send(KEEPER, update)

    async def _mint(self) -> bool:
        issuer = account(REQUESTER).address
        stablecoin = self.deployment.contracts.demo_stablecoin
        transaction = Transaction(stablecoin, STABLECOIN_MINT.call(issuer, _MINTED), _GAS)
        try:
            await self._send(REQUESTER, transaction)
        except RevertedError as exc:
            if exc.error != "GateClosed":
                raise
            return False
        return True

    async def _send(self, index: int, transaction: Transaction) -> Receipt:
        sender = Sender(self.client, account(index), self.deployment.chain_id, DEVNET_POLICY)
        receipt = await sender.send(transaction, journal=_no_journal, deadline_s=_DEADLINE_S)
        assert receipt is not None  # noqa: S101 - None only where a `done` was given
        return receipt


async def _no_journal(_: SentTransaction) -> None:
    """A devnet that dies is thrown away."""
