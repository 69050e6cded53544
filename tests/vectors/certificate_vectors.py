"""Operators, aggregates and proofs of possession for `certificate.json`.

The digest is the one of the first batch of `batch.json`, so both files together settle it.
"""

from __future__ import annotations

from node.crypto import BLS_DST, BLS_ORDER, BlsKey, Crypto, eip2537_g1, eip2537_g2
from protocol.eip712 import batch_digest, key_registration_digest
from tests.vectors import batch_vectors
from tests.vectors.eip712_vectors import DOMAIN
from tests.vectors.encoding import address, hex_of, word

OPERATORS = batch_vectors.OPERATORS
SESSIONS = [address(f"session {index}") for index in range(4)]
SEALING_KEYS = [word(f"sealing {index}") for index in range(4)]
PEER_IDS = [f"peer {index}".encode() for index in range(4)]
WEIGHTS = [100, 100, 50, 100]
# Positions that did not sign, from nobody missing to too many missing.
CASES = [(), (2,), (0,), (0, 2), (0, 1, 3)]


def bls_key(index: int) -> BlsKey:
    scalar = int.from_bytes(word(f"bls key {index}"), "big") % BLS_ORDER
    return BlsKey(scalar.to_bytes(32, "big"))


def build() -> dict[str, object]:
    keys = [bls_key(index) for index in range(4)]
    digest = batch_digest(DOMAIN, batch_vectors.first().header)
    signatures = [key.sign(digest) for key in keys]
    registrations = [
        key_registration_digest(DOMAIN, *row)
        for row in zip(
            OPERATORS,
            SESSIONS,
            [eip2537_g1(key.public_key) for key in keys],
            SEALING_KEYS,
            PEER_IDS,
            strict=True,
        )
    ]
    signed = [sum(WEIGHTS) - sum(WEIGHTS[position] for position in case) for case in CASES]
    aggregates = [
        Crypto().aggregate([signatures[index] for index in range(4) if index not in case])
        for case in CASES
    ]
    return {
        "chainId": DOMAIN.chain_id,
        "registry": hex_of(DOMAIN.registry),
        "dst": BLS_DST.decode(),
        "operators": [hex_of(item) for item in OPERATORS],
        "sessions": [hex_of(item) for item in SESSIONS],
        "weights": WEIGHTS,
        "blsKeys": [hex_of(eip2537_g1(key.public_key)) for key in keys],
        "sealingKeys": [hex_of(item) for item in SEALING_KEYS],
        "peerIds": [hex_of(item) for item in PEER_IDS],
        "registrationDigests": [hex_of(item) for item in registrations],
        "proofsOfPossession": [
            hex_of(eip2537_g2(key.sign(item)))
            for key, item in zip(keys, registrations, strict=True)
        ],
        "digest": hex_of(digest),
        "nonSigners": [
            hex_of(b"".join(position.to_bytes(2, "big") for position in case)) for case in CASES
        ],
        "signatures": [hex_of(eip2537_g2(item)) for item in aggregates],
        "signedWeights": signed,
        "quorums": [3 * weight > 2 * sum(WEIGHTS) for weight in signed],
    }
