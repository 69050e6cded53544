"""`node start` with something wrong: one line naming cause and mend, its own exit code, at once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw
import trio

from chain.client import hexed, open_client
from devnet.anvil import AnvilSettings, run_anvil
from devnet.node_files import PASSWORD
from node.errors import ExitCode
from node.keys import KEY_FILES, PEER_FILE, SESSION_FILE, load_keys, random_keys, save_keys
from node.keystore import DEVNET
from node.store import Store
from tests.e2e.conftest import ROOT, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

QUICK_S: Final = 40.0
"""On a busy machine; most of it are imports."""
AT_ONCE: Final = 2


@dataclass
class Case:
    """The files of a registered node, to be spoilt; its data folder is new."""

    folder: Path
    original: Path
    """Folder of the running node that these files are copies of."""
    bare_chain: str
    """URL of an Anvil with nothing on it."""
    stack: ExitStack = field(default_factory=ExitStack)
    """Holds ports and locks that others are to find taken."""

    @property
    def config(self) -> Path:
        return self.folder / "node.toml"

    @property
    def database(self) -> Path:
        (self.folder / "data").mkdir(exist_ok=True)
        return self.folder / "data" / "node.sqlite"

    def set(self, name: str, value: object) -> None:
        """Replace the line of the configuration that sets this."""
        lines = self.config.read_text().splitlines()
        (place,) = [i for i, line in enumerate(lines) if line.startswith(f"{name} = ")]
        lines[place] = f"{name} = {json.dumps(value)}"
        self.config.write_text("\n".join(lines) + "\n")

    def deployment(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Let the node have a changed deployment file."""
        found = json.loads((self.original.parent / "deployment.json").read_text())
        change(found)
        (self.folder / "deployment.json").write_text(json.dumps(found))
        self.set("deployment", "deployment.json")

    def keys(self, *, funded: bool) -> bytes | None:
        """Put in keys that nobody registered; the session's address if it is to have ether."""
        shutil.rmtree(self.folder / "keys")
        keys = random_keys()
        save_keys(self.folder / "keys", keys, PASSWORD, DEVNET)
        return keys.session.address if funded else None

    def port(self) -> int:
        """A port that somebody listens on."""
        taken = self.stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number: int = taken.getsockname()[1]
        return number

    def sql(self, statement: str) -> None:
        connection = apsw.Connection(str(self.database))
        connection.execute(statement)
        connection.close()

    def programs(self) -> Path:
        """A copy of the programs, one folder, to be changed."""
        copied = self.folder / "programs"
        for line in self.config.read_text().splitlines():
            if line.startswith("programs = "):
                shutil.copytree(json.loads(line.partition(" = ")[2]), copied)
        self.set("programs", "programs")
        (program,) = [path for path in copied.iterdir() if (path / "lock.json").is_file()]
        return program


def no_config(case: Case) -> None:
    case.config.unlink()


def no_toml(case: Case) -> None:
    case.config.write_text("data_dir = = 1\n")


def binary_config(case: Case) -> None:
    case.config.write_bytes(os.urandom(512))


def unknown_key(case: Case) -> None:
    case.config.write_text('colour = "red"\n' + case.config.read_text())


def number_out_of_range(case: Case) -> None:
    case.set("workers", 0)


def little_worker_memory(case: Case) -> None:
    case.set("worker_memory_mb", 128)


def wrong_password(case: Case) -> None:
    (case.folder / "password").write_text("not it\n")


def no_password_file(case: Case) -> None:
    (case.folder / "password").unlink()


def corrupt_keystore(case: Case) -> None:
    path = case.folder / "keys" / SESSION_FILE
    path.write_text(path.read_text()[:-40])


def open_keystore(case: Case) -> None:
    (case.folder / "keys" / PEER_FILE).chmod(0o644)


def missing_keystore(case: Case) -> None:
    (case.folder / "keys" / KEY_FILES[1]).unlink()


def api_port_taken(case: Case) -> None:
    case.set("port", case.port())


