"""The batch tree: keccak256 over ordered pairs, padded with zero leaves to a power of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.errors import LocalProtocolError
from protocol.hashing import keccak
from protocol.types import ZERO_HASH, Hash

if TYPE_CHECKING:
    from collections.abc import Sequence


def merkle_root(leaves: Sequence[Hash]) -> Hash:
    """Root over one or more 32-byte leaves; a single leaf is its own root."""
    return _levels(leaves)[-1][0]


def merkle_proof(leaves: Sequence[Hash], index: int) -> tuple[Hash, ...]:
    """Siblings of the leaf at `index`, from the leaves up to below the root."""
    levels = _levels(leaves)
    if not 0 <= index < len(leaves):
        raise LocalProtocolError(f"no leaf {index} among {len(leaves)}")
    return tuple(level[(index >> depth) ^ 1] for depth, level in enumerate(levels[:-1]))


def verify_proof(root: bytes, leaf: bytes, proof: Sequence[bytes], index: int) -> bool:
    """Tell whether `leaf` stands at `index` under `root`; hostile arguments are just false."""
    if not 0 <= index < 1 << len(proof) or any(len(item) != 32 for item in (leaf, *proof)):
        return False
    node = bytes(leaf)
    for depth, sibling in enumerate(proof):
        right = index >> depth & 1
        node = keccak(sibling + node if right else node + sibling)
    return node == root


def _levels(leaves: Sequence[Hash]) -> list[list[Hash]]:
    if not leaves or any(len(leaf) != 32 for leaf in leaves):
        raise LocalProtocolError("a tree has one or more leaves of 32 bytes")
    width = 1 << (len(leaves) - 1).bit_length()
    levels = [[*leaves, *[ZERO_HASH] * (width - len(leaves))]]
    while len(levels[-1]) > 1:
        pairs = zip(levels[-1][::2], levels[-1][1::2], strict=True)
        levels.append([Hash(keccak(left + right)) for left, right in pairs])
    return levels
