"""Verbs that read: jobs, job, verify, status."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from node.errors import ExitCode

NOBODY = "0x" + "99" * 32


def test_jobs_lists_ids_whole(cli, url, finished):
    ran = cli("jobs", "--node", url)
    assert ran.code == ExitCode.OK
    assert ran.out.splitlines() == [f"{finished.request_id}  settled     fee 0.003"]
    assert json.loads(cli("jobs", "--node", url, "--json").out)["requests"] == [finished.document()]


def test_jobs_tells_how_to_go_on(cli, url, finished):
    ran = cli("jobs", "--node", url, "--limit", 1)
    assert f"more: node jobs --after {finished.request_id}" in ran.out
    after = finished.request_id.removeprefix("0x").upper()
    assert cli("jobs", "--node", url, "--after", after).out == "no requests\n"


def test_job_shows_one_request(cli, url, finished):
    ran = cli("job", finished.request_id, "--node", url)
    assert ran.code == ExitCode.OK
    assert "3 of 4 operators signed, fee 0.003" in ran.out
    shown = cli("job", finished.request_id, "--node", url, "--json")
    assert json.loads(shown.out) == finished.document()


def test_a_proof_is_saved_and_then_verified_with_nothing_running(cli, url, finished, tmp_path):
    folder = tmp_path / "proof"
    ran = cli("job", finished.request_id, "--proof", folder, "--node", url, "--json")
    assert ran.code == ExitCode.OK
    files = json.loads(ran.out)["files"]
    assert all((folder / name).is_file() for name in files)

    told = json.loads(cli("verify", folder, "--json").out)
    assert (told["ok"], told["table_compared"]) == (True, False)
    trusted = cli("verify", folder, "--table-hash", told["table_hash"])
    assert trusted.code == ExitCode.OK
    assert [line[:4] for line in trusted.out.splitlines()] == ["ok  "] * 10

    wrong = cli("verify", folder, "--table-hash", NOBODY)
    assert wrong.code == ExitCode.ANSWER_NO
    assert wrong.out.splitlines()[-1].startswith("FAIL operator table: ")

    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {"fee": "1"}))
    assert cli("verify", folder).code == ExitCode.ANSWER_NO


def test_saving_into_a_foreign_folder_is_refused(cli, url, finished, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    ran = cli("job", finished.request_id, "--proof", tmp_path, "--node", url)
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


def test_the_proof_of_another_request_is_not_saved(cli, url, finished, tmp_path):
    wanted = finished.request_id
    finished.change = {"request_id": NOBODY}
    ran = cli("job", wanted, "--proof", tmp_path / "proof", "--node", url)
    assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True)
    assert not (tmp_path / "proof").exists()


def test_a_malformed_bundle_is_not_saved(cli, url, finished, tmp_path):
    finished.change = {"proofs": [{"segment": 0}]}
    ran = cli("job", finished.request_id, "--proof", tmp_path / "proof", "--node", url)
    assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True)
    assert list(tmp_path.iterdir()) == []


def test_verify_needs_a_whole_folder(cli, tmp_path):
    for arguments in ([tmp_path / "nothing"], [tmp_path]):
        ran = cli("verify", *arguments)
        assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


@pytest.mark.parametrize("text", ["7", "0x12", "0x" + "zz" * 32, "../../x", NOBODY + "0"])
@pytest.mark.parametrize("verb", [("job",), ("jobs", "--after")])
def test_an_id_of_another_form_is_refused_before_anything_is_asked(cli, verb, text):
    ran = cli(*verb, text, "--node", "http://127.0.0.1:1")
    assert (ran.code, ran.complains()) == (ExitCode.BAD_INPUT, True)


def test_an_unknown_request_is_refused_by_the_node(cli, url):
    for arguments in ((), ("--proof", "nowhere")):
        ran = cli("job", NOBODY, "--node", url, *arguments)
        assert (ran.code, ran.complains()) == (ExitCode.REFUSED, True)
        assert "unknown_request" in ran.err


def test_status_of_a_ready_node(cli, url):
    ran = cli("status", "--node", url)
    assert ran.code == ExitCode.OK
    assert "epoch 3, round 42, view 45" in ran.out
    assert "3 of 4 operators connected" in ran.out
    assert "ok   peers: 4 of 4 operators connected" in ran.out
    shown = json.loads(cli("status", "--node", url, "--json").out)
    assert shown["ready"] is True
    assert shown["node"]["round"] == 42


def test_status_of_an_unready_node_says_what_mends_it(cli, url, finished):
    finished.ready = tuple(replace(c, ok=False, detail="0 of 4") for c in finished.ready[1:])
    ran = cli("status", "--node", url)
    assert ran.code == ExitCode.ANSWER_NO
    assert "FAIL peers: 0 of 4; check network.listen" in ran.out
    assert json.loads(cli("status", "--node", url, "--json").out)["ready"] is False


@pytest.mark.parametrize("verb", [("status",), ("jobs",), ("job", NOBODY)])
def test_no_node_answers(cli, verb):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        ran = cli(*verb, "--node", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True)


@pytest.mark.parametrize("address", ["nonsense", "http://[::bad", "ftp://127.0.0.1"])
def test_an_address_that_is_none(cli, address):
    ran = cli("jobs", "--node", address)
    assert ran.code in {ExitCode.BAD_INPUT, ExitCode.NODE_UNREACHABLE}
    assert ran.complains()


def test_the_next_node_is_asked_when_one_is_silent(cli, url):
    ran = cli("jobs", "--node", "http://127.0.0.1:1", "--node", url)
    assert ran.code == ExitCode.OK


@pytest.mark.parametrize(
    "change", [{"operators": 7}, {"epoch": None, "programs": [{}]}, {"operators": [[]]}]
)
def test_an_answer_of_another_shape_is_no_traceback(cli, url, finished, change):
    finished.change = change
    ran = cli("status", "--node", url)
    assert ran.code == ExitCode.NODE_UNREACHABLE
    assert ran.err.count("\n") == 1


def test_a_node_can_not_steer_the_terminal(cli, url, finished):
    finished.change = {"state": "\x1b[2Jgone", "reason": "[/red]\x07 \u202e"}
    for verb in (("jobs",), ("job", finished.request_id)):
        ran = cli(*verb, "--node", url)
        assert ran.code == ExitCode.OK
        assert not any(steering in ran.out for steering in ("\x1b", "\x07", "\u202e"))
        assert "[/red]" in ran.out


def test_evidence_is_listed_and_whole_as_json(cli, url, finished):
    assert (
        cli("evidence", "list", "--node", url).out == "no operator's fault is known to this node\n"
    )
    fault = {
        "evidence_id": NOBODY,
        "fault": "double_lock",
        "accused": "0x" + "0a" * 20,
        "epoch": 1,
        "round": 7,
        "view": 9,
        "statements": ["0x01", "0x02"],
        "reporter": "0x" + "0b" * 20,
        "signature": "0x03",
    }
    finished.faults.append(fault)
    shown = cli("evidence", "list", "--node", url)
    assert shown.code == ExitCode.OK
    assert "double_lock" in shown.out
    assert json.loads(cli("evidence", "list", "--node", url, "--json").out) == {"evidence": [fault]}
    earlier = cli("evidence", "list", "--before", 7, "--node", url, "--json")
    assert json.loads(earlier.out) == {"evidence": []}


def test_a_node_that_answers_otherwise_is_one_line(cli, url, finished):
    finished.faults.append({"round": 1})
    ran = cli("evidence", "list", "--node", url)
    assert (ran.code, ran.complains()) == (ExitCode.NODE_UNREACHABLE, True)
