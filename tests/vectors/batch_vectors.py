"""Two settled batches in sequence and one round that is not settled, for `batch.json`."""

from __future__ import annotations

from dataclasses import fields

from eth_abi import encode as abi_encode  # the claim as Solidity's abi.encode makes it

from protocol.batch import (
    AccountAmount,
    Batch,
    Result,
    ResultStatus,
    SettledBatch,
    build_batch,
    unsettled_batch,
)
from protocol.eip712 import batch_digest
from protocol.types import ZERO_HASH, Address, Hash, Wei
from tests.vectors.eip712_vectors import DOMAIN
from tests.vectors.encoding import address, hex_of, word

OPERATORS = sorted(Address(address(f"operator {index}")) for index in range(4))
REQUESTERS = sorted(Address(address(f"requester {index}")) for index in range(3))
CLAIM = abi_encode(["uint256", "uint256", "uint256"], [2**200 + 1, 123_456_789, 64])


def result(name: str, requester: Address, status: ResultStatus, fee: int) -> Result:
    settled = status is ResultStatus.SETTLED
    return Result(
        Hash(word(name)),
        Hash(word("program")),
        requester,
        status,
        1_790_000_000,
        CLAIM if settled else b"",
        Wei(fee),
    )


def amounts(accounts: list[Address], values: list[int]) -> list[AccountAmount]:
    return [AccountAmount(*pair) for pair in zip(accounts, map(Wei, values), strict=True)]


def first() -> SettledBatch:
    results = [
        result("request 0", REQUESTERS[0], ResultStatus.SETTLED, 40 * 10**15),
        result("request 1", REQUESTERS[1], ResultStatus.SETTLED, 2 * 10**15),
        result("request 2", REQUESTERS[2], ResultStatus.EXPIRED, 0),
        result("request 3", REQUESTERS[2], ResultStatus.CANCELLED, 0),
    ]
    return build_batch(
        epoch=1,
        round_number=7,
        value=Hash(word("value 7")),
        sequence=1,
        parent=ZERO_HASH,
        results=sorted(results, key=lambda item: item.request_id),
        credit_rows=amounts(OPERATORS[:3], [10**15, 2 * 10**15, 3 * 10**15]),
        debit_rows=amounts(REQUESTERS[:2], [40 * 10**15, 2 * 10**15]),
        stake_rows=amounts(OPERATORS, [0, 5, 0, 10**18]),
        reputation_root=Hash(word("reputation")),
        parameters_hash=Hash(word("parameters")),
        markets_hash=Hash(word("markets")),
        paid=Wei(6 * 10**15),
    )


def second(parent: Hash) -> SettledBatch:
    return build_batch(
        epoch=1,
        round_number=9,
        value=Hash(word("value 9")),
        sequence=2,
        parent=parent,
        results=[result("request 4", REQUESTERS[0], ResultStatus.FAILED, 0)],
        credit_rows=[],
        debit_rows=[],
        stake_rows=amounts(OPERATORS, [0, 0, 0, 0]),
        reputation_root=Hash(word("reputation")),
        parameters_hash=Hash(word("parameters")),
        markets_hash=Hash(word("markets")),
        paid=Wei(0),
    )


def header_columns(headers: list[Batch]) -> dict[str, list[object]]:
    """Parallel arrays, one per header field, by the Solidity name."""
    columns: dict[str, list[object]] = {}
    for column in fields(Batch):
        values = [getattr(header, column.name) for header in headers]
        name = {"debits_hash": "debitsHash"}.get(column.name, column.name)
        columns[f"header_{name}"] = [
            hex_of(value) if isinstance(value, bytes) else value for value in values
        ]
    return columns


def build() -> dict[str, object]:
    one = first()
    two = second(one.header.root)
    headers = [
        one.header,
        two.header,
        unsettled_batch(1, 8, *map(Hash, map(word, ("value 8", "traded")))),
    ]
    proofs = [one.result_proof(item.request_id) for item in one.results]
    credit_proofs = [one.credit_proof(item.account) for item in one.credits]
    return {
        "chainId": DOMAIN.chain_id,
        "registry": hex_of(DOMAIN.registry),
        **header_columns(headers),
        "digests": [hex_of(batch_digest(DOMAIN, header)) for header in headers],
        "debits": [hex_of(one.debits), hex_of(two.debits)],
        "leaves": [hex_of(leaf) for leaf in one.leaves],
        "claim": hex_of(CLAIM),
        "reputationRoot": hex_of(word("reputation")),
        "parametersHash": hex_of(word("parameters")),
        "marketsHash": hex_of(word("markets")),
        "resultRequestIds": [hex_of(item.request_id) for item in one.results],
        "resultProgramIds": [hex_of(item.program_id) for item in one.results],
        "resultRequesters": [hex_of(item.requester) for item in one.results],
        "resultStatuses": [int(item.status) for item in one.results],
        "resultIssuedAt": [item.issued_at for item in one.results],
        "resultFees": [item.fee for item in one.results],
        "resultIndexes": [proof.index for proof in proofs if proof],
        "creditOperators": [hex_of(item.account) for item in one.credits],
        "creditAmounts": [item.amount for item in one.credits],
        "creditIndexes": [proof.index for proof in credit_proofs if proof],
        "stakeOperators": [hex_of(operator) for operator in OPERATORS],
        "stakeAmounts": [0, 5, 0, 10**18],
        "proofDepth": len(proofs[0].siblings) if proofs[0] else 0,
        "resultProofs": [hex_of(item) for proof in proofs if proof for item in proof.siblings],
        "creditProofs": [
            hex_of(item) for proof in credit_proofs if proof for item in proof.siblings
        ],
    }
