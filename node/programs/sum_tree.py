"""The Merkle-sum tree of the liabilities circuits: a node is (hash, sum)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from node.programs.poseidon import poseidon

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class SumNode:
    """A node's Poseidon hash and the sum of the balances below it (smallest unit)."""

    hash: int
    sum: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What a root hash commits to: its two children."""

    left: SumNode
    right: SumNode

    def parent(self) -> SumNode:
        """The node that these two children make."""
        values = (self.left.hash, self.left.sum, self.right.hash, self.right.sum)
        return SumNode(poseidon(values), self.left.sum + self.right.sum)


ZERO_NODE: Final = SumNode(0, 0)


def leaf(salt: int, account: int, balance: int) -> SumNode:
    """The salted leaf of one account."""
    return SumNode(poseidon((salt, account, balance)), balance)


def open_root(leaves: Sequence[SumNode], size: int) -> Opening:
    """The children of the root over leaves padded with zero nodes to `size`, a power of two."""
    level = [*leaves, *[ZERO_NODE] * (size - len(leaves))]
    known: dict[Opening, SumNode] = {}  # most inner nodes of a nearly empty tree are equal
    while len(level) > 2:
        pairs = [Opening(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        for pair in pairs:
            if pair not in known:
                known[pair] = pair.parent()
        level = [known[pair] for pair in pairs]
    return Opening(level[0], level[1])