def network_port_taken(case: Case) -> None:
    case.set("listen", f"/ip4/127.0.0.1/tcp/{case.port()}")


def no_address(case: Case) -> None:
    case.set("listen", "somewhere")


def another_machine(case: Case) -> None:
    case.set("listen", "/ip4/192.0.2.1/tcp/9000")


def no_such_address(case: Case) -> None:
    case.set("listen", "/ip4/1.2.3.999/tcp/9000")


def no_chain(case: Case) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        case.set("rpc_url", f"http://127.0.0.1:{unused.getsockname()[1]}")


def no_url(case: Case) -> None:
    case.set("rpc_url", "anvil, please")


def other_chain(case: Case) -> None:
    case.deployment(lambda found: found.update(chain_id=1))


def nothing_deployed(case: Case) -> None:
    case.set("rpc_url", case.bare_chain)


def contract_elsewhere(case: Case) -> None:
    case.deployment(lambda found: found["contracts"].update(proof_market="0x" + "ab" * 20))


def no_deployment_file(case: Case) -> None:
    case.set("deployment", "nowhere.json")


def corrupt_deployment_file(case: Case) -> None:
    (case.folder / "deployment.json").write_text("{")
    case.set("deployment", "deployment.json")


def unknown_parameters(case: Case) -> None:
    case.deployment(lambda found: found.update(params="mainnet"))


def not_registered(case: Case) -> bytes | None:
    return case.keys(funded=True)


def without_ether(case: Case) -> bytes | None:
    return case.keys(funded=False)


def keys_mixed_up(case: Case) -> None:
    keys = load_keys(case.folder / "keys", PASSWORD)
    others = random_keys()
    shutil.rmtree(case.folder / "keys")
    mixed = type(keys)(keys.session, others.bls, keys.sealing, keys.peer_seed)
    save_keys(case.folder / "keys", mixed, PASSWORD, DEVNET)


def foreign_database(case: Case) -> None:
    case.sql("CREATE TABLE recipes (name TEXT)")


def newer_database(case: Case) -> None:
    Store.open(case.database).close()
    case.sql("PRAGMA user_version = 99")


def damaged_database(case: Case) -> None:
    case.database.write_bytes(os.urandom(8_192))


def database_in_use(case: Case) -> None:
    # This operator's own node, which runs.
    case.set("data_dir", str(case.original / "data"))


def no_programs(case: Case) -> None:
    case.set("programs", "nowhere")


def tampered_program(case: Case) -> None:
    path = case.programs() / "manifest.json"
    path.write_text(path.read_text().replace("16", "17", 1))


def program_file_missing(case: Case) -> None:
    (case.programs() / "segment.pk").unlink()


CASES: Final[Sequence[tuple[Any, ExitCode, str]]] = (
    (no_config, ExitCode.CONFIG, "--config"),
    (no_toml, ExitCode.CONFIG, "mend the file"),
    (binary_config, ExitCode.CONFIG, "mend the file"),
    (unknown_key, ExitCode.CONFIG, "colour"),
    (number_out_of_range, ExitCode.CONFIG, "proving.workers"),
    (little_worker_memory, ExitCode.CONFIG, "proving.worker_memory_mb"),
    (wrong_password, ExitCode.KEYSTORE, "password"),
    (no_password_file, ExitCode.KEYSTORE, "password_file"),
    (corrupt_keystore, ExitCode.KEYSTORE, SESSION_FILE),
    (open_keystore, ExitCode.KEYSTORE, "chmod 600"),
    (missing_keystore, ExitCode.KEYSTORE, "node keys new"),
    (api_port_taken, ExitCode.PORT_IN_USE, "api.port"),
    (network_port_taken, ExitCode.PORT_IN_USE, "network.listen"),
    (no_address, ExitCode.CONFIG, "network.listen"),
    (another_machine, ExitCode.CONFIG, "network.listen"),
    (no_such_address, ExitCode.CONFIG, "network.listen"),
    (no_chain, ExitCode.CHAIN_UNREACHABLE, "chain.rpc_url"),
    (no_url, ExitCode.CHAIN_UNREACHABLE, "chain.rpc_url"),
    (other_chain, ExitCode.WRONG_CHAIN, "chain.rpc_url"),
    (nothing_deployed, ExitCode.CONTRACT_MISSING, "deploy first"),
    (contract_elsewhere, ExitCode.CONTRACT_MISSING, "proof_market"),
    (no_deployment_file, ExitCode.CONFIG, "chain.deployment"),
    (corrupt_deployment_file, ExitCode.CONFIG, "chain.deployment"),
    (unknown_parameters, ExitCode.CONFIG, "mainnet"),
    (not_registered, ExitCode.CONFIG, "register"),
    (without_ether, ExitCode.UNDERFUNDED, "send ether"),
    (keys_mixed_up, ExitCode.KEYSTORE, "registered"),
    (foreign_database, ExitCode.STORE, "another program"),
    (newer_database, ExitCode.STORE, "newer version"),
    (damaged_database, ExitCode.STORE, "damaged"),
    (database_in_use, ExitCode.STORE, "in use"),
    (no_programs, ExitCode.CONFIG, "proving.programs"),
    (tampered_program, ExitCode.CONFIG, "proving.programs"),
    (program_file_missing, ExitCode.CONFIG, "proving.programs"),
)


