"""The committed vectors are what the code makes today."""

from __future__ import annotations

import pytest

from tests.vectors.generate import BUILDERS, FOLDER, render


@pytest.mark.parametrize("name", BUILDERS)
def test_vectors_are_fresh(name):
    held = (FOLDER / name).read_text()
    assert held == render(name), "stale: run python -m tests.vectors.generate"


def test_no_vector_without_a_builder():
    assert {path.name for path in FOLDER.glob("*.json")} == set(BUILDERS)
