"""The command line: `node`, and `provernet` where that name would shadow Node.js."""

from __future__ import annotations

import os
import sys

from node.cli.app import run
from node.errors import ExitCode


def main() -> None:
    """Entry point of both console scripts."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # Whoever read has seen enough, as `head` has (typer says so with a SystemExit); what is
        # still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    sys.exit(code)
