from __future__ import annotations

from enum import Enum

import pytest

from node.errors import ExitCode
from node.metrics import Metrics
from protocol.errors import RejectionReason
from tools.reference import DOCS, PAGES, exit_codes_page, member_docs, metrics_page, reasons_page


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_fresh(name):
    assert (DOCS / name).read_text() == PAGES[name](), "stale: run python -m tools.reference"


def test_every_reason_has_its_row():
    page = reasons_page()
    for reason in RejectionReason:
        assert page.count(f"| `{reason.code}` | {reason.value.text} |") == 1


def test_every_exit_code_has_its_row():
    page = exit_codes_page()
    for code in ExitCode:
        assert page.count(f"| {int(code)} | `{code.name}` | ") == 1


def test_every_metric_is_on_the_page_as_it_is_scraped():
    page = metrics_page()
    for family in Metrics().registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        assert page.count(f"| `{family.name}{suffix}` | {family.type} |") == 1


def test_a_member_that_says_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="SECOND"):
        member_docs(Sample)


class Sample(Enum):
    FIRST = 1
    """It says something."""
    SECOND = 2
