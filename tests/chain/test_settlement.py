"""A batch of one, signed by hand, settles on the real contracts and opens the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chain import contracts as calls
from chain.contracts import gate_is_open, token_balance
from chain.cursor import Follower, FollowPolicy, position_before
from chain.errors import RevertedError
from chain.events import BatchOnChain, decode_events, watched
from chain.interfaces import MINT, STABLECOIN_MINT
from chain.onboarding import Step
from chain.signer import Sender, Transaction
from chain.transaction import Account
from devnet.accounts import CUSTODY, KEEPER, REQUESTER, account
from devnet.anvil import CHAIN_ID
from devnet.operators import fund_requester, perform
from node.crypto import Crypto, eip2537_g2
from protocol.batch import AccountAmount, Result, ResultStatus, SettledBatch, build_batch
from protocol.claims import Claim, encode_claim
from protocol.eip712 import Domain, batch_digest
from protocol.hashing import keccak
from protocol.params import DEVNET
from protocol.types import ZERO_HASH, Hash, Wei
from tests.chain.network import PROGRAM, Network, operator
from tests.chain.test_signer import QUICK, Journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc_values import Receipt

FEE = 10**15
ESCROW = 10**18
TOTAL = 5_000


def sender_of(network: Network, signer: Account) -> Sender:
    return Sender(network.client, signer, CHAIN_ID, QUICK)


async def batch_of_one(
    network: Network, *, sequence: int = 1, parent: Hash = ZERO_HASH
) -> SettledBatch:
    requester = account(REQUESTER).address
    now = (await network.client.head()).timestamp_s
    result = Result(
        request_id=Hash(bytes([sequence]) * 32),
        program_id=Hash(PROGRAM.program_id),
        requester=requester,
        status=ResultStatus.SETTLED,
        issued_at=now,
        claim=encode_claim(Claim(root=77, total=TOTAL, account_count=3)),
        fee=Wei(FEE),
    )
    earners = sorted(operator(position).account.address for position in range(4))
    return build_batch(
        epoch=1,
        round_number=sequence,
        value=Hash(b"\x0a" * 32),
        sequence=sequence,
        parent=parent,
        results=[result],
        credit_rows=[AccountAmount(earners[0], Wei(FEE))],
        debit_rows=[AccountAmount(requester, Wei(FEE))],
        stake_rows=[AccountAmount(earner, Wei(0)) for earner in earners],
        reputation_root=ZERO_HASH,
        parameters_hash=DEVNET.hash(),
        markets_hash=ZERO_HASH,
        paid=Wei(FEE - 10),
    )


def certify(network: Network, batch: SettledBatch, signers: Sequence[int]) -> bytes:
    domain = Domain(CHAIN_ID, network.contracts.prover_registry)
    digest = batch_digest(domain, batch.header)
    votes = [operator(position).bls_key.sign(digest) for position in signers]
    return eip2537_g2(Crypto().aggregate(votes))


def settlement(
    network: Network, batch: SettledBatch, signers: Sequence[int], absent: Sequence[int] = ()
) -> Transaction:
    return calls.settle(
        network.contracts.proof_market,
        batch.header,
        batch.debits,
        certify(network, batch, signers),
        b"".join(position.to_bytes(2, "big") for position in absent),
    )


async def settle(network: Network, transaction: Transaction) -> Receipt:
    receipt = await sender_of(network, account(KEEPER)).send(
        transaction, journal=Journal().keep, deadline_s=10
    )
    assert receipt is not None
    return receipt


async def test_a_batch_of_one_settles_and_a_contract_acts_on_it(staffed: Network) -> None:
    client, contracts, market = staffed.client, staffed.contracts, staffed.market
    requester = account(REQUESTER)
    await fund_requester(client, staffed.deployment, requester, ESCROW)
    assert await market.escrow_of(requester.address) == ESCROW
    issuer = sender_of(staffed, requester)
    reserves = Step("mint", contracts.reserve_token, MINT.call(account(CUSTODY).address, TOTAL))
    await perform(client, issuer, reserves)
    mint = Step("mint", contracts.demo_stablecoin, STABLECOIN_MINT.call(requester.address, 9))
    with pytest.raises(RevertedError) as caught:
        await perform(client, issuer, mint)
    assert caught.value.error == "GateClosed"
    assert not await gate_is_open(client, contracts.solvency_gate)

    batch = await batch_of_one(staffed)
    receipt = await settle(staffed, settlement(staffed, batch, [0, 1, 2, 3]))

    assert await market.last_sequence() == 1
    assert await market.root_of(1) == batch.header.root
    assert await market.root_of(2) is None
    assert await market.escrow_of(requester.address) == ESCROW - FEE
    assert await market.accrued_fees() == FEE - 10
    start = await position_before(client, receipt.block_number)
    follower = Follower(client, watched(contracts), start, FollowPolicy(1))
    (event,) = decode_events((await follower.next_update()).logs)
    assert event == BatchOnChain(
        sequence=1,
        epoch=1,  # type: ignore[arg-type]
        round=1,  # type: ignore[arg-type]
        root=batch.header.root,
        paid=Wei(FEE - 10),
        collected=Wei(FEE),
        transaction=receipt.transaction,
        block_number=receipt.block_number,
    )

    result = batch.results[0]
    proof = batch.result_proof(result.request_id)
    assert proof is not None
    assert await market.verify_inclusion(1, proof)
    assert not await market.verify_inclusion(1, replace(proof, index=proof.index + 1))
    assert await market.status_of(result.request_id) is None
    await settle(staffed, calls.record(contracts.proof_market, 1, result, proof))
    assert await market.status_of(result.request_id) is ResultStatus.SETTLED
    await settle(staffed, calls.update_gate(contracts.solvency_gate, 1, result, proof))
    assert await gate_is_open(client, contracts.solvency_gate)
    await perform(client, issuer, mint)
    assert await token_balance(client, contracts.demo_stablecoin, requester.address) == 9

    # The first batch ever pays for its ledger's storage; from the second on the target holds.
    second = await batch_of_one(staffed, sequence=2, parent=batch.header.root)
    receipt = await settle(staffed, settlement(staffed, second, [0, 1, 2, 3]))
    assert receipt.gas_used <= 255_000


async def test_a_batch_settles_without_one_of_four(staffed: Network) -> None:
    batch = await batch_of_one(staffed)
    await settle(staffed, settlement(staffed, batch, [0, 1, 3], absent=[2]))
    assert await staffed.market.last_sequence() == 1


async def refused(network: Network, transaction: Transaction) -> str:
    with pytest.raises(RevertedError) as caught:
        await settle(network, transaction)
    return caught.value.error


async def test_what_is_not_certified_does_not_settle(staffed: Network) -> None:
    batch = await batch_of_one(staffed)
    half = settlement(staffed, batch, [0, 1], absent=[2, 3])
    assert await refused(staffed, half) == "QuorumNotReached"
    assert await refused(staffed, settlement(staffed, batch, [0, 1, 2])) == "InvalidCertificate"
    forged = replace(batch, header=replace(batch.header, paid=Wei(FEE)))
    signature_of_other = calls.settle(
        staffed.contracts.proof_market,
        batch.header,
        batch.debits,
        certify(staffed, forged, [0, 1, 2, 3]),
        b"",
    )
    assert await refused(staffed, signature_of_other) == "InvalidCertificate"
    twice = settlement(staffed, batch, [0, 1, 2, 3], absent=[2, 2])
    assert await refused(staffed, twice) == "InvalidNonSigner"
    assert await staffed.market.last_sequence() == 0


async def test_a_batch_settles_once(staffed: Network) -> None:
    batch = await batch_of_one(staffed)
    transaction = settlement(staffed, batch, [0, 1, 2, 3])
    await settle(staffed, transaction)
    assert await refused(staffed, transaction) == "UnexpectedSequence"

    async def done() -> bool:
        return await staffed.market.root_of(1) is not None

    journal = Journal()
    again = await sender_of(staffed, account(KEEPER)).send(
        transaction, journal=journal.keep, deadline_s=5, done=done
    )
    assert again is None
    assert journal.entries == []


async def test_a_batch_names_its_parent(staffed: Network) -> None:
    first = await batch_of_one(staffed)
    await settle(staffed, settlement(staffed, first, [0, 1, 2, 3]))
    orphan = await batch_of_one(staffed, sequence=2, parent=Hash(b"\x01" * 32))
    assert await refused(staffed, settlement(staffed, orphan, [0, 1, 2, 3])) == "UnexpectedParent"
    heir = await batch_of_one(staffed, sequence=2, parent=first.header.root)
    await settle(staffed, settlement(staffed, heir, [0, 1, 2, 3]))
    assert await staffed.market.last_sequence() == 2


async def test_the_verifying_keys_are_registered(staffed: Network) -> None:
    for circuit, key in enumerate(PROGRAM.verifying_keys):
        found = await staffed.market.verifying_key_hash(PROGRAM.program_id, circuit)
        assert found == keccak(key)
    with pytest.raises(RevertedError) as caught:
        await staffed.market.verifying_key_hash(bytes(32), 0)
    assert caught.value.error == "UnknownProgram"
