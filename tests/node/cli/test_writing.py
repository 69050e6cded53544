"""Verbs that need keys and files: submit, keys, start; every bad input has its exit code."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from node.box import SealingKey
from node.crypto import BlsKey
from node.errors import ExitCode
from node.keys import KEY_FILES, NodeKeys, load_keys, save_keys
from node.keystore import DEVNET
from node.net.identity import peer_id_of_seed
from protocol.codec import decode
from protocol.eip712 import digest
from tests.node.client.proven import DOMAIN, OPERATORS, REQUESTER
from tests.node.operators import CRYPTO

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "correct horse"
KEYS = NodeKeys(REQUESTER, BlsKey(b"\x02" * 32), SealingKey(b"\x03" * 32), b"\x04" * 32)


@pytest.fixture
def keys(tmp_path):
    save_keys(tmp_path / "keys", KEYS, PASSWORD, DEVNET)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return tmp_path / "keys"


@pytest.fixture
def accounts(tmp_path):
    path = tmp_path / "accounts.csv"
    rows = "".join(f"account-{number},{number + 1}\n" for number in range(20))
    path.write_text("account_id,balance\n" + rows)
    return path


@pytest.fixture
def submit(cli, keys, accounts):
    """`node submit` with usable arguments; a test changes what it is about."""

    def call(node="http://127.0.0.1:1", **changes):
        options = {
            "--max-fee": "0.5ether",
            "--key": keys / "session.json",
            "--password-file": keys.parent / "password",
            "--node": node,
        } | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        flat = [item for option in options.items() for item in option]
        return cli("submit", "solvency", accounts, *flat)

    return call


def test_a_request_that_is_not_admitted_is_refused_with_its_reason(submit, url, finished):
    ran = submit(url, operator="0x" + OPERATORS[2].hex())
    assert (ran.code, ran.complains()) == (ExitCode.REFUSED, True)
    assert "escrow_too_low" in ran.err
    envelope = decode(finished.frames[0])
    body = envelope.body
    assert CRYPTO.recover(digest(DOMAIN, body), envelope.signature) == REQUESTER.address
    assert body.allowlist == (OPERATORS[2],)
    # The fee is sealed: what is public tells its power of two at most.
    assert int.from_bytes(body.reserve, "big") == 2**59 > 5 * 10**17
    assert len(body.input_hashes) == 3


def test_the_reserve_is_the_owners_to_choose(submit, url, finished):
    submit(url, reserve="0.75ether")
    assert int.from_bytes(decode(finished.frames[0]).body.reserve, "big") == 75 * 10**16
    ran = submit(url, reserve="0.25ether")
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


def test_a_program_that_the_network_lacks(cli, keys, accounts, url):
    key = keys / "session.json"
    password = keys.parent / "password"
    given = ("--max-fee", 5, "--key", key, "--password-file", password, "--node", url)
    ran = cli("submit", "sudoku", accounts, *given)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)
    assert "solvency" in ran.err


CSV = {
    "negative": ("account_id,balance\na,1\nb,-5\n", "line 3, column 2 (balance)"),
    "no number": ("account_id,balance\na,1\nb,five\n", "line 3, column 2 (balance)"),
    "a column more": ("account_id,balance\na,1,2\n", "line 2"),
    "a column less": ("account_id,balance\na\n", "line 2"),
    "one id twice": ("account_id,balance\na,1\nb,2\na,3\n", "line 4, column 1 (account_id)"),
    "too large": (f"account_id,balance\na,{2**64}\n", "line 2, column 2 (balance)"),
    "no header": ("a,1\n", "line 1"),
    "empty": ("", "line 1"),
    "no text": (b"\xff\xfe\x00", "line 1"),
}


@pytest.mark.parametrize("name", CSV)
def test_a_malformed_csv_is_told_by_line_and_column(submit, accounts, name):
    content, place = CSV[name]
    accounts.write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)
    assert place in ran.err, ran.err


def test_a_missing_csv(submit, accounts):
    accounts.unlink()
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


@pytest.mark.parametrize(
    "text",
    ["0", "", "-1", "1.5", "0.5e18", "0x10", "1,000", "0.0000000001gwei", "ether", str(2**96)],
)
def test_a_bad_amount(submit, text):
    ran = submit(max_fee=text)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


@pytest.mark.parametrize("seconds", ["0", "-5", "soon", "99999999999999999999"])
def test_a_deadline_in_the_past_or_never(submit, seconds):
    ran = submit(deadline=seconds)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


@pytest.mark.parametrize("text", ["0x12", "alice", "0x" + "0g" * 20])
def test_an_operator_that_is_no_address(submit, text):
    ran = submit(operator=text)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


@pytest.fixture
def cancel(cli, keys, finished, url):
    def call(*more, key=None):
        named = ("--key", key or keys / "session.json", "--password-file", keys.parent / "password")
        return cli("job", finished.request_id, "cancel", *named, "--node", url, *more)

    return call


def test_a_waiting_request_is_taken_back_by_its_owner(cancel, finished):
    finished.change = {"state": "auctioned", "result": None, "segments": []}
    ran = cancel("--json")
    assert ran.code == ExitCode.OK
    assert json.loads(ran.out)["reason"] == "cancelled"
    envelope = decode(finished.frames[0])
    assert envelope.sender == REQUESTER.address
    signed = digest(DOMAIN, envelope.body)
    assert CRYPTO.recover(signed, envelope.signature) == REQUESTER.address


def test_what_is_over_or_proven_is_not_taken_back(cancel, finished):
    ran = cancel()
    assert ran.code == ExitCode.ANSWER_NO
    assert "not cancelled" in ran.out
    finished.change = {"state": "proving", "award": {"round": 4}, "result": None}
    assert cancel().code == ExitCode.ANSWER_NO


def test_only_the_owner_cancels(cli, cancel, finished, url):
    finished.change = {"requester": "0x" + OPERATORS[0].hex()}
    ran = cancel()
    assert ran.code == ExitCode.REFUSED
    assert ran.complains()
    assert finished.frames == []
    keyless = cli("job", finished.request_id, "cancel", "--node", url)
    assert keyless.code == ExitCode.BAD_INPUT
    assert cli("job", finished.request_id, "forget", "--node", url).code == ExitCode.BAD_INPUT


def test_the_wrong_password(submit, keys):
    (keys.parent / "password").write_text("another\n")
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)
    assert "password does not open" in ran.err


def test_no_password_at_all(cli, keys, accounts):
    ran = cli("submit", "solvency", accounts, "--max-fee", 5, "--key", keys / "session.json")
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)
    assert "PROVERNET_PASSWORD" in ran.err


@pytest.mark.parametrize("damage", ["", "{}", "[" * 9_000, '{"version": 3}', "\x00"])
def test_a_corrupt_keystore(submit, keys, damage):
    (keys / "session.json").write_text(damage)
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)


def test_a_keystore_that_others_may_read(submit, keys):
    (keys / "session.json").chmod(0o644)
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)
    assert "chmod 600" in ran.err


def test_a_missing_keystore(submit, keys):
    (keys / "session.json").unlink()
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)


def test_no_node_answers(submit):
    ran = submit()
    assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True)


@pytest.mark.parametrize(
    "change", [{"view_ms": 0}, {"registry": "0x12"}, {"programs": None}, {"chain_id": "x"}]
)
def test_a_node_of_another_kind_gets_no_request(submit, url, finished, change):
    finished.change = change
    ran = submit(url)
    assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True)
    assert finished.frames == []


def test_new_keys_open_with_their_password_and_are_never_overwritten(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PROVERNET_PASSWORD", PASSWORD)
    folder = tmp_path / "operator" / "keys"
    ran = cli("keys", "new", folder, "--json")
    assert ran.code == ExitCode.OK
    made = load_keys(folder, PASSWORD)
    shown = json.loads(ran.out)
    assert shown == {
        "directory": str(folder),
        "session": "0x" + made.session.address.hex(),
        "bls_key": "0x" + made.bls.public_key.hex(),
        "sealing_key": "0x" + made.sealing.public_key.hex(),
        "peer_id": peer_id_of_seed(made.peer_seed),
    }
    assert json.loads(cli("keys", "list", folder, "--json").out) == shown
    for name in KEY_FILES:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    before = {name: (folder / name).read_bytes() for name in KEY_FILES}
    again = cli("keys", "new", folder)
    assert (again.code, again.complains()) == (ExitCode.KEYSTORE, True)
    assert {name: (folder / name).read_bytes() for name in KEY_FILES} == before


def test_listing_keys_shows_no_secret_and_asks_for_no_password(cli, keys):
    ran = cli("keys", "list", keys)
    assert ran.code == ExitCode.OK
    assert "0x" + REQUESTER.address.hex() in ran.out
    for secret in (REQUESTER.secret, KEYS.bls.secret, KEYS.sealing.secret, KEYS.peer_seed):
        assert secret.hex() not in ran.out


def test_listing_keys_that_are_not_there(cli, tmp_path, keys):
    assert cli("keys", "list", tmp_path / "nothing").code == ExitCode.BAD_INPUT
    (keys / "bls.json").write_text("{")
    ran = cli("keys", "list", keys)
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)


def test_keys_without_a_password_are_not_made(cli, tmp_path):
    ran = cli("keys", "new", tmp_path / "keys")
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)
    assert list(tmp_path.iterdir()) == []


CONFIG = {
    "missing": None,
    "no TOML": "data_dir = [",
    "binary": b"\xff\xfe",
    "deep": "data_dir = " + "[" * 9_000,
    "empty": "",
    "an unknown key": 'data_dir = "d"\nkeys_dir = "k"\nnonsense = 1\n[chain]\nrpc_url = "u"\n'
    'deployment = "d"\n[proving]\nprograms = "p"\n',
    "a wrong type": 'data_dir = "d"\nkeys_dir = "k"\n[chain]\nrpc_url = "u"\ndeployment = "d"\n'
    'confirmations = "many"\n[proving]\nprograms = "p"\n',
}


@pytest.mark.parametrize("name", CONFIG)
def test_a_corrupt_configuration(cli, tmp_path, name):
    path = tmp_path / "node.toml"
    content = CONFIG[name]
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = cli("start", "--config", path)
    assert (ran.code, ran.complains()) == (ExitCode.CONFIG, True)
    assert str(path) in ran.err


def config_of(keys, programs):
    path = keys.parent / "node.toml"
    path.write_text(
        'data_dir = "data"\nkeys_dir = "keys"\npassword_file = "password"\n'
        '[chain]\nrpc_url = "http://127.0.0.1:1"\ndeployment = "deployment.json"\n'
        f'[proving]\nprograms = "{programs}"\n'
    )
    return path


def test_starting_with_the_wrong_password(cli, keys, tmp_path):
    (tmp_path / "password").write_text("another\n")
    ran = cli("start", "--config", config_of(keys, tmp_path))
    assert (ran.code, ran.complains()) == (ExitCode.KEYSTORE, True)


def test_starting_with_a_corrupt_program(cli, keys, tmp_path, built):
    folder = tmp_path / "programs" / "solvency"
    folder.mkdir(parents=True)
    for name in ("manifest.json", "lock.json"):
        shutil.copy(built.folder / name, folder / name)
    (folder / "manifest.json").write_text("{}")
    ran = cli("start", "--config", config_of(keys, tmp_path / "programs"))
    assert (ran.code, ran.complains()) == (ExitCode.CONFIG, True)
    assert "manifest.json" in ran.err


@pytest.mark.parametrize(
    "arguments", [["fly"], ["job"], ["job", "1", "2"], ["jobs", "--limit", "0"]]
)
def test_a_wrong_command_line(cli, arguments):
    ran = cli(*arguments)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


def test_help_names_every_verb(cli):
    ran = cli("--help")
    assert ran.code == ExitCode.OK
    for verb in ("start", "status", "submit", "jobs", "job", "verify", "keys"):
        assert f" {verb} " in ran.out


def started(*command, **options):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_the_module_and_both_console_scripts_are_one_program(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) == {"node", "provernet"}
    (entry,) = set(project["scripts"].values())
    module, function = entry.split(":")
    script = f"from {module} import {function}; {function}()"
    for command in (["-m", "node"], ["-c", script]):
        done = started(*command, "verify", tmp_path, stdout=subprocess.PIPE)
        assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, "")
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_is_no_error(keys, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    try:
        done = started("-m", "node", "keys", "list", keys, stdout=writing, env=environ)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")


def test_exit_codes_are_distinct():
    assert len({int(code) for code in ExitCode}) == len(ExitCode.__members__)
