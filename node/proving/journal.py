"""Checkpoints of proving: what a restarted prover finds, and what must be forgotten.

One folder per request; per segment an input file (private, mode 0600, gone after `forget`) and a
state file. A file is whole or absent; one whose hash does not fit is treated as absent.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from node.proving.files import sync_folder, write_whole
from protocol.types import Hash

if TYPE_CHECKING:
    from pathlib import Path

_CHECKSUM_BYTES: Final = 32
_FOLDER: Final = re.compile(r"[0-9a-f]{64}")


class Stage(IntEnum):
    """How far the proof of a segment has come."""

    WITNESS = 1
    PROOF = 2
    VERIFIED = 3
    SUBMITTED = 4


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of one segment; `task` (32 bytes) names what is proven, `proof` comes with PROOF."""

    task: bytes
    stage: Stage
    values: tuple[bytes, ...]
    proof: bytes


class ProofJournal:
    """Durable checkpoints below one folder; every method blocks on the disk."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        for leftover in root.glob("*/.*.part"):  # half a file, perhaps a private one
            leftover.unlink()
        self._root = root

    def hold_input(self, request_id: Hash, segment: int, private_input: bytes) -> None:
        """Keep a private input until `forget`."""
        folder = self._folder(request_id)
        if not folder.is_dir():
            folder.mkdir(mode=0o700)
            sync_folder(self._root)
        _write(folder / f"{segment}.input", private_input)

    def input(self, request_id: Hash, segment: int) -> bytes | None:
        """The private input that is held, if it is whole."""
        return _read(self._folder(request_id) / f"{segment}.input")

    def save(self, request_id: Hash, segment: int, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a segment; after `forget` there is nothing to save into."""
        folder = self._folder(request_id)
        if folder.is_dir():
            _write(folder / f"{segment}.state", msgspec.msgpack.encode(checkpoint))

    def load(self, request_id: Hash, segment: int) -> Checkpoint | None:
        """The last whole checkpoint of a segment."""
        raw = _read(self._folder(request_id) / f"{segment}.state")
        if raw is None:
            return None
        try:
            return msgspec.msgpack.decode(raw, type=Checkpoint)
        except msgspec.DecodeError:
            return None

    def held(self) -> tuple[tuple[Hash, int], ...]:
        """Request and segment of every private input that is still on disk."""
        inputs = [
            path for path in self._root.glob("*/*.input") if _FOLDER.fullmatch(path.parent.name)
        ]
        return tuple(sorted((Hash(bytes.fromhex(p.parent.name)), int(p.stem)) for p in inputs))

    def forget(self, request_id: Hash) -> None:
        """Delete inputs and checkpoints of a request; nothing to do if there are none."""
        folder = self._folder(request_id)
        if folder.is_dir():
            shutil.rmtree(folder)
            sync_folder(self._root)

    def _folder(self, request_id: Hash) -> Path:
        return self._root / request_id.hex()


def _write(path: Path, data: bytes) -> None:
    write_whole(path, hashlib.sha256(data).digest() + data)


def _read(path: Path) -> bytes | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    checksum, data = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
    return data if hashlib.sha256(data).digest() == checksum else None
