"""Proof of liabilities, the requester's side: cuts accounts into segments and seals what is secret.

The plan is what the requester knows; it checks the settled root and total against it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from node.programs.accounts import MAX_ACCOUNTS, Account
from node.programs.sum_tree import ZERO_NODE, Opening, SumNode, leaf, open_root
from protocol.claims import ACCOUNTS_PER_SEGMENT, MAX_SEGMENTS, Claim
from protocol.errors import LocalProtocolError
from protocol.hashing import keccak

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "solvency"
VERSION: Final = 1
SEED_BYTES: Final = 32
# 31 bytes always fit a field element.
ELEMENT_BYTES: Final = 31
# The largest private input, a full combining one, has 2.4 KB.
MAX_PRIVATE_INPUT_BYTES: Final = 4096


class AccountRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One account as its prover sees it: salt and account id hash of 31 bytes, 64-bit balance."""

    salt: bytes
    account: bytes
    balance: int


class SegmentInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Private input of one segment; the 32-byte blinding hides it behind its published hash."""

    blinding: bytes
    rows: list[AccountRow]


class OpeningRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The children of a segment's root: hashes of 32 bytes, sums of 9 bytes, big-endian."""

    left_hash: bytes
    left_sum: bytes
    right_hash: bytes
    right_sum: bytes


class CombineInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Private input of the combining segment; the blinding has 32 bytes."""

    blinding: bytes
    openings: list[OpeningRow]


@dataclass(frozen=True, slots=True)
class SolvencyPlan:
    """Everything a requester prepares: the claim to expect, and the private input of each proof."""

    claim: Claim
    segment_hashes: tuple[int, ...]
    segment_inputs: tuple[bytes, ...]
    combine_input: bytes

    @property
    def input_hashes(self) -> tuple[bytes, ...]:
        """keccak256 of each segment's private input, then of the combining one: 32 bytes each."""
        return tuple(keccak(raw) for raw in (*self.segment_inputs, self.combine_input))


def slots_of(accounts: int) -> int:
    """Slots that a plan of so many accounts takes: its segments and the combining one."""
    return -(-accounts // ACCOUNTS_PER_SEGMENT) + 1


def plan(accounts: Sequence[Account], seed: bytes) -> SolvencyPlan:
    """Cut accounts into full segments, in order; 3 ms of CPU per account, so not on an event loop.

    Args:
        accounts: 1 to 256 accounts, as `read_accounts` returns them.
        seed: 32 fresh secret bytes per request; salts and blindings come from it, so that whoever
            keeps it can give each account holder the opening of their leaf.
    """
    if len(seed) != SEED_BYTES or not 0 < len(accounts) <= MAX_ACCOUNTS:
        raise LocalProtocolError("a plan needs 1 to 256 accounts and a seed of 32 bytes")
    segments = [
        accounts[start : start + ACCOUNTS_PER_SEGMENT]
        for start in range(0, len(accounts), ACCOUNTS_PER_SEGMENT)
    ]
    rows = [[_row(account, seed) for account in segment] for segment in segments]
    openings = [open_root([row_leaf(row) for row in part], ACCOUNTS_PER_SEGMENT) for part in rows]
    roots = [opening.parent() for opening in openings]
    total = combine_roots(roots)
    return SolvencyPlan(
        claim=Claim(total.hash, total.sum, len(accounts)),
        segment_hashes=tuple(root.hash for root in roots),
        segment_inputs=tuple(
            msgspec.msgpack.encode(
                SegmentInput(_secret(seed, b"segment", i.to_bytes(4, "big")), part)
            )
            for i, part in enumerate(rows)
        ),
        combine_input=msgspec.msgpack.encode(
            CombineInput(_secret(seed, b"combine", b""), [_opening_row(o) for o in openings])
        ),
    )


def row_leaf(row: AccountRow) -> SumNode:
    """The leaf that a row stands for."""
    salt, account = int.from_bytes(row.salt, "big"), int.from_bytes(row.account, "big")
    return leaf(salt, account, row.balance)


def combine_roots(roots: Sequence[SumNode]) -> SumNode:
    """Root hash and total over the segments' roots, in order."""
    return open_root([*roots, *[ZERO_NODE] * (MAX_SEGMENTS - len(roots))], MAX_SEGMENTS).parent()


def account_hash(account_id: str) -> bytes:
    """The account id as the circuit sees it: the first 31 bytes of keccak256 of its UTF-8."""
    return keccak(account_id.encode())[:ELEMENT_BYTES]


def account_salt(account_id: str, seed: bytes) -> bytes:
    """The 31-byte salt of one account's leaf; safe to show to its holder."""
    return _secret(seed, b"salt", account_id.encode())[:ELEMENT_BYTES]


def _row(account: Account, seed: bytes) -> AccountRow:
    account_id = account.account_id
    return AccountRow(account_salt(account_id, seed), account_hash(account_id), account.balance)


def _opening_row(opening: Opening) -> OpeningRow:
    left, right = opening.left, opening.right
    return OpeningRow(*_node_bytes(left), *_node_bytes(right))


def _node_bytes(node: SumNode) -> tuple[bytes, bytes]:
    return node.hash.to_bytes(32, "big"), node.sum.to_bytes(9, "big")


def _secret(seed: bytes, purpose: bytes, label: bytes) -> bytes:
    """A 32-byte secret of its own for each purpose and label (keyed BLAKE2b, RFC 7693)."""
    return hashlib.blake2b(label, key=seed, person=purpose, digest_size=32).digest()
