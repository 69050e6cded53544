"""The command line: `node`, and `provernet` where that name would shadow Node.js."""

from __future__ import annotations

import sys

from node.cli.app import run


def main() -> None:
    """Entry point of both console scripts."""
    sys.exit(run(sys.argv[1:]))
