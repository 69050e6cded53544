"""Compiles one circuit and makes its development keys; run as a program of its own by `build`.

    python -m node.proving.compile SOURCE OUT_FOLDER NAME [INCLUDE_FOLDER ...]

The compiler prints to the process's standard output, which `build` reads and keeps from the user's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import groth16py

from node.proving.artifacts import verifier_contract
from node.proving.backends.groth16 import key_from_json

PRAGMA = "^0.8.29"


def main(source: str, out: str, name: str, *include_folders: str) -> None:
    """Write proving key, canonical verifying key and Solidity verifier of one circuit."""
    folder = Path(out)
    proving_key, verifying_key = groth16py.setup_circom(source, list(include_folders))
    proving_key.save(str(folder / f"{name}.pk"))
    (folder / f"{name}.vk").write_bytes(key_from_json(verifying_key.to_json()))
    contract = verifier_contract(name)
    solidity = verifying_key.to_solidity(pragma=PRAGMA, contract_name=contract)
    (folder / f"{contract}.sol").write_text(solidity)


if __name__ == "__main__":
    main(*sys.argv[1:])
