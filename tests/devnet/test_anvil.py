from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from chain.client import hexed
from chain.errors import ChainError
from chain.transaction import TRANSACTION_GAS_LIMIT
from devnet import anvil as anvil_module
from devnet.anvil import CHAIN_ID, Anvil, AnvilSettings, run_anvil
from devnet.contract import unlocked_accounts
from devnet.errors import DevnetError

PAIRING_BLS12_381 = bytes(19) + b"\x0f"

ORPHAN_MAKER = """
import sys, trio
from pathlib import Path
from devnet.anvil import AnvilSettings, run_anvil

async def main():
    async with run_anvil(AnvilSettings(log=Path(sys.argv[1]))) as anvil:
        print(anvil.child.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


async def test_two_at_once_take_different_ports_and_both_answer(tmp_path: Path) -> None:
    settings = AnvilSettings(log=tmp_path / "a.log")
    async with run_anvil(settings) as one, run_anvil(AnvilSettings(log=tmp_path / "b.log")) as two:
        assert one.port != two.port
        for running in (one, two):
            assert await running.client.chain_id() == CHAIN_ID


async def test_mines_every_second_when_told_to(tmp_path: Path) -> None:
    async with run_anvil(AnvilSettings(log=tmp_path / "anvil.log", block_time_s=1)) as running:
        with trio.fail_after(10):
            while await running.client.block_number() < 2:
                await trio.sleep(0.05)


async def test_has_the_precompiles_of_eip_2537(anvil: Anvil) -> None:
    # e(0, 0) = 1: on an older hard fork the call would succeed with empty output.
    output = await anvil.client.execute(PAIRING_BLS12_381, bytes(384))
    assert output == (1).to_bytes(32, "big")


async def test_enforces_the_gas_limit_of_a_transaction(anvil: Anvil) -> None:
    sender = hexed((await unlocked_accounts(anvil.client))[0])
    transaction = {"from": sender, "to": sender, "gas": hex(TRANSACTION_GAS_LIMIT + 1)}
    with pytest.raises(ChainError):
        await anvil.client.call("eth_sendTransaction", transaction, retry=False)


async def test_is_gone_after_the_block_even_when_the_block_fails(tmp_path: Path) -> None:
    pid = 0
    with pytest.raises(ZeroDivisionError):
        async with run_anvil(AnvilSettings(log=tmp_path / "anvil.log")) as running:
            pid = running.child.pid
            assert is_running(pid)
            raise ZeroDivisionError
    assert not is_running(pid)


async def test_a_port_in_use_is_named(tmp_path: Path, anvil: Anvil) -> None:
    with pytest.raises(DevnetError, match=f"port {anvil.port} is in use"):
        async with run_anvil(AnvilSettings(log=tmp_path / "second.log", port=anvil.port)):
            pass


async def test_a_missing_binary_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anvil_module, "BINARY", tmp_path / "nowhere" / "anvil")
    with pytest.raises(DevnetError, match="make setup"):
        async with run_anvil(AnvilSettings(log=tmp_path / "anvil.log")):
            pass


async def test_a_state_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("no state")
    with pytest.raises(DevnetError, match="ended while starting"):
        async with run_anvil(AnvilSettings(log=tmp_path / "anvil.log", load_state=state)):
            pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_dies_with_its_owner(tmp_path: Path, how: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", ORPHAN_MAKER, str(tmp_path / "anvil.log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_running(pid)
        os.kill(owner.pid, how)
        owner.wait(20)
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)
