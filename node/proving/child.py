"""How the node starts Python programs of its own as child processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import node

# Nothing else is handed on: the node's environment may hold passwords.
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "HOME")


def child_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """An environment in which the child imports the same packages, and little more."""
    source = str(Path(node.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "PYTHONPATH": path}
