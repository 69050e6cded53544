"""Trees for `merkle.json`: roots of the first n leaves, and one proof for each leaf of one tree."""

from __future__ import annotations

from protocol.merkle import merkle_proof, merkle_root
from protocol.types import Hash
from tests.vectors.encoding import hex_of, word

LEAVES = [Hash(word(f"leaf {index}")) for index in range(9)]
PROVEN = 5


def build() -> dict[str, object]:
    proofs = [merkle_proof(LEAVES[:PROVEN], index) for index in range(PROVEN)]
    return {
        "leaves": [hex_of(leaf) for leaf in LEAVES],
        "sizes": list(range(1, len(LEAVES) + 1)),
        "roots": [hex_of(merkle_root(LEAVES[:size])) for size in range(1, len(LEAVES) + 1)],
        "provenSize": PROVEN,
        "proofDepth": len(proofs[0]),
        "proofs": [hex_of(sibling) for proof in proofs for sibling in proof],
    }
