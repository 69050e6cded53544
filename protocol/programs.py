"""What a program is: circuits, their verifying keys, and the id that names all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.hashing import keccak

GROTH16: Final = "groth16"
SEGMENT: Final = "segment"
COMBINE: Final = "combine"

_ENCODING: Final = b"provernet/program/1"
_UINT64_MAX: Final = 2**64 - 1
_NAME_LIMIT: Final = 255


@dataclass(frozen=True, slots=True)
class CircuitFacts:
    """What nodes check themselves about one circuit: its size and its verifying key.

    `verifying_key_hash` is keccak256 of the key's canonical bytes (32 bytes).
    """

    name: str
    constraints: int
    public_values: int
    verifying_key_hash: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_uint64(self.constraints, self.public_values)
        if len(self.verifying_key_hash) != 32:
            raise ValueError("a verifying key hash has 32 bytes")


@dataclass(frozen=True, slots=True)
class ProgramManifest:
    """A program whose input is cut into segments, proven alone and combined by one more proof."""

    name: str
    version: int
    proof_system: str
    accounts_per_segment: int
    max_segments: int
    segment: CircuitFacts
    combine: CircuitFacts

    def __post_init__(self) -> None:
        _check_name(self.name, self.proof_system)
        _check_uint64(self.version, self.accounts_per_segment, self.max_segments)
        if (self.segment.name, self.combine.name) != (SEGMENT, COMBINE):
            raise ValueError("a program has one circuit named segment and one named combine")

    @property
    def max_accounts(self) -> int:
        """The largest number of accounts that one request can cover."""
        return self.accounts_per_segment * self.max_segments

    def circuit(self, name: str) -> CircuitFacts:
        """The facts of the circuit of this name; raises KeyError for any other name."""
        return {SEGMENT: self.segment, COMBINE: self.combine}[name]

    def segments_for(self, accounts: int) -> int:
        """The number of segments (without the combining one) that so many accounts fill."""
        return -(-accounts // self.accounts_per_segment)


def program_id(manifest: ProgramManifest) -> bytes:
    """keccak256 of the manifest's canonical encoding: 32 bytes that name program and keys."""
    return keccak(encode_manifest(manifest))


def encode_manifest(manifest: ProgramManifest) -> bytes:
    """A tag, then each field in order: length byte and text, integers in 8 bytes, hashes in 32."""
    return b"".join(
        (
            _ENCODING,
            _text(manifest.name),
            _uint64(manifest.version),
            _text(manifest.proof_system),
            _uint64(manifest.accounts_per_segment),
            _uint64(manifest.max_segments),
            *(_circuit(circuit) for circuit in (manifest.segment, manifest.combine)),
        )
    )


def _circuit(facts: CircuitFacts) -> bytes:
    sizes = _uint64(facts.constraints) + _uint64(facts.public_values)
    return _text(facts.name) + sizes + facts.verifying_key_hash


def _text(value: str) -> bytes:
    raw = value.encode()
    return bytes([len(raw)]) + raw


def _uint64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _check_name(*names: str) -> None:
    for name in names:
        if not 0 < len(name.encode()) <= _NAME_LIMIT:
            raise ValueError(f"a name has 1 to {_NAME_LIMIT} bytes")


def _check_uint64(*values: int) -> None:
    for value in values:
        if not 0 < value <= _UINT64_MAX:
            raise ValueError("a size or version is a positive 64-bit integer")
