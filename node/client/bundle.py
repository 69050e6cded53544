"""Proof bundles as folders of readable files: saved from a node, loaded and checked without one.

What a node sent is written only once it is well-formed and bounded; what is loaded passes the same
checks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from node.client.bundle_format import (
    Address20,
    Amount,
    BidDocument,
    Bundle,
    BundleDocument,
    BundleError,
    Hash32,
    Json,
    Signature65,
    decode_bundle,
    raw,
    read_document,
)
from node.client.verification import Report, Step, verify_bundle
from node.errors import InputError, NodeUnreachableError
from node.proving.files import sync_folder
from protocol.codec import encode
from protocol.errors import LocalProtocolError
from protocol.messages import Envelope, Kind, ProofRequest
from protocol.nesting import too_deep

__all__ = ["Report", "Step", "load_bundle", "save_bundle", "verify_bundle"]

REQUEST_FILE: Final = "request.json"
PROOFS: Final = "proofs"
PARTS: Final = (
    "manifest",
    "verifying_keys",
    "result",
    "batch",
    "inclusion",
    "certificate",
    "operator_table",
)
"""Parts of a bundle that are one file each, named as in the API."""
_MAX_FILE: Final = 4 << 20
_MAX_PROOFS: Final = 999


class _TermsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    program_id: Hash32
    requester: Address20
    input_hashes: list[Hash32]
    copies: int
    reserve: Amount
    issued_at: int
    deadline_view: int
    allowlist: list[Address20]
    salt: Hash32


class _BidFile(BidDocument, frozen=True, forbid_unknown_fields=True):
    pass


class _RequestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    request_id: Hash32
    chain_id: int
    registry: Address20
    request: _TermsFile
    request_signature: Signature65
    bid: _BidFile


def save_bundle(bundle: object, directory: Path) -> list[str]:
    """Write a node's bundle into a folder, whole or not at all; returns the names of its files.

    The folder may be missing, empty, or hold an earlier save of the same request.

    Raises:
        NodeUnreachableError: the node sent something that is no bundle.
        InputError: the folder holds other files, or can not be written.
    """
    try:
        document = read_document(bundle)
        files = _files(document, decode_bundle(document))
    except BundleError as exc:
        raise NodeUnreachableError(
            f"the node's proof is malformed ({exc})", "ask another node"
        ) from exc
    directory = directory.absolute()
    try:
        _require_own(directory, document.request_id)
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            _write(fresh, files)
            _replace(fresh, directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(directory.parent)
    except OSError as exc:
        raise InputError(f"can not write {directory}: {exc.strerror}", "check the path") from exc
    return list(files)


def load_bundle(directory: Path) -> Json:
    """The bundle of a folder that `save_bundle` wrote, in the API's form.

    Raises:
        InputError: a file is missing, too large or malformed; names it.
    """
    if not directory.is_dir():
        raise InputError(f"there is no folder {directory}", "save one: node job ID --proof DIR")
    request, frame = _load_request(directory / REQUEST_FILE)
    bundle: Json = {
        "request_id": request.request_id,
        "chain_id": request.chain_id,
        "registry": request.registry,
        "request": _hex(frame),
        "bid": msgspec.to_builtins(request.bid),
        "proofs": _load_proofs(directory / PROOFS),
    }
    for part in PARTS:
        bundle[part] = _load(directory / f"{part}.json")
    try:
        decode_bundle(read_document(bundle))
    except BundleError as exc:
        raise InputError(f"{directory} is no proof bundle: {exc}", "save it again") from exc
    return bundle


def _files(document: BundleDocument, held: Bundle) -> dict[str, Any]:
    """File name -> what it holds, every value one that was checked."""
    request = held.request
    files: dict[str, Any] = {
        REQUEST_FILE: _RequestFile(
            request_id=document.request_id,
            chain_id=document.chain_id,
            registry=document.registry,
            request=_TermsFile(
                program_id=_hex(request.program_id),
                requester=_hex(request.requester),
                input_hashes=[_hex(item) for item in request.input_hashes],
                copies=request.copies,
                reserve=str(int.from_bytes(request.reserve, "big")),
                issued_at=request.issued_at,
                deadline_view=request.deadline_view,
                allowlist=[_hex(item) for item in request.allowlist],
                salt=_hex(request.salt),
            ),
            request_signature=_hex(held.request_signature),
            bid=_BidFile(document.bid.sealed, document.bid.max_fee, document.bid.salt),
        )
    }
    for part in PARTS:
        files[f"{part}.json"] = getattr(document, part)
    for place, proof in enumerate(document.proofs):
        files[f"{PROOFS}/{place:03}.json"] = proof
    return files


def _write(folder: Path, files: dict[str, Any]) -> None:
    (folder / PROOFS).mkdir()
    folder.chmod(0o755)
    for name, value in files.items():
        text = json.dumps(msgspec.to_builtins(value), indent=2) + "\n"
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder / PROOFS)
    sync_folder(folder)


def _replace(fresh: Path, directory: Path) -> None:
    """Put the finished folder in place of a missing, empty or earlier one."""
    if not directory.exists() or not any(directory.iterdir()):
        fresh.rename(directory)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    directory.rename(old)
    try:
        fresh.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    shutil.rmtree(old)


def _require_own(directory: Path, request_id: str) -> None:
    """Raises InputError if the folder holds anything but an earlier save of this request."""
    if not directory.exists():
        return
    foreign = InputError(f"{directory} is not empty", "choose another folder")
    if not directory.is_dir():
        raise InputError(f"{directory} is no folder", "choose another path")
    known = {REQUEST_FILE, PROOFS, *(f"{part}.json" for part in PARTS)}
    names = {entry.name for entry in directory.iterdir()}
    if not names:
        return
    if names != known:
        raise foreign
    try:
        earlier, _ = _load_request(directory / REQUEST_FILE)
    except InputError as exc:
        raise foreign from exc
    if earlier.request_id != request_id:
        raise foreign


def _load_request(path: Path) -> tuple[_RequestFile, bytes]:
    """The request file and the frame that its values make."""
    try:
        file = msgspec.convert(_load(path), _RequestFile)
        terms = file.request
        requester = raw(terms.requester)
        body = ProofRequest(
            program_id=raw(terms.program_id),
            requester=requester,
            input_hashes=tuple(raw(item) for item in terms.input_hashes),
            copies=terms.copies,
            reserve=int(terms.reserve).to_bytes(32, "big"),
            issued_at=terms.issued_at,
            deadline_view=terms.deadline_view,
            allowlist=tuple(raw(item) for item in terms.allowlist),
            salt=raw(terms.salt),
        )
        envelope = Envelope(int(Kind.REQUEST), requester, body, raw(file.request_signature))
        return file, encode(envelope)
    except (msgspec.ValidationError, LocalProtocolError, OverflowError) as exc:
        raise InputError(f"{path}: {exc}", "save the bundle again") from exc


def _load_proofs(folder: Path) -> list[Any]:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as exc:
        raise InputError(f"can not read {folder}: {exc.strerror}", "save it again") from exc
    if len(names) > _MAX_PROOFS or names != [f"{place:03}.json" for place in range(len(names))]:
        raise InputError(
            f"{folder} does not hold 000.json, 001.json and so on alone", "save it again"
        )
    return [_load(folder / name) for name in names]


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise InputError(f"{path} is too large for a part of a proof", "save it again")
        raw = path.read_bytes()
        if too_deep(raw):
            raise InputError(f"{path} nests too deep", "save the bundle again")
        return json.loads(raw.decode())
    except OSError as exc:
        raise InputError(f"can not read {path}: {exc.strerror}", "save the bundle again") from exc
    except ValueError as exc:
        raise InputError(f"{path} is not JSON: {exc}", "save the bundle again") from exc


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
