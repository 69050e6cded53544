"""Writes bls.json and groth16.json: what Python libraries compute and the contracts must agree with.

`python generate.py bls` is deterministic. `python generate.py groth16` draws a new development
set-up each time, so its output changes; it is only needed when the form of the vectors changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
OPERATORS = 85
ABSENT = 28
CHAIN_ID = 31337
# CREATE address of the first contract of NetworkFixture.DEPLOYER.
DEPLOYER = bytes.fromhex("00000000000000000000000000000000de9107e4")
CIRCUIT = """pragma circom 2.1.6;
template Product() {
    signal input product; signal input label; signal input left; signal input right;
    product === left * right;
    signal square <== label * label;
}
component main {public [product, label]} = Product();
"""


def secret(index: int) -> int:
    """The secret key of test operator `index`, as in BlsSigner.sol."""
    text = b"provernet test operator " + index.to_bytes(32, "big")
    return int.from_bytes(hashlib.sha256(text).digest(), "big") % ORDER


def padded(*coordinates: int) -> str:
    """EIP-2537 encoding of field elements: 64 bytes each."""
    return "0x" + "".join(int(value).to_bytes(64, "big").hex() for value in coordinates)


def bls_vectors() -> dict[str, Any]:
    """Hashes, a signature and the certificate of a batch; py_ecc for all that it can do in a minute."""
    from eth_utils import keccak
    from py_ecc.bls import G2ProofOfPossession
    from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
    from py_ecc.bls.hash_to_curve import hash_to_G2
    from py_ecc.optimized_bls12_381 import normalize

    def g1(p: Any) -> str:
        x, y = normalize(p)
        return padded(x.n, y.n)

    def g2(p: Any) -> str:
        x, y = normalize(p)
        return padded(*x.coeffs, *y.coeffs)

    messages = [bytes(32), b"\xff" * 32, *(keccak(text=f"message {i}") for i in range(3))]
    registry = keccak(b"\xd6\x94" + DEPLOYER + b"\x80")[12:]
    debits = bytes.fromhex("00000000000000000000000000000000000a11ce") + (10**18).to_bytes(
        12, "big"
    )
    batch = {
        "epoch": 1,
        "round": 9,
        "value": keccak(text="value"),
        "sequence": 1,
        "parent": bytes(32),
        "root": keccak(text="root"),
        "paid": 9 * 10**17,
        "debitsHash": keccak(debits),
    }
    digest = batch_digest(registry, batch)
    key = G2ProofOfPossession.SkToPk(secret(0))
    return {
        "hashes": [
            {"message": "0x" + m.hex(), "point": g2(hash_to_G2(m, DST, hashlib.sha256))}
            for m in messages
        ],
        "publicKey": g1(pubkey_to_G1(key)),
        "signature": g2(signature_to_G2(G2ProofOfPossession.Sign(secret(0), messages[2]))),
        "registry": "0x" + registry.hex(),
        "batch": {k: "0x" + v.hex() if isinstance(v, bytes) else v for k, v in batch.items()},
        "debits": "0x" + debits.hex(),
        "digest": "0x" + digest.hex(),
        "certificate": g2(aggregate(digest, 0, OPERATORS)),
        "certificateOfMost": g2(aggregate(digest, ABSENT, OPERATORS)),
    }


def aggregate(digest: bytes, start: int, stop: int) -> Any:
    """The aggregate signature of operators start to stop - 1, by the sum of their secret keys."""
    from py_ecc.bls import G2ProofOfPossession
    from py_ecc.bls.g2_primitives import signature_to_G2

    total = sum(secret(i) for i in range(start, stop)) % ORDER
    return signature_to_G2(G2ProofOfPossession.Sign(total, digest))


def batch_digest(registry: bytes, batch: dict[str, Any]) -> bytes:
    """EIP-712 by eth-account, which knows nothing of this project."""
    from eth_account.messages import encode_typed_data
    from eth_utils import keccak

    fields = [
        ("uint64", "epoch"),
        ("uint64", "round"),
        ("bytes32", "value"),
        ("uint64", "sequence"),
        ("bytes32", "parent"),
        ("bytes32", "root"),
        ("uint128", "paid"),
        ("bytes32", "debitsHash"),
    ]
    domain = {
        "name": "provernet",
        "version": "1",
        "chainId": CHAIN_ID,
        "verifyingContract": "0x" + registry.hex(),
    }
    types = {"Batch": [{"name": name, "type": kind} for kind, name in fields]}
    signable = encode_typed_data(domain, types, batch)
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def encode_verifying_key(key: dict[str, Any]) -> bytes:
    """Groth16Verifier.sol's encoding of a snarkjs verification_key.json."""

    def g1(p: list[str]) -> bytes:
        return b"".join(int(c).to_bytes(32, "big") for c in p[:2])

    def g2(p: list[list[str]]) -> bytes:
        return b"".join(int(c).to_bytes(32, "big") for pair in p[:2] for c in reversed(pair))

    head = (
        g1(key["vk_alpha_1"]) + g2(key["vk_beta_2"]) + g2(key["vk_gamma_2"]) + g2(key["vk_delta_2"])
    )
    return head + b"".join(g1(p) for p in key["IC"])


def groth16_vectors() -> dict[str, Any]:
    """A key and two proofs of a product, by groth16py."""
    import groth16py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "product.circom"
        path.write_text(CIRCUIT)
        proving_key, verifying_key = groth16py.setup_circom(str(path), [])
    first = groth16py.prove(proving_key, {"product": 35, "label": 7, "left": 5, "right": 7})
    second = groth16py.prove(proving_key, {"product": 36, "label": 7, "left": 6, "right": 6})
    assert groth16py.Verifier(verifying_key).verify(first, [35, 7])
    return {
        "verifyingKey": "0x" + encode_verifying_key(json.loads(verifying_key.to_json())).hex(),
        "publicValues": [35, 7],
        "proof": "0x" + first.hex(),
        "otherProof": "0x" + second.hex(),
    }


if __name__ == "__main__":
    name = sys.argv[1]
    vectors = {"bls": bls_vectors, "groth16": groth16_vectors}[name]()
    (HERE / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n")
