"""Builds a program: compiles its circuits and makes development keys, once per source.

The set-up is made by one party with fresh randomness, so whoever ran it could forge proofs. It is
for development only; a production program imports the keys of a ceremony.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from node.programs import solvency
from node.proving.artifacts import (
    LOCK,
    MANIFEST,
    BuiltProgram,
    encode_manifest_json,
    load_program,
)
from node.proving.child import child_command, child_environment
from node.proving.errors import BackendError, BackendFault
from node.proving.files import sync_folder
from protocol.claims import ACCOUNTS_PER_SEGMENT, COMBINE_VALUES, MAX_SEGMENTS, SEGMENT_VALUES
from protocol.hashing import keccak
from protocol.programs import COMBINE, GROTH16, SEGMENT, CircuitFacts, ProgramManifest

if TYPE_CHECKING:
    from collections.abc import Sequence

# Part of the folder's name: raise it when the layout of built folders changes.
_LAYOUT: Final = b"1"
_INCLUDE: Final = re.compile(r'^\s*include\s+"([^"]+)"\s*;', re.MULTILINE)
_CONSTRAINTS: Final = re.compile(r"^(?:non-)?linear constraints: (\d+)$", re.MULTILINE)
_PUBLIC_VALUES: Final = re.compile(r"^public (?:inputs|outputs): (\d+)$", re.MULTILINE)
_COMPILE_TIMEOUT_S: Final = 1_200
_CIRCUITS: Final = {SEGMENT: SEGMENT_VALUES, COMBINE: COMBINE_VALUES}


def build_program(
    source_dir: Path, out_dir: Path, include_dirs: Sequence[Path] = ()
) -> BuiltProgram:
    """The built solvency program; compiles only if these sources were not built into `out_dir` yet.

    Two builds at once are safe: one of them wins, both return the winner's folder.

    Args:
        source_dir: holds segment.circom and combine.circom.
        out_dir: receives one folder per source, named by its hash.
        include_dirs: where included files are looked up, after `source_dir`.

    Raises:
        BackendError: COMPILE_FAILED with the compiler's message, or ARTIFACT_CORRUPT when a folder
            that was built before has been changed: delete it to build again.
    """
    folders = [source_dir.resolve(), *(folder.resolve() for folder in include_dirs)]
    target = out_dir.resolve() / f"{solvency.NAME}-{_source_hash(folders)[:16]}"
    if target.is_dir():
        return load_program(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=out_dir, ignore_cleanup_errors=True) as raw:
        building = Path(raw) / "program"
        building.mkdir()
        _build_into(building, folders)
        try:
            building.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        sync_folder(target.parent)
    return load_program(target)


def _build_into(folder: Path, folders: Sequence[Path]) -> None:
    manifest = ProgramManifest(
        name=solvency.NAME,
        version=solvency.VERSION,
        proof_system=GROTH16,
        accounts_per_segment=ACCOUNTS_PER_SEGMENT,
        max_segments=MAX_SEGMENTS,
        segment=_compile(SEGMENT, folder, folders),
        combine=_compile(COMBINE, folder, folders),
    )
    (folder / MANIFEST).write_bytes(encode_manifest_json(manifest))
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }
    lock = msgspec.json.format(msgspec.json.encode(hashes), indent=2)
    (folder / LOCK).write_bytes(lock + b"\n")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _compile(name: str, out: Path, folders: Sequence[Path]) -> CircuitFacts:
    source = folders[0] / f"{name}.circom"
    command = child_command("node.proving.compile", *map(str, (source, out, name, *folders)))
    try:
        done = subprocess.run(
            command,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMPILE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise BackendError(BackendFault.COMPILE_FAILED, f"{name}: no end in sight") from exc
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise BackendError(BackendFault.COMPILE_FAILED, f"{name}: {' '.join(lines[-3:])}")
    constraints = sum(map(int, _CONSTRAINTS.findall(done.stdout)))
    public_values = sum(map(int, _PUBLIC_VALUES.findall(done.stdout)))
    if public_values != _CIRCUITS[name]:
        raise BackendError(BackendFault.COMPILE_FAILED, f"{name}: {public_values} public values")
    key_hash = keccak((out / f"{name}.vk").read_bytes())
    return CircuitFacts(name, constraints, public_values, key_hash)


def _source_hash(folders: Sequence[Path]) -> str:
    """SHA-256 over compiler version, layout and every source that the circuits include."""
    digest = hashlib.sha256(_LAYOUT + version("groth16py").encode())
    todo = [f"{name}.circom" for name in sorted(_CIRCUITS)]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        text = _find(name, folders).read_bytes()
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(text).digest())
        todo += reversed(_INCLUDE.findall(text.decode()))
    return digest.hexdigest()


def _find(name: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise BackendError(BackendFault.COMPILE_FAILED, f"{name} is in none of the include folders")


def main(arguments: Sequence[str]) -> None:
    """`python -m node.proving.build SOURCE_DIR OUT_DIR [INCLUDE_DIR ...]`; prints folder and id."""
    source, out, *includes = map(Path, arguments)
    program = build_program(source, out, includes)
    sys.stdout.write(f"{program.folder}\n{program.program_id.hex()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
