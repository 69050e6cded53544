"""Sends transactions of one account: each takes effect at most once, whatever crashes between.

The rule that makes it so: a logical transaction keeps its nonce until the chain has used that nonce
up. All attempts with one nonce exclude each other on chain, and a new nonce is taken only after
every earlier attempt is known to be dead (nonce used up, no receipt) and the state has been asked
whether the effect is there already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from chain.client import ChainClient, hexed
from chain.errors import (
    ChainError,
    ChainTimeoutError,
    NonceTooLowError,
    RefusedError,
    RevertedError,
    UnderfundedError,
    UnderpricedError,
    UnreachableError,
)
from chain.transaction import TRANSACTION_GAS_LIMIT, Account, Fees, SentTransaction

if TYPE_CHECKING:
    from chain.rpc_values import Receipt

Journal = Callable[[SentTransaction], Awaitable[None]]
"""Makes an attempt durable; called, and awaited, before the attempt is sent."""

Done = Callable[[], Awaitable[bool]]
"""Asks the state whether the logical transaction has taken effect already, through whomever."""

_SEND_TRIES: Final = 2
_KNOWN: Final = ("already known", "already imported", "known transaction")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A logical transaction; `to` None creates a contract, `gas` is its limit, `value` in wei."""

    to: bytes | None
    data: bytes
    gas: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How patiently and how dearly to send; fees in wei per gas."""

    poll_s: float
    """Pause between two looks for a receipt: about a tenth of the block time."""
    replace_after_s: float
    """An attempt that is not mined after this long is replaced by one with higher fees."""
    receipt_lag_s: float
    """How long an endpoint may know a nonce as used without having the receipt."""
    priority_fee: int
    max_fee_cap: int
    """Never offer more per gas, however stuck."""


DEVNET_POLICY: Final = SendPolicy(
    poll_s=0.05,
    replace_after_s=6.0,
    receipt_lag_s=1.0,
    priority_fee=10**9,
    max_fee_cap=10**12,
)


class Sender:
    """The owner of an account's nonce: one logical transaction at a time, others wait."""

    def __init__(
        self, client: ChainClient, account: Account, chain_id: int, policy: SendPolicy
    ) -> None:
        self._client = client
        self._account = account
        self._chain_id = chain_id
        self._policy = policy
        self._turn = trio.Lock()

    @property
    def address(self) -> bytes:
        """The 20-byte address of the account."""
        return self._account.address

    async def send(
        self,
        transaction: Transaction,
        *,
        journal: Journal,
        deadline_s: float,
        done: Done | None = None,
        earlier: Sequence[SentTransaction] = (),
    ) -> Receipt | None:
        """Bring a logical transaction on chain; its receipt, or None if `done` says it is there.

        `earlier` are the attempts that were journalled before a restart or a failure; without them
        a second call is a second logical transaction. After any error the caller may call again
        with all journalled attempts. Those of another account (the session key has rotated since)
        share no nonce with this one's: only `done` can tell of their effect.

        Raises:
            RevertedError: it would revert (nothing was sent), or it was mined and reverted.
            UnderfundedError: the account can not pay the gas.
            ChainTimeoutError: neither mined nor dead by the deadline; it may still be mined.
            ChainError: the endpoint failed.
        """
        if not 0 < transaction.gas <= TRANSACTION_GAS_LIMIT:
            raise ValueError(f"a gas limit of {transaction.gas}")
        attempts = [attempt for attempt in earlier if attempt.sender() == self.address]
        with trio.move_on_after(deadline_s):
            async with self._turn:
                return await self._settle(transaction, attempts, journal, done)
        raise ChainTimeoutError(f"{len(attempts)} attempts, none mined in {deadline_s:g} s")

    async def _settle(
        self,
        transaction: Transaction,
        attempts: list[SentTransaction],
        journal: Journal,
        done: Done | None,
    ) -> Receipt | None:
        while True:
            # The nonce first: an attempt mined between the two looks then shows its receipt.
            nonce = await self._client.nonce(self.address)
            receipt = await self._mined(attempts, nonce)
            if receipt is not None:
                return await self._checked(transaction, receipt)
            if done is not None and await done():
                return None
            # A nonce above the chain's is alive too: a reorg took an earlier transaction away.
            alive = [attempt for attempt in attempts if attempt.nonce >= nonce]
            if alive:
                last = alive[-1]
            else:
                await self._rehearse(transaction)
                fees = await self._affordable(transaction)
                last = await self._attempt(transaction, nonce, fees, attempts, journal)
            await self._resend(last)
            if await self._used_up(last.nonce):
                continue
            higher = last.fees.bumped()
            if higher.max_fee <= self._policy.max_fee_cap:
                await self._attempt(transaction, last.nonce, higher, attempts, journal)

    async def _mined(self, attempts: Sequence[SentTransaction], nonce: int) -> Receipt | None:
        """The receipt of any attempt, waiting for it where the chain has used the nonce up."""
        deadline = trio.current_time() + self._policy.receipt_lag_s
        while True:
            for attempt in attempts:
                receipt = await self._client.receipt(attempt.hash)
                if receipt is not None:
                    return receipt
            lagging = any(attempt.nonce < nonce for attempt in attempts)
            if not lagging or trio.current_time() >= deadline:
                return None
            await trio.sleep(self._policy.poll_s)

    async def _attempt(
        self,
        transaction: Transaction,
        nonce: int,
        fees: Fees,
        attempts: list[SentTransaction],
        journal: Journal,
    ) -> SentTransaction:
        attempt = self._account.sign(
            chain_id=self._chain_id,
            nonce=nonce,
            fees=fees,
            gas=transaction.gas,
            to=transaction.to,
            value=transaction.value,
            data=transaction.data,
        )
        attempts.append(attempt)
        await journal(attempt)
        return attempt

    async def _affordable(self, transaction: Transaction) -> Fees:
        """The going rate, if the account can pay it."""
        base_fee = (await self._client.head()).base_fee
        # Twice the base fee outlives six full blocks in a row.
        max_fee = 2 * base_fee + self._policy.priority_fee
        if max_fee > self._policy.max_fee_cap:
            raise UnderfundedError(
                f"the going rate of {max_fee} wei per gas is above the cap of "
                f"{self._policy.max_fee_cap}"
            )
        cost = transaction.gas * max_fee + transaction.value
        balance = await self._client.balance(self.address)
        if balance < cost:
            raise UnderfundedError(f"{hexed(self.address)} holds {balance} wei and needs {cost}")
        return Fees(max_fee, self._policy.priority_fee)

    async def _resend(self, attempt: SentTransaction) -> None:
        """Send an attempt; whether it arrived is looked up afterwards."""
        for _ in range(_SEND_TRIES):
            try:
                await self._client.send_raw(attempt.raw)
                return
            except UnreachableError:
                continue  # the same bytes again do no harm
            except (ChainTimeoutError, NonceTooLowError, UnderpricedError):
                return
            except RefusedError as exc:
                if any(known in exc.detail.lower() for known in _KNOWN):
                    return
                raise

    async def _used_up(self, nonce: int) -> bool:
        """Wait until the chain has used the nonce up, or until it is time to pay more."""
        with trio.move_on_after(self._policy.replace_after_s):
            while True:
                if await self._client.nonce(self.address) > nonce:
                    return True
                await trio.sleep(self._policy.poll_s)  # an endpoint offers nothing to wait on
        return False

    async def _rehearse(self, transaction: Transaction) -> None:
        """Find a revert before gas is paid for it, in the block that the transaction will see."""
        if transaction.to is not None:
            await self._client.execute(
                transaction.to, transaction.data, sender=self.address, at="pending"
            )

    async def _checked(self, transaction: Transaction, receipt: Receipt) -> Receipt:
        if receipt.succeeded:
            return receipt
        where = f"transaction {hexed(receipt.transaction)} in block {receipt.block_number}"
        # The state after the block first: it holds what others changed in the same block.
        for number in (receipt.block_number, receipt.block_number - 1):
            try:
                await self._client.execute(
                    transaction.to or b"", transaction.data, sender=self.address, at=number
                )
            except RevertedError as exc:
                raise RevertedError(exc.error, exc.data, f"{exc.detail}; {where}") from exc
            except ChainError:  # an endpoint without old state: the revert itself is still certain
                break
        raise RevertedError("", b"", f"cause unknown (gas limit {transaction.gas}?); {where}")
