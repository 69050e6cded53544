"""Sends settlement transactions; every attempt is journalled before it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from chain.contracts import settle
from chain.errors import ChainError, RevertedError
from node.crypto import eip2537_g2
from node.ports import SettleError

if TYPE_CHECKING:
    from chain.contracts import ProofMarket
    from chain.signer import Sender
    from chain.transaction import SentTransaction
    from protocol.batch import Batch
    from protocol.messages import Certificate

DEADLINE_S: Final = 20.0
"""Patience with one transaction before the replica lets others have a turn."""


class ChainSettler:
    """The `Settler` of a real chain."""

    def __init__(
        self,
        market: ProofMarket,
        sender: Sender,
        journal: Callable[[int, SentTransaction], Awaitable[None]],
        earlier: Callable[[int], Awaitable[list[SentTransaction]]],
    ) -> None:
        self._market = market
        self._sender = sender
        self._journal = journal
        self._earlier = earlier

    async def settle(self, header: Batch, debits: bytes, certificate: Certificate) -> None:
        """See `node.ports.Settler`."""
        sequence = header.sequence

        async def done() -> bool:
            return await self._market.last_sequence() >= sequence

        async def journal(attempt: SentTransaction) -> None:
            await self._journal(sequence, attempt)

        transaction = settle(
            self._market.address,
            header,
            debits,
            eip2537_g2(certificate.signature),
            b"".join(place.to_bytes(2, "big") for place in certificate.non_signers),
        )
        try:
            await self._sender.send(
                transaction,
                journal=journal,
                deadline_s=DEADLINE_S,
                done=done,
                earlier=await self._earlier(sequence),
            )
        except RevertedError as exc:
            if await self._already(sequence):
                return
            raise SettleError(exc.fault.value, f"{exc.error} {exc.detail}") from exc
        except ChainError as exc:
            raise SettleError(exc.fault.value, exc.detail) from exc

    async def _already(self, sequence: int) -> bool:
        """Whether somebody else was quicker: their transaction makes ours revert."""
        try:
            return await self._market.last_sequence() >= sequence
        except ChainError:
            return False
