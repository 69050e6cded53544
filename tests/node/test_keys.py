"""Key files: standard forms, private modes, and one clear line for everything wrong with them."""

from __future__ import annotations

import contextlib
import json
import stat

import eth_keyfile
import pytest

from node.box import SealingKey
from node.crypto import BlsKey, SessionKey
from node.errors import ExitCode, KeystoreError
from node.keys import (
    BLS_FILE,
    KEY_FILES,
    PASSWORD_VARIABLE,
    PEER_FILE,
    SESSION_FILE,
    NodeKeys,
    import_keys,
    load_keys,
    load_session_key,
    public_keys,
    random_keys,
    read_password,
    save_keys,
)
from node.keystore import (
    DEVNET,
    CorruptKeystoreError,
    Cost,
    decrypt,
    encrypt_eip2335,
    encrypt_v3,
)

KEYS = NodeKeys(
    SessionKey(b"\x01" * 32), BlsKey(b"\x02" * 32), SealingKey(b"\x03" * 32), b"\x04" * 32
)
PASSWORD = "pässword ②"


@pytest.fixture
def folder(tmp_path):
    save_keys(tmp_path / "keys", KEYS, PASSWORD, DEVNET)
    return tmp_path / "keys"


def secrets_of(keys):
    return keys.session.secret, keys.bls.secret, keys.sealing.secret, keys.peer_seed


def test_round_trip_and_modes(folder):
    assert secrets_of(load_keys(folder, PASSWORD)) == secrets_of(KEYS)
    assert sorted(path.name for path in folder.iterdir()) == sorted(KEY_FILES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_other_programs_read_the_files_and_we_theirs(folder):
    raw = {name: json.loads((folder / name).read_text()) for name in KEY_FILES}
    assert eth_keyfile.decode_keyfile_json(raw[SESSION_FILE], PASSWORD.encode()) == b"\x01" * 32
    # eth_keyfile leaves normalising the password to its caller: pa + combining dots + ssword 2.
    plain = b"pa\xcc\x88ssword 2"
    assert eth_keyfile.decode_keyfile_json(raw[BLS_FILE], plain) == b"\x02" * 32
    for version, kdf in ((3, "pbkdf2"), (3, "scrypt"), (4, "pbkdf2"), (4, "scrypt")):
        secret = b"\x05" * 32
        made = eth_keyfile.create_keyfile_json(
            secret, b"plain", version=version, kdf=kdf, iterations=2
        )
        assert decrypt(json.dumps(made), "plain") == secret


def test_control_characters_do_not_count_in_eip2335():
    text = encrypt_eip2335(b"\x01" * 32, "pass\x7fword\n", b"", "", DEVNET)
    assert decrypt(text, "password") == b"\x01" * 32


def test_scrypt_is_the_standard():
    text = encrypt_v3(b"\x01" * 32, "x", bytes(20), Cost("scrypt", 1 << 4))
    assert json.loads(text)["crypto"]["kdfparams"]["r"] == 8
    assert decrypt(text, "x") == b"\x01" * 32


def test_public_parts_need_no_password(folder):
    shown = public_keys(folder)
    assert shown[SESSION_FILE] == KEYS.session.address.hex()
    assert shown[BLS_FILE] == KEYS.bls.public_key.hex()


def test_nothing_is_overwritten(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(KeystoreError):
        save_keys(folder, random_keys(), PASSWORD, DEVNET)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def fails(folder, password, name):
    with pytest.raises(KeystoreError) as caught:
        load_keys(folder, password)
    assert caught.value.exit_code is ExitCode.KEYSTORE
    assert name in caught.value.cause
    return caught.value


def test_wrong_password_names_the_file(folder):
    assert "password" in fails(folder, "other", SESSION_FILE).cause


@pytest.mark.parametrize("name", KEY_FILES)
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert "node keys new" in fails(folder, PASSWORD, name).mend


@pytest.mark.parametrize("name", KEY_FILES)
def test_file_open_to_others(folder, name):
    (folder / name).chmod(0o644)
    assert "chmod 600" in fails(folder, PASSWORD, name).mend


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "\x00", "{" * 10, '{"version": 3}', "x" * 70_000]
)
@pytest.mark.parametrize("name", [SESSION_FILE, PEER_FILE])
def test_corrupt_file(folder, name, text):
    (folder / name).write_text(text)
    fails(folder, PASSWORD, name)


@pytest.mark.parametrize("name", KEY_FILES)
def test_no_damage_gives_another_key(folder, name):
    text = (folder / name).read_text()
    for at in range(0, len(text), 2):
        damaged = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
        (folder / name).write_text(damaged)
        with contextlib.suppress(KeystoreError):
            assert secrets_of(load_keys(folder, PASSWORD)) == secrets_of(KEYS)


def test_a_file_without_address_is_taken(folder):
    document = json.loads((folder / SESSION_FILE).read_text())
    del document["address"]
    (folder / SESSION_FILE).write_text(json.dumps(document))
    assert load_session_key(folder / SESSION_FILE, PASSWORD).address == KEYS.session.address


@pytest.mark.parametrize(
    "params", [{"n": 1 << 40}, {"n": 3}, {"p": 1 << 20}, {"n": "x"}, {"dklen": 16}, {"n": -1}]
)
def test_absurd_costs_are_refused(params):
    document = json.loads(encrypt_v3(b"\x01" * 32, "x", bytes(20), Cost("scrypt", 16)))
    document["crypto"]["kdfparams"] |= params
    with pytest.raises(CorruptKeystoreError):
        decrypt(json.dumps(document), "x")


def test_import():
    keys = import_keys("0x" + "01" * 32, "02" * 32, "03" * 32 + "\n", "04" * 32)
    assert secrets_of(keys) == secrets_of(KEYS)
    for bad in ("", "01", "zz" * 32, "00" * 32, "ff" * 32):
        with pytest.raises(KeystoreError) as caught:
            import_keys(bad, "02" * 32, "03" * 32, "04" * 32)
        assert "session" in caught.value.cause
        assert not bad or bad not in str(caught.value)


def test_password_sources(tmp_path):
    file = tmp_path / "password"
    file.write_text("secret\nsecond line\n")
    assert read_password(file, {PASSWORD_VARIABLE: "other"}) == "secret"
    assert read_password(None, {PASSWORD_VARIABLE: "other"}) == "other"
    file.write_text("\n")
    for path, environ in ((None, {}), (file, {}), (tmp_path / "none", {})):
        with pytest.raises(KeystoreError):
            read_password(path, environ)


def test_secrets_do_not_show(folder):
    keys = load_keys(folder, PASSWORD)
    assert all(secret.hex() not in repr(keys) for secret in secrets_of(keys))
    assert load_session_key(folder / SESSION_FILE, PASSWORD).address == KEYS.session.address
