"""Built programs on disk: a folder whose lock file names the hash of every other file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from node.proving.errors import BackendError, BackendFault
from protocol.hashing import keccak
from protocol.programs import CircuitFacts, ProgramManifest, program_id
from protocol.types import Hash

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: Final = "manifest.json"
LOCK: Final = "lock.json"


@dataclass(frozen=True, slots=True)
class BuiltProgram:
    """A program with its keys; `hashes` gives the SHA-256 of each file of the folder."""

    manifest: ProgramManifest
    program_id: Hash
    folder: Path
    hashes: dict[str, str]

    def proving_key_path(self, circuit: str) -> Path:
        """The proving key's file; check it with `read_checked` before use."""
        return self.folder / f"{circuit}.pk"

    def verifying_key(self, circuit: str) -> bytes:
        """Canonical bytes of a verifying key, checked against the manifest."""
        raw = self.read_checked(f"{circuit}.vk")
        if keccak(raw) != self.manifest.circuit(circuit).verifying_key_hash:
            raise BackendError(BackendFault.ARTIFACT_CORRUPT, f"{circuit}.vk")
        return raw

    def solidity_verifier_path(self, circuit: str) -> Path:
        """The generated on-chain verifier of one circuit, for the contracts' build."""
        return self.folder / f"{verifier_contract(circuit)}.sol"

    def manifest_json(self) -> dict[str, object]:
        """The manifest as `manifest.json` holds it."""
        document: dict[str, object] = msgspec.json.decode(encode_manifest_json(self.manifest))
        return document

    def read_checked(self, name: str) -> bytes:
        """One file's bytes, if they are those that were built; raises BackendError."""
        return _read_checked(self.folder, self.hashes, name)


def verifier_contract(circuit: str) -> str:
    """Name of the generated Solidity contract, for example SegmentVerifier."""
    return f"{circuit.capitalize()}Verifier"


def encode_manifest_json(manifest: ProgramManifest) -> bytes:
    """The readable form of a manifest; hashes in hexadecimal."""
    document = _ManifestFile(
        program_id=program_id(manifest).hex(),
        name=manifest.name,
        version=manifest.version,
        proof_system=manifest.proof_system,
        accounts_per_segment=manifest.accounts_per_segment,
        max_segments=manifest.max_segments,
        segment=_circuit_file(manifest.segment),
        combine=_circuit_file(manifest.combine),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def decode_manifest_json(raw: bytes) -> tuple[ProgramManifest, str]:
    """A manifest and the program id it states (hexadecimal, unchecked); raises ValueError."""
    document = msgspec.json.decode(raw, type=_ManifestFile)
    manifest = ProgramManifest(
        name=document.name,
        version=document.version,
        proof_system=document.proof_system,
        accounts_per_segment=document.accounts_per_segment,
        max_segments=document.max_segments,
        segment=_facts(document.segment),
        combine=_facts(document.combine),
    )
    return manifest, document.program_id


def load_program(folder: Path) -> BuiltProgram:
    """A built program; checks lock and manifest now, keys when they are read.

    Raises:
        BackendError: ARTIFACT_CORRUPT when a file is missing or not the one that was built.
    """
    try:
        hashes = msgspec.json.decode((folder / LOCK).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as exc:
        raise BackendError(BackendFault.ARTIFACT_CORRUPT, LOCK) from exc
    raw = _read_checked(folder, hashes, MANIFEST)
    try:
        manifest, stated = decode_manifest_json(raw)
    except ValueError as exc:
        raise BackendError(BackendFault.ARTIFACT_CORRUPT, MANIFEST) from exc
    if program_id(manifest).hex() != stated:
        raise BackendError(BackendFault.ARTIFACT_CORRUPT, "program id")
    return BuiltProgram(manifest, Hash(program_id(manifest)), folder, hashes)


def load_programs(root: Path) -> dict[Hash, BuiltProgram]:
    """Every built program below a folder, by program id; half-built folders start with a dot.

    Raises:
        BackendError: ARTIFACT_CORRUPT when there is none, or when any file of one is missing or
            not the one that was built: better now than with a request's input in hand.
    """
    folders = sorted(lock.parent for lock in root.glob(f"[!.]*/{LOCK}"))
    if not folders:
        raise BackendError(BackendFault.ARTIFACT_CORRUPT, "none there")
    programs = [load_program(folder) for folder in folders]
    for program in programs:
        _check_files(program)
    return {program.program_id: program for program in programs}


class _CircuitFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    constraints: int
    public_values: int
    verifying_key_hash: str


class _ManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    program_id: str
    name: str
    version: int
    proof_system: str
    accounts_per_segment: int
    max_segments: int
    segment: _CircuitFile
    combine: _CircuitFile


def _circuit_file(facts: CircuitFacts) -> _CircuitFile:
    key_hash = facts.verifying_key_hash.hex()
    return _CircuitFile(facts.name, facts.constraints, facts.public_values, key_hash)


def _facts(circuit: _CircuitFile) -> CircuitFacts:
    key_hash = bytes.fromhex(circuit.verifying_key_hash)
    return CircuitFacts(circuit.name, circuit.constraints, circuit.public_values, key_hash)


def _check_files(program: BuiltProgram) -> None:
    """Compare every file with the lock, without holding a proving key in memory."""
    for name, expected in program.hashes.items():
        try:
            with (program.folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as exc:
            raise BackendError(BackendFault.ARTIFACT_CORRUPT, f"{name}: {exc.strerror}") from exc
        if found != expected:
            raise BackendError(BackendFault.ARTIFACT_CORRUPT, name)


def _read_checked(folder: Path, hashes: dict[str, str], name: str) -> bytes:
    try:
        raw = (folder / name).read_bytes()
    except OSError as exc:
        raise BackendError(BackendFault.ARTIFACT_CORRUPT, f"{name}: {exc.strerror}") from exc
    if hashlib.sha256(raw).hexdigest() != hashes.get(name):
        raise BackendError(BackendFault.ARTIFACT_CORRUPT, name)
    return raw
