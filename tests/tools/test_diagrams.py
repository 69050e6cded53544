from __future__ import annotations

import pytest

from protocol.lifecycle import TABLE, JobState
from tools.diagrams import DOCS, PAGES, markdown, mermaid, render


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_fresh(name):
    page = (DOCS / name).read_text()
    assert page == render(page, PAGES[name]), "stale: run python -m tools.diagrams"


def test_a_changed_table_makes_the_page_stale():
    page = (DOCS / "jobs.md").read_text()
    assert page != render(page, TABLE[:-1])


def test_every_row_is_drawn_once():
    drawn = [line.strip() for line in mermaid(TABLE).splitlines()]
    for row in TABLE:
        line = f"{row.source.value} --> {row.target.value}: {row.event.value}"
        assert drawn.count(line) == 1
    assert "[*] --> requested" in drawn
    assert {line for line in drawn if line.endswith("--> [*]")} == {
        f"{state.value} --> [*]" for state in (JobState.SETTLED, JobState.REFUNDED)
    }


def test_rows_that_differ_only_in_their_source_share_a_line():
    assert markdown(TABLE).count("| refunded |") == 1


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="substring"):
        render("# Jobs\n", TABLE)
