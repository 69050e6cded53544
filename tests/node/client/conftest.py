from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.node.client.proven import make_bundle
from tests.node.proving.conftest import built

if TYPE_CHECKING:
    from node.proving.artifacts import BuiltProgram

__all__ = ["built"]


@pytest.fixture
def bundle(built: BuiltProgram) -> dict[str, Any]:
    """A node's bundle of a settled request, to be changed as a test likes."""
    return make_bundle(built)
