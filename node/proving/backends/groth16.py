"""Groth16 over BN254 through groth16py.

A proof is 256 bytes: A (x, y), B (x1, x0, y1, y0), C (x, y), each 32 bytes big-endian, with the
imaginary part of an extension field element first, as EIP-197 orders them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import groth16py

from node.proving.errors import BackendError, BackendFault
from protocol.claims import parse_words
from protocol.errors import Rejection, RejectionReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROOF_BYTES: Final = 256
_WORD: Final = 32
# alpha in G1, then beta, gamma and delta in G2, then one G1 point more than public values.
_HEAD_WORDS: Final = 2 + 3 * 4
_GROTH16PY_ERRORS: Final = (
    groth16py.EncodingError,
    groth16py.VerificationError,
    groth16py.SetupError,
    groth16py.WitnessError,
)


class Prover:
    """A loaded proving key; loading takes about a second, so a worker keeps it."""

    def __init__(self, path: Path) -> None:
        try:
            self._key = groth16py.ProvingKey.load(str(path))
        except (*_GROTH16PY_ERRORS, OSError, ValueError) as exc:
            raise BackendError(BackendFault.ARTIFACT_CORRUPT, path.name) from exc

    def prove(self, inputs: Mapping[str, int | list[int]]) -> bytes:
        """A 256-byte proof, unchecked: an unsatisfied assignment gives a proof that is invalid."""
        try:
            return bytes(groth16py.prove(self._key, dict(inputs)))
        except _GROTH16PY_ERRORS as exc:
            raise BackendError(BackendFault.SELF_VERIFY_FAILED, str(exc)) from exc


class Verifier:
    """A verifying key, ready to check proofs; one check takes about 2 ms."""

    def __init__(self, verifying_key: bytes) -> None:
        self._public_values = (len(verifying_key) // _WORD - _HEAD_WORDS) // 2 - 1
        try:
            key = groth16py.VerifyingKey.from_snarkjs(_key_to_json(verifying_key))
            self._verifier = groth16py.Verifier(key)
        except (*_GROTH16PY_ERRORS, ValueError) as exc:
            raise BackendError(BackendFault.ARTIFACT_CORRUPT, "verifying key") from exc

    def check(self, values: Sequence[bytes], proof: bytes) -> None:
        """Return if the proof holds for these public values.

        Raises:
            Rejection: BAD_PUBLIC_VALUES for a wrong count; NON_CANONICAL for a value or coordinate
                not below its modulus, a point off the curve or its subgroup, the point at infinity
                or a wrong length; INVALID_PROOF if the pairing does not hold.
        """
        numbers = list(parse_words(values, self._public_values))
        try:
            valid = self._verifier.verify(proof, numbers)
        except groth16py.EncodingError as exc:
            raise Rejection(RejectionReason.NON_CANONICAL, "proof") from exc
        except groth16py.VerificationError as exc:
            raise Rejection(RejectionReason.INVALID_PROOF) from exc
        if not valid:
            raise Rejection(RejectionReason.INVALID_PROOF)


def key_from_json(text: str) -> bytes:
    """Canonical bytes of a verifying key in snarkjs's JSON form: alpha first, points as above."""
    key = json.loads(text)
    words = _g1_words(key["vk_alpha_1"])
    for name in ("vk_beta_2", "vk_gamma_2", "vk_delta_2"):
        words += _g2_words(key[name])
    for point in key["IC"]:
        words += _g1_words(point)
    return b"".join(word.to_bytes(_WORD, "big") for word in words)


def _key_to_json(raw: bytes) -> str:
    if len(raw) % _WORD or len(raw) // _WORD < _HEAD_WORDS + 2 or len(raw) // _WORD % 2:
        raise ValueError("a verifying key has a wrong length")
    words = [str(int.from_bytes(raw[i : i + _WORD], "big")) for i in range(0, len(raw), _WORD)]
    points = [[*words[i : i + 2], "1"] for i in range(_HEAD_WORDS, len(words), 2)]
    key: dict[str, Any] = {
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": len(points) - 1,
        "vk_alpha_1": [*words[:2], "1"],
        "IC": points,
    }
    for place, name in enumerate(("vk_beta_2", "vk_gamma_2", "vk_delta_2")):
        x1, x0, y1, y0 = words[2 + 4 * place : 6 + 4 * place]
        key[name] = [[x0, x1], [y0, y1], ["1", "0"]]
    return json.dumps(key)


def _g1_words(point: list[str]) -> list[int]:
    return [int(point[0]), int(point[1])]


def _g2_words(point: list[list[str]]) -> list[int]:
    (x0, x1), (y0, y1) = point[:2]
    return [int(x1), int(x0), int(y1), int(y0)]
