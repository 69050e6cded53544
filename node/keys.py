"""One set of a node's keys: four encrypted files in one private folder, opened with one password.

The operator's cold key is not among them: it registers these and stays elsewhere. Sets follow each
other as keys rotate, see `node/key_sets.py`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node.box import SealingKey
from node.crypto import BlsKey, SessionKey
from node.errors import KeystoreError
from node.keystore import (
    STANDARD,
    CorruptKeystoreError,
    Cost,
    WrongPasswordError,
    decrypt,
    encrypt_eip2335,
    encrypt_v3,
    public_of,
)

PASSWORD_VARIABLE: Final = "PROVERNET_PASSWORD"  # noqa: S105 - the variable's name, no password
SESSION_FILE: Final = "session.json"
BLS_FILE: Final = "bls.json"
SEALING_FILE: Final = "sealing.json"
PEER_FILE: Final = "peer.json"
KEY_FILES: Final = (SESSION_FILE, BLS_FILE, SEALING_FILE, PEER_FILE)

_MAX_FILE: Final = 64 * 1_024

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """All secrets of a node, decrypted."""

    session: SessionKey
    bls: BlsKey
    sealing: SealingKey
    peer_seed: bytes
    """32-byte ed25519 seed of the libp2p identity."""

    def __repr__(self) -> str:
        return f"NodeKeys(session={self.session.address.hex()})"


def random_keys() -> NodeKeys:
    """Fresh keys; nothing is written."""
    return NodeKeys(
        SessionKey.random(), BlsKey.random(), SealingKey.random(), secrets.token_bytes(32)
    )


def import_keys(session: str, bls: str, sealing: str, peer: str) -> NodeKeys:
    """Keys from 64 hex digits each, with or without 0x; raises KeystoreError naming the bad one."""
    return NodeKeys(
        _from_hex("session key", session, SessionKey),
        _from_hex("BLS key", bls, BlsKey),
        _from_hex("sealing key", sealing, SealingKey),
        _from_hex("peer seed", peer, bytes),
    )


def save_keys(folder: Path, keys: NodeKeys, password: str, cost: Cost = STANDARD) -> None:
    """Write the four files, all or none, 0600 in a 0700 folder that must not exist or be empty.

    Of two writers at once one fails.

    Raises:
        KeystoreError: there are files already, or the folder can not be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KeystoreError(
            f"{folder} is not empty", "keys are never overwritten: choose another folder"
        )
    texts = {
        SESSION_FILE: encrypt_v3(keys.session.secret, password, keys.session.address, cost),
        BLS_FILE: encrypt_eip2335(
            keys.bls.secret, password, keys.bls.public_key, "BLS12-381 votes", cost
        ),
        SEALING_FILE: encrypt_eip2335(
            keys.sealing.secret, password, keys.sealing.public_key, "X25519 inputs", cost
        ),
        PEER_FILE: encrypt_eip2335(
            keys.peer_seed, password, _peer_public(keys.peer_seed), "ed25519 identity", cost
        ),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".keys-", dir=folder.parent))  # mode 0700
        try:
            for name, text in texts.items():
                _write_private(fresh / name, text)
            fresh.rename(folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        _sync_folder(folder)
        _sync_folder(folder.parent)
    except OSError as exc:
        raise KeystoreError(f"can not write {folder}: {exc.strerror}", "check the path") from exc


def load_keys(folder: Path, password: str) -> NodeKeys:
    """Decrypt the four files.

    Raises:
        KeystoreError: a file is missing, readable by others, corrupt, or has another password.
    """
    return NodeKeys(
        load_session_key(folder / SESSION_FILE, password),
        _load(folder / BLS_FILE, password, BlsKey, lambda key: key.public_key),
        _load(folder / SEALING_FILE, password, SealingKey, lambda key: key.public_key),
        _load(folder / PEER_FILE, password, bytes, _peer_public),
    )


def load_session_key(path: Path, password: str) -> SessionKey:
    """A secp256k1 key out of any web3 v3 file, a requester's too; raises as `load_keys`."""
    return _load(path, password, SessionKey, lambda key: key.address)


def public_keys(folder: Path) -> dict[str, str]:
    """File name -> hex of what it shows without the password; raises as `load_keys`."""
    shown = {}
    for name in KEY_FILES:
        try:
            shown[name] = (public_of(_read_private(folder / name)) or b"").hex()
        except CorruptKeystoreError as exc:
            raise _corrupt(folder / name, exc) from exc
    return shown


def read_password(path: Path | None, environ: Mapping[str, str] | None = None) -> str:
    """The password: the first line of a file, else of the environment.

    Raises:
        KeystoreError: neither is there, or it is empty.
    """
    environ = os.environ if environ is None else environ
    if path is None:
        password = environ.get(PASSWORD_VARIABLE, "")
        source = f"the variable {PASSWORD_VARIABLE}"
    else:
        source = str(path)
        try:
            password = path.read_text(encoding="utf-8").split("\n", 1)[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError) as exc:
            raise KeystoreError(f"can not read {path}", "check password_file") from exc
    if not password:
        raise KeystoreError(
            f"{source} holds no password", f"set password_file or {PASSWORD_VARIABLE}"
        )
    return password


def _load(
    path: Path, password: str, make: Callable[[bytes], Key], public: Callable[[Key], bytes]
) -> Key:
    text = _read_private(path)
    try:
        key = make(decrypt(text, password))
        shown = public_of(text)
    except WrongPasswordError as exc:
        raise KeystoreError(
            f"the password does not open {path}", "give the one it was made with"
        ) from exc
    except (CorruptKeystoreError, ValueError) as exc:
        raise _corrupt(path, exc) from exc
    if shown is not None and shown != public(key):
        raise _corrupt(path, "another key than it shows")
    return key


def _corrupt(path: Path, why: object) -> KeystoreError:
    return KeystoreError(f"{path} is not a key file ({why})", "restore it from a backup")


def _read_private(path: Path) -> str:
    try:
        status = path.stat()
        if status.st_mode & 0o077:
            raise KeystoreError(f"{path} is open to other users", f"run: chmod 600 {path}")
        if status.st_size > _MAX_FILE:
            raise KeystoreError(f"{path} is too large for a key file", "restore it from a backup")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise KeystoreError(f"there is no key file {path}", "run: node keys new") from exc
    except OSError as exc:
        raise KeystoreError(f"can not read {path}: {exc.strerror}", "check its owner") from exc
    except UnicodeDecodeError as exc:
        raise _corrupt(path, exc) from exc


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _from_hex(name: str, text: str, make: Callable[[bytes], Key]) -> Key:
    digits = text.strip().removeprefix("0x")
    # The text is not shown: it may be a secret with a slip in it.
    unusable = KeystoreError(f"the {name} is not usable", "give 64 hex digits of a key")
    if len(digits) != 64:
        raise unusable
    try:
        return make(bytes.fromhex(digits))
    except ValueError as exc:
        raise unusable from exc


def _peer_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