async def test_every_bad_start_is_one_line_with_its_exit_code(
    devnet: Standing, tmp_path: Path
) -> None:
    original = Path(devnet.state["nodes"][0]["config"]).parent
    failures: list[str] = []
    limit = trio.CapacityLimiter(AT_ONCE)
    settings = AnvilSettings(log=tmp_path / "anvil.log")
    async with run_anvil(settings) as bare, open_client(devnet.state["rpc_url"]) as client:

        async def check(spoil: Any, code: ExitCode, word: str) -> None:
            async with limit:
                with ExitStack() as stack:
                    case = Case(tmp_path / spoil.__name__, original, bare.url, stack)
                    copy(case)
                    session = spoil(case)
                    if session is not None:
                        await client.call("anvil_setBalance", hexed(session), hex(10**18))
                    wrong = await verdict(case, code, word)
                    failures.extend(f"{spoil.__name__}: {text}" for text in wrong)

        async with trio.open_nursery() as nursery:
            for spoil, code, word in CASES:
                nursery.start_soon(check, spoil, code, word)
    assert not failures, "\n".join(failures)


def copy(case: Case) -> None:
    """The original's files, on free ports."""
    case.folder.mkdir()
    shutil.copytree(case.original / "keys", case.folder / "keys")
    shutil.copy(case.original / "node.toml", case.config)
    shutil.copy(case.original.parent / "password", case.folder / "password")
    case.set("password_file", "password")
    case.set("deployment", str(case.original.parent / "deployment.json"))
    case.set("port", 0)
    case.set("listen", "/ip4/127.0.0.1/tcp/0")


async def verdict(case: Case, code: ExitCode, word: str) -> list[str]:
    """What is wrong with how the node tells that it can not start."""
    command = [sys.executable, "-m", "node", "start", "--config", str(case.config)]
    begun = time.monotonic()
    run = partial(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=2 * QUICK_S,
        cwd=ROOT,
        check=False,
    )
    try:
        done = await trio.to_thread.run_sync(run)
    except subprocess.TimeoutExpired as exc:
        return [f"it does not end: {exc.stderr!r} {exc.stdout!r}"]
    told = done.stderr.splitlines()
    wrong = []
    if done.returncode != code:
        wrong.append(f"exit code {done.returncode}, not {code.name}")
    if len(told) != 1 or "Traceback" in done.stderr + done.stdout:
        wrong.append(f"{len(told)} lines")
    elif word not in told[0] or "; " not in told[0]:
        wrong.append(f"{word!r} is not named")
    if time.monotonic() - begun > QUICK_S:
        wrong.append(f"took {time.monotonic() - begun:.0f} s")
    return [f"{', '.join(wrong)}: {done.stderr}{done.stdout}"] if wrong else []
