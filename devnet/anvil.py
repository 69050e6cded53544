"""Anvil as an owned process: started, found ready, and gone with its owner."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from chain.client import ChainClient, open_client
from devnet.child import Child, child_process
from devnet.errors import DevnetError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PACKAGES = Path(__file__).resolve().parents[1] / "contracts" / "node_modules"
BINARY = PACKAGES / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
# The phrase of Anvil, Hardhat and every tutorial: its keys are public, so it is for devnets alone.
MNEMONIC = "test test test test test test test test test test test junk"
CHAIN_ID = 31337
HOST = "127.0.0.1"
START_DEADLINE_S = 20.0
# Mining past a long delay and dumping a whole state are single calls.
CALL_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class AnvilSettings:
    """How to start Anvil.

    `port` 0 lets the kernel choose; `block_time_s` None mines each transaction at once.
    """

    log: Path
    port: int = 0
    block_time_s: int | None = 1
    accounts: int = 64
    load_state: Path | None = None


@dataclass(frozen=True, slots=True)
class Anvil:
    """A running Anvil; `url` is its JSON-RPC endpoint."""

    url: str
    port: int
    child: Child
    client: ChainClient


def command(settings: AnvilSettings) -> list[str | Path]:
    """The command line."""
    # osaka has the BLS12-381 precompiles (EIP-2537); Anvil leaves out the gas limit of a
    # transaction (EIP-7825) unless asked.
    line: list[str | Path] = [BINARY, "--hardfork", "osaka", "--enable-tx-gas-limit"]
    line += ["--host", HOST, "--port", str(settings.port), "--chain-id", str(CHAIN_ID)]
    line += ["--mnemonic", MNEMONIC, "--accounts", str(settings.accounts)]
    if settings.block_time_s is not None:
        line += ["--block-time", str(settings.block_time_s)]
    if settings.load_state is not None:
        line += ["--load-state", settings.load_state]
    return line


@asynccontextmanager
async def run_anvil(settings: AnvilSettings) -> AsyncIterator[Anvil]:
    """Run Anvil for the length of a block, which starts when it answers.

    Raises:
        DevnetError: the binary is missing, the port is in use, or it ended or hung while starting.
    """
    settings.log.parent.mkdir(parents=True, exist_ok=True)
    seen = settings.log.stat().st_size if settings.log.exists() else 0
    async with child_process(command(settings), log=settings.log) as child:
        with trio.move_on_after(START_DEADLINE_S) as deadline:
            port = await _announced_port(child, settings, seen)
        if deadline.cancelled_caught:
            raise DevnetError(
                f"Anvil said nothing for {START_DEADLINE_S:.0f} s; see {settings.log}"
            )
        url = f"http://{HOST}:{port}"
        async with open_client(url, timeout_s=CALL_DEADLINE_S) as client:
            await client.check_chain(CHAIN_ID)
            yield Anvil(url, port, child, client)


async def _announced_port(child: Child, settings: AnvilSettings, seen: int) -> int:
    """Anvil binds the port itself and then prints it, so nobody can take it in between."""
    while True:
        ended = child.returncode is not None
        with settings.log.open("rb") as log:
            log.seek(seen)
            output = log.read().decode(errors="replace")
        for line in output.splitlines(keepends=True):
            if line.startswith(f"Listening on {HOST}:") and line.endswith("\n"):
                return int(line.rpartition(":")[2])
        if ended:
            raise DevnetError(_why_it_ended(output, settings))
        await trio.sleep(0.005)  # a file can not be awaited


def _why_it_ended(output: str, settings: AnvilSettings) -> str:
    if "Address already in use" in output:
        return f"port {settings.port} is in use; stop what uses it or choose another port"
    last = output.strip().splitlines()[-1:] or ["it printed nothing"]
    return f"Anvil ended while starting: {last[0]}; see {settings.log}"
