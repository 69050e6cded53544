"""One logical transaction takes effect at most once, whatever happens between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import trio

from chain import onboarding
from chain.client import ChainClient, open_client
from chain.errors import (
    ChainFault,
    ChainTimeoutError,
    RevertedError,
    UnderfundedError,
    UnreachableError,
)
from chain.rpc_values import Receipt
from chain.signer import Sender, SendPolicy, Transaction
from chain.transaction import Account, Fees, SentTransaction
from devnet.accounts import KEEPER, OWNER, account
from devnet.anvil import CHAIN_ID, Anvil
from devnet.operators import mine, register_operators
from tests.chain.network import Network, operator

GWEI = 10**9
QUICK = SendPolicy(
    poll_s=0.01,
    replace_after_s=20.0,
    receipt_lag_s=0.3,
    priority_fee=GWEI,
    max_fee_cap=1_000 * GWEI,
)
TARGET = b"\x77" * 20
PAYMENT = Transaction(TARGET, b"", 21_000, 5)


class CrashError(Exception):
    """The process dies here."""


@dataclass
class Journal:
    """What survives a crash."""

    entries: list[SentTransaction] = field(default_factory=list)
    crash_at: int | None = None

    async def keep(self, attempt: SentTransaction) -> None:
        await trio.lowlevel.checkpoint()
        self.entries.append(attempt)
        if self.crash_at == len(self.entries):
            raise CrashError


def sender_of(client: ChainClient, policy: SendPolicy = QUICK) -> Sender:
    return Sender(client, account(KEEPER), CHAIN_ID, policy)


async def send(
    sender: Sender, journal: Journal, transaction: Transaction = PAYMENT, deadline_s: float = 10.0
) -> Receipt | None:
    return await sender.send(
        transaction,
        journal=journal.keep,
        deadline_s=deadline_s,
        earlier=tuple(journal.entries),
    )


async def mining(anvil: Anvil, *, at_once: bool) -> None:
    await anvil.client.call("evm_setAutomine", at_once, retry=False)


async def test_sends_and_returns_the_receipt(anvil: Anvil) -> None:
    journal = Journal()
    receipt = await send(sender_of(anvil.client), journal)
    assert receipt is not None
    assert receipt.succeeded
    assert [entry.hash for entry in journal.entries] == [receipt.transaction]
    assert await anvil.client.balance(TARGET) == 5


async def test_nothing_is_sent_that_is_not_journalled(anvil: Anvil) -> None:
    journal = Journal(crash_at=1)
    with pytest.raises(CrashError):
        await send(sender_of(anvil.client), journal)
    assert await anvil.client.nonce(account(KEEPER).address, "pending") == 0
    journal.crash_at = None

    receipt = await send(sender_of(anvil.client), journal)

    assert receipt is not None
    assert receipt.transaction == journal.entries[0].hash
    assert len(journal.entries) == 1, "the journalled attempt itself was sent"
    assert await anvil.client.balance(TARGET) == 5


async def test_a_crash_after_sending_finds_the_receipt(anvil: Anvil) -> None:
    journal = Journal()
    first = await send(sender_of(anvil.client), journal)
    again = await send(sender_of(anvil.client), journal)
    assert again == first
    assert await anvil.client.balance(TARGET) == 5


async def test_a_crash_while_it_waits_in_the_pool_sends_nothing_new(anvil: Anvil) -> None:
    await mining(anvil, at_once=False)
    journal = Journal()
    with pytest.raises(ChainTimeoutError):
        await send(sender_of(anvil.client), journal, deadline_s=0.3)
    asked = trio.Event()

    async def done() -> bool:
        await trio.lowlevel.checkpoint()
        asked.set()
        return False

    async def restarted() -> None:
        await sender_of(anvil.client).send(
            PAYMENT,
            journal=journal.keep,
            deadline_s=10,
            done=done,
            earlier=tuple(journal.entries),
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restarted)
        await asked.wait()
        await mine(anvil.client, 1)
    assert len(journal.entries) == 1
    await mine(anvil.client, 3)
    assert await anvil.client.balance(TARGET) == 5


async def test_what_is_stuck_is_replaced_at_the_same_nonce(anvil: Anvil) -> None:
    await mining(anvil, at_once=False)
    journal = Journal()
    impatient = sender_of(anvil.client, replace(QUICK, replace_after_s=0.2))
    received: list[Receipt | None] = []

    async def run() -> None:
        received.append(await send(impatient, journal))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(5):
            while len(journal.entries) < 3:
                await trio.sleep(0.01)
        await mine(anvil.client, 1)

    assert {entry.nonce for entry in journal.entries} == {0}
    fees = [entry.fees.max_fee for entry in journal.entries]
    assert fees == sorted(set(fees))
    assert received[0] is not None
    await mine(anvil.client, 3)
    assert await anvil.client.balance(TARGET) == 5, "only one of the attempts was mined"


async def test_fees_stop_at_the_cap(anvil: Anvil) -> None:
    await mining(anvil, at_once=False)
    journal = Journal()
    going = 2 * (await anvil.client.head()).base_fee + GWEI
    policy = replace(QUICK, replace_after_s=0.05, max_fee_cap=going * 3 // 2)
    with pytest.raises(ChainTimeoutError):
        await send(sender_of(anvil.client, policy), journal, deadline_s=1.0)
    assert len(journal.entries) == 2
    assert all(entry.fees.max_fee <= policy.max_fee_cap for entry in journal.entries)

    with pytest.raises(UnderfundedError):
        await send(sender_of(anvil.client, replace(policy, max_fee_cap=1)), Journal())


async def test_an_effect_that_is_there_already_is_not_sent(anvil: Anvil) -> None:
    journal = Journal()

    async def done() -> bool:
        return await anvil.client.balance(TARGET) > 0

    async def once() -> Receipt | None:
        return await sender_of(anvil.client).send(
            PAYMENT, journal=journal.keep, deadline_s=5, done=done
        )

    assert await once() is not None
    assert await once() is None
    assert len(journal.entries) == 1
    assert await anvil.client.balance(TARGET) == 5


async def test_a_nonce_that_another_transaction_took_leads_to_a_new_attempt(anvil: Anvil) -> None:
    journal = Journal(crash_at=1)
    with pytest.raises(CrashError):
        await send(sender_of(anvil.client), journal)
    journal.crash_at = None
    other = replace(PAYMENT, to=b"\x66" * 20)
    assert await send(sender_of(anvil.client), Journal(), other) is not None

    receipt = await send(sender_of(anvil.client), journal)

    assert receipt is not None
    assert [entry.nonce for entry in journal.entries] == [0, 1]
    assert receipt.transaction == journal.entries[1].hash
    assert await anvil.client.balance(TARGET) == 5


async def test_attempts_of_an_account_that_was_rotated_away_do_not_bind_the_next(
    anvil: Anvil,
) -> None:
    assert await send(sender_of(anvil.client), Journal()) is not None
    journal = Journal(crash_at=1)
    with pytest.raises(CrashError):
        await send(sender_of(anvil.client), journal)
    journal.crash_at = None

    fresh = Sender(anvil.client, account(OWNER), CHAIN_ID, QUICK)
    receipt = await send(fresh, journal)

    # Taken for its own, the attempt at nonce 1 would have been waited for, and then repeated.
    assert receipt is not None
    assert [entry.nonce for entry in journal.entries] == [1, 0]
    assert journal.entries[1].sender() == fresh.address != journal.entries[0].sender()


async def test_callers_at_once_take_turns(anvil: Anvil) -> None:
    sender, journal = sender_of(anvil.client), Journal()

    async def pay() -> None:
        await sender.send(PAYMENT, journal=journal.keep, deadline_s=20)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(pay)
    assert sorted(entry.nonce for entry in journal.entries) == list(range(12))
    assert await anvil.client.balance(TARGET) == 60


async def test_an_account_without_ether_says_so(anvil: Anvil) -> None:
    journal = Journal()
    poor = Sender(anvil.client, Account(b"\x05" * 32), CHAIN_ID, QUICK)
    with pytest.raises(UnderfundedError) as caught:
        await send(poor, journal, replace(PAYMENT, value=0))
    assert caught.value.fault is ChainFault.UNDERFUNDED
    assert poor.address.hex() in caught.value.detail
    assert journal.entries == []


async def test_a_revert_is_found_before_gas_is_paid(network: Network) -> None:
    step = onboarding.open_epoch(network.contracts)
    journal = Journal()
    with pytest.raises(RevertedError) as caught:
        await send(sender_of(network.client), journal, Transaction(step.to, step.data, 500_000))
    assert caught.value.error == "NothingFrozen"
    assert journal.entries == []


async def test_a_mined_revert_is_named(network: Network) -> None:
    """Two open the same epoch: both look right before, the second fails in the same block."""
    await register_operators(network.client, network.deployment, [operator(0)])
    keeper = sender_of(network.client)
    other = Sender(network.client, account(KEEPER + 1), CHAIN_ID, QUICK)
    freeze = onboarding.freeze_table(network.contracts)
    await send(keeper, Journal(), Transaction(freeze.to, freeze.data, 1_000_000))
    await mine(network.client, 3)
    step = onboarding.open_epoch(network.contracts)
    await mining(network.anvil, at_once=False)
    outcomes: list[str] = []

    async def race(sender: Sender) -> None:
        try:
            await send(sender, Journal(), Transaction(step.to, step.data, 500_000))
            outcomes.append("opened")
        except RevertedError as error:
            outcomes.append(error.error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(race, keeper)
        nursery.start_soon(race, other)
        with trio.fail_after(5):
            for address in (keeper.address, other.address):
                before = await network.client.nonce(address)
                while await network.client.nonce(address, "pending") == before:
                    await trio.sleep(0.01)
        await mine(network.client, 1)
    assert sorted(outcomes) == ["NothingFrozen", "opened"]


async def test_running_out_of_gas_is_no_success(network: Network) -> None:
    step = onboarding.approve(network.contracts.fee_token, TARGET, 1)
    with pytest.raises(RevertedError):
        await send(sender_of(network.client), Journal(), Transaction(step.to, step.data, 30_000))


async def test_an_endpoint_that_goes_away_is_told_and_nothing_doubles(anvil: Anvil) -> None:
    journal = Journal()
    async with open_client("http://127.0.0.1:1", timeout_s=2) as gone:
        with pytest.raises(UnreachableError):
            await send(sender_of(gone), journal)
    assert journal.entries == []
    assert await send(sender_of(anvil.client), journal) is not None


@pytest.mark.parametrize("gas", [0, 2**24 + 1])
async def test_gas_above_the_limit_of_a_transaction_is_a_bug(anvil: Anvil, gas: int) -> None:
    with pytest.raises(ValueError, match="gas limit"):
        await send(sender_of(anvil.client), Journal(), replace(PAYMENT, gas=gas))


async def test_a_journalled_attempt_of_other_fees_is_kept(anvil: Anvil) -> None:
    """After a restart the journal decides, whatever the policy says by then."""
    attempt = account(KEEPER).sign(
        chain_id=CHAIN_ID,
        nonce=0,
        fees=Fees(100 * GWEI, 3 * GWEI),
        gas=21_000,
        to=TARGET,
        value=5,
        data=b"",
    )
    receipt = await send(sender_of(anvil.client), Journal([attempt]))
    assert receipt is not None
    assert receipt.transaction == attempt.hash
