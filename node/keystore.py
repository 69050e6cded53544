"""Encrypted key files: web3 secret storage v3 and EIP-2335.

Both derive a key from the password (scrypt or PBKDF2), encrypt with AES-128-CTR and check a MAC
before anything is decrypted; they differ in their JSON and in the MAC's hash. No MAC covers the IV:
the caller compares the key with the public one that the file shows.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.hashing import keccak

_KEY_SIZE: Final = 32
_MAX_SCRYPT_MEMORY: Final = 1 << 30
_MAX_PBKDF2_ROUNDS: Final = 10_000_000


class WrongPasswordError(Exception):
    """The password does not open this key file."""


class CorruptKeystoreError(Exception):
    """The text is no key file of a known form."""


@dataclass(frozen=True, slots=True)
class Cost:
    """How slow guessing a password is: scrypt with this n, or PBKDF2 with so many rounds."""

    function: str
    work: int


STANDARD: Final = Cost("scrypt", 1 << 18)
"""About a second and 256 MiB for each file."""
DEVNET: Final = Cost("pbkdf2", 1_000)
"""For devnets alone: the keys are worth nothing, and a test makes dozens."""


def encrypt_v3(secret: bytes, password: str, address: bytes, cost: Cost) -> str:
    """A web3 v3 key file of a secp256k1 key; the password is taken as UTF-8."""
    derived, params = _derive_new(password.encode(), cost)
    iv = secrets.token_bytes(16)
    ciphertext = _aes_ctr(derived[:16], iv, secret)
    document = {
        "address": address.hex(),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": cost.function,
            "kdfparams": params,
            "mac": keccak(derived[16:32] + ciphertext).hex(),
        },
        "id": str(uuid.uuid4()),
        "version": 3,
    }
    return json.dumps(document, indent=2) + "\n"


def encrypt_eip2335(
    secret: bytes, password: str, public: bytes, description: str, cost: Cost
) -> str:
    """An EIP-2335 key file of any 32-byte secret."""
    derived, params = _derive_new(normalised(password), cost)
    iv = secrets.token_bytes(16)
    ciphertext = _aes_ctr(derived[:16], iv, secret)
    document = {
        "crypto": {
            "kdf": {"function": cost.function, "params": params, "message": ""},
            "checksum": {
                "function": "sha256",
                "params": {},
                "message": hashlib.sha256(derived[16:32] + ciphertext).hexdigest(),
            },
            "cipher": {
                "function": "aes-128-ctr",
                "params": {"iv": iv.hex()},
                "message": ciphertext.hex(),
            },
        },
        "description": description,
        "pubkey": public.hex(),
        "path": "",
        "uuid": str(uuid.uuid4()),
        "version": 4,
    }
    return json.dumps(document, indent=2) + "\n"


def decrypt(text: str, password: str) -> bytes:
    """The secret of a key file of either form.

    Raises:
        WrongPasswordError: the MAC does not fit; a damaged ciphertext looks the same.
        CorruptKeystoreError: not a key file, or one whose cost is absurd.
    """
    try:
        document = json.loads(text)
        crypto = document["crypto"]
        if document["version"] == 3:
            derived = _derive(password.encode(), crypto["kdf"], crypto["kdfparams"])
            ciphertext = bytes.fromhex(crypto["ciphertext"])
            iv, wanted = crypto["cipherparams"]["iv"], crypto["mac"]
            made, cipher = keccak(derived[16:32] + ciphertext), crypto["cipher"]
        elif document["version"] == 4:
            kdf = crypto["kdf"]
            derived = _derive(normalised(password), kdf["function"], kdf["params"])
            ciphertext = bytes.fromhex(crypto["cipher"]["message"])
            iv, wanted = crypto["cipher"]["params"]["iv"], crypto["checksum"]["message"]
            made = hashlib.sha256(derived[16:32] + ciphertext).digest()
            cipher = crypto["cipher"]["function"]
        else:
            raise CorruptKeystoreError(f"version {document['version']!r} is unknown")
        if cipher != "aes-128-ctr" or len(ciphertext) != _KEY_SIZE:
            raise CorruptKeystoreError("not 32 bytes under aes-128-ctr")
        if not hmac.compare_digest(made, bytes.fromhex(wanted)):
            raise WrongPasswordError
        return _aes_ctr(derived[:16], bytes.fromhex(iv), ciphertext)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as exc:
        raise CorruptKeystoreError(f"{type(exc).__name__}: {exc}") from exc


def public_of(text: str) -> bytes | None:
    """The address or public key that a key file shows without its password, if it shows one."""
    try:
        document = json.loads(text)
        shown = document.get("address" if document["version"] == 3 else "pubkey")
        return bytes.fromhex(shown.removeprefix("0x")) if shown else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise CorruptKeystoreError(f"{type(exc).__name__}: {exc}") from exc


def normalised(password: str) -> bytes:
    """The password as EIP-2335 wants it: NFKD, without control characters, UTF-8."""
    folded = unicodedata.normalize("NFKD", password)
    return "".join(char for char in folded if unicodedata.category(char) != "Cc").encode()


def _derive_new(password: bytes, cost: Cost) -> tuple[bytes, dict[str, Any]]:
    params: dict[str, Any] = {"dklen": _KEY_SIZE, "salt": secrets.token_hex(32)}
    if cost.function == "scrypt":
        params |= {"n": cost.work, "r": 8, "p": 1}
    else:
        params |= {"c": cost.work, "prf": "hmac-sha256"}
    return _derive(password, cost.function, params), params


def _derive(password: bytes, function: str, params: dict[str, Any]) -> bytes:
    """32 bytes for the cipher and the MAC; refuses costs that would stop the machine."""
    salt = bytes.fromhex(params["salt"])
    if params["dklen"] != _KEY_SIZE:
        raise CorruptKeystoreError("the derived key has not 32 bytes")
    if function == "scrypt":
        n, r, p = params["n"], params["r"], params["p"]
        if 128 * n * r > _MAX_SCRYPT_MEMORY // 2 or p > 16:
            raise CorruptKeystoreError("its scrypt cost is out of bounds")
        return hashlib.scrypt(
            password, salt=salt, n=n, r=r, p=p, maxmem=_MAX_SCRYPT_MEMORY, dklen=_KEY_SIZE
        )
    if function == "pbkdf2" and params["prf"] == "hmac-sha256":
        if params["c"] > _MAX_PBKDF2_ROUNDS:
            raise CorruptKeystoreError("its PBKDF2 cost is out of bounds")
        return hashlib.pbkdf2_hmac("sha256", password, salt, params["c"], _KEY_SIZE)
    raise CorruptKeystoreError(f"the key derivation {function!r} is unknown")


def _aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()
