"""`node submit|jobs|job|verify` against a running devnet, and a node that joins by hand."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chain.client import open_client
from chain.deployments import load_deployment
from chain.interfaces import TABLE_HASH_OF
from devnet.cli import Exit
from node.errors import ExitCode
from tests.e2e.conftest import Standing, run


@pytest.fixture(scope="module")
def settled(devnet: Standing) -> dict[str, Any]:
    """A request that was submitted from the command line and settled."""
    return devnet.submit(None, "--json").json


def test_submit_ends_settled_with_the_root_of_the_file(settled: dict[str, Any]) -> None:
    assert settled["state"] == "settled"
    assert settled["root_matches"] is True


def test_jobs_and_job_show_it(devnet: Standing, settled: dict[str, Any]) -> None:
    request_id = settled["request_id"]
    rows = devnet.node("jobs", "--json").json["requests"]
    assert request_id in [row["request_id"] for row in rows]
    shown = devnet.node("job", request_id, "--json").json
    assert shown["state"] == "settled"
    assert shown["result"]["settle_tx"] == settled["result"]["settle_tx"]
    assert request_id[:8] in devnet.node("jobs").stdout


def test_the_market_can_be_read(devnet: Standing, settled: dict[str, Any]) -> None:
    number = settled["award"]["round"]
    told = devnet.node("market", "--class", "groth16/S", "--json").json
    assert number in [row["round"] for row in told["clearings"]]
    quoted = devnet.node("quote", "solvency", devnet.state["requester"]["accounts"], "--json").json
    assert quoted["slots"] == len(settled["segments"])
    (round_of_it,) = [row for row in quoted["rounds"] if row["round"] == number]
    assert set(round_of_it["fees"]) == {settled["result"]["fee"]}
    for identity in (settled["request_id"], settled["bid_id"]):
        (receipt,) = devnet.node("explain", identity, "--json").json["receipts"]
        assert (receipt["round"], receipt["verdict"]) == (number, "won")
    prover = settled["segments"][0]["operator"]
    shown = devnet.node("explain", prover, "--round", str(number)).stdout
    assert "won: it trades" in shown


async def table_hash(devnet: Standing) -> str:
    """Hash of the first operator table, as a verifier once reads it from the chain."""
    registry = load_deployment(Path(devnet.state["deployment"])).contracts.prover_registry
    async with open_client(devnet.state["rpc_url"]) as client:
        return "0x" + (await client.execute(registry, TABLE_HASH_OF.call(1))).hex()


async def test_a_saved_proof_verifies_offline_and_a_changed_one_does_not(
    devnet: Standing, settled: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "proof"
    saved = devnet.node("job", settled["request_id"], "--proof", str(folder), "--json").json
    assert saved["files"]
    trusted = await table_hash(devnet)
    arguments = ("node", "verify", str(folder), "--table-hash", trusted)
    assert run(*arguments, "--json").json["ok"] is True
    # Any changed byte of any file must show.
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        middle = len(whole) // 2
        changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes(changed)
        verdict = run(*arguments)
        assert verdict.returncode != 0, f"a change in {path.name} was not noticed"
        assert "Traceback" not in verdict.stderr
        path.write_bytes(whole)
    assert run(*arguments).returncode == 0
    other = trusted[:-1] + ("0" if trusted[-1] != "0" else "1")
    assert run(*arguments[:-1], other).returncode == ExitCode.ANSWER_NO


def test_a_malformed_file_is_refused_before_anything_is_sent(
    devnet: Standing, tmp_path: Path
) -> None:
    csv = tmp_path / "accounts.csv"
    csv.write_text("account_id,balance\nacct-1,12\nacct-2,-7\n")
    before = devnet.node("jobs", "--json").json["requests"]
    refused = devnet.submit(csv)
    assert refused.returncode == ExitCode.BAD_INPUT
    assert len(refused.stderr.splitlines()) == 1
    assert "line 3" in refused.stderr
    assert devnet.node("jobs", "--json").json["requests"] == before


def test_a_fee_above_the_escrow_is_refused(devnet: Standing) -> None:
    requester = devnet.state["requester"]
    refused = devnet.node(
        "submit",
        "solvency",
        requester["accounts"],
        "--max-fee",
        "5000ether",
        "--key",
        requester["key"],
        "--password-file",
        requester["password_file"],
    )
    assert refused.returncode == ExitCode.REFUSED
    assert len(refused.stderr.strip().splitlines()) == 1


def test_an_unknown_program_is_refused(devnet: Standing) -> None:
    requester = devnet.state["requester"]
    refused = devnet.node(
        "submit",
        "alchemy",
        requester["accounts"],
        "--max-fee",
        "0.1ether",
        "--key",
        requester["key"],
        "--password-file",
        requester["password_file"],
    )
    assert refused.returncode == ExitCode.BAD_INPUT
    assert "solvency" in refused.stderr


@pytest.mark.slow
def test_a_held_operator_is_started_by_hand(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    try:
        state = run("devnet", "up", "--hold", "1", "--json", "--data", folder).json
        (held,) = [node for node in state["nodes"] if node["held"]]
        command = [sys.executable, "-m", "node", "start", "--config", held["config"]]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as by_hand:
            try:
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    found = run("devnet", "status", "--json", "--data", folder)
                    assert found.returncode == Exit.OK
                    if all(node["ready"] for node in found.json["nodes"]):
                        break
                    time.sleep(0.2)
                else:
                    pytest.fail(f"{held['name']} was not ready in time: {found.stdout}")
                submitted = Standing(state).submit(None, "--json").json
                assert submitted["result"]["operators"] == 4
            finally:
                by_hand.terminate()
                by_hand.wait(30)
    finally:
        run("devnet", "down", "--data", folder)
