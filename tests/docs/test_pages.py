"""What the pages promise: examples are the code's own, links lead somewhere, verbs exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from node.cli.app import run
from node.client.bundle import PARTS
from node.client.verification import STEPS
from node.history import receipts_of, summary_of
from protocol.documents import table_json
from protocol.market_state import market_json, standing_json
from protocol.params import DEVNET
from tests.node.client.proven import table
from tests.node.client.test_round_verification import record
from tests.protocol.certified import CLASS, OPERATORS, PRICE, World, request_body

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]


def test_the_readme_fits_two_screens():
    assert len(README.splitlines()) <= 100


def test_the_solidity_example_is_the_compiled_one():
    (shown,) = re.findall(r"```solidity\n(.*?)```", README, re.DOTALL)
    source = (ROOT / "contracts/src/examples/ReadResult.sol").read_text()
    code = [
        line
        for line in source.splitlines()
        if line and not line.startswith(("// SPDX", "pragma", "///"))
    ]
    assert [line for line in shown.splitlines() if line] == code
    assert len(code) == 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_command_of_the_readme_exists(capsys):
    lines = re.findall(r"^ {4}(node .*)$", README, re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        words = shlex.split(line.split("  ")[0])
        verb = words[1]
        assert run([verb, "--help"]) == 0, line
        shown = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert f" {option} " in shown, (line, option)


def test_every_test_that_the_security_page_names_exists():
    named = set(re.findall(r"`((?:test|invariant)_\w+)`", (ROOT / "docs/security.md").read_text()))
    assert len(named) > 30
    python = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    solidity = "".join(path.read_text() for path in (ROOT / "contracts/test").glob("*.t.sol"))
    there = set(re.findall(r"def (test_\w+)", python))
    there |= set(re.findall(r"function (\w+)", solidity))
    assert sorted(named - there) == []


def test_the_page_on_proofs_names_every_step_and_file():
    page = (ROOT / "docs/proofs.md").read_text()
    for name in (
        *STEPS,
        *(f"`{part}`" for part in ("request.json", *(f"{p}.json" for p in PARTS))),
    ):
        assert f"| {name} |" in page, name


def fields(answer):
    """Names of the fields of an answer, at any depth."""
    if isinstance(answer, dict):
        return set(answer).union(*map(fields, answer.values()))
    return set().union(*map(fields, answer)) if isinstance(answer, list) else set()


def test_the_api_page_has_every_field_of_the_market():
    document, world = record(), World()
    world.decide([request_body(fee=PRICE)], world.asks())
    (market,) = document["markets"]
    answers = {
        "/v1/rounds`": summary_of(document, market),
        "/v1/receipts/{request id or operator}`:": [
            receipt for _, receipt in receipts_of(document, market)
        ],
        "/v1/markets/{class_id}`:": market_json(world.ledger, CLASS, DEVNET),
        "/v1/operators/{operator}`;": standing_json(world.ledger, OPERATORS[0], DEVNET),
        "/v1/tables/{epoch}`:": table_json(table()),
    }
    page = (ROOT / "docs/api.md").read_text()
    for path, answer in answers.items():
        (block,) = re.findall(
            rf"^`GET {re.escape(path)}.*\n\n((?: {{4}}.*\n)+)", page, re.MULTILINE
        )
        assert set(re.findall(r'"(\w+)"', block)) == fields(answer), path


def test_every_folder_of_the_source_is_on_the_architecture_page():
    page = (ROOT / "docs/architecture.md").read_text()
    for package in ("protocol", "node"):
        for folder in (ROOT / package).iterdir():
            if folder.is_dir() and (folder / "__init__.py").exists():
                assert f"`{package}/{folder.name}/`" in page, folder.name
