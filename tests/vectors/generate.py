"""Writes the vectors that pytest and forge both read: `python -m tests.vectors.generate`.

Flat JSON: bytes as hex strings, rows as parallel arrays, proofs one after the other, each
`proofDepth` long.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.vectors import (
    auction_vectors,
    batch_vectors,
    certificate_vectors,
    clearing_vectors,
    eip712_vectors,
    merkle_vectors,
    rotation_vectors,
    sealing_vectors,
)

FOLDER = Path(__file__).parent
BUILDERS = {
    "eip712.json": eip712_vectors.build,
    "merkle.json": merkle_vectors.build,
    "batch.json": batch_vectors.build,
    "certificate.json": certificate_vectors.build,
    "auction.json": auction_vectors.build,
    "clearing.json": clearing_vectors.build,
    "rotation.json": rotation_vectors.build,
    "sealing.json": sealing_vectors.build,
}


def render(name: str) -> str:
    """The text of one vector file."""
    return json.dumps(BUILDERS[name](), indent=2) + "\n"


def main() -> None:
    for name in BUILDERS:
        (FOLDER / name).write_text(render(name))


if __name__ == "__main__":
    main()
