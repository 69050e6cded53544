"""`node start`: runs one operator node until it is stopped."""

from __future__ import annotations

import sys
from typing import Final

import trio

from node.cli.options import ConfigFile
from node.errors import BackendError, ConfigError

RECURSION_LIMIT: Final = 1_000


def start(config: ConfigFile) -> None:
    """Run one operator node; stop it with Ctrl-C or SIGTERM, which drains it first."""
    # Imported here: the network and proving libraries take a second that other verbs, and a bad
    # configuration, need not pay.
    from node.config import load_config  # noqa: PLC0415
    from node.log import setup_logging  # noqa: PLC0415

    settings = load_config(config)
    setup_logging(settings.log.format, settings.log.level)

    from node.app import run_node  # noqa: PLC0415

    # py_ecc, which libp2p imports, lifts the limit so far that nested JSON overflows the stack.
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        trio.run(run_node, settings)
    except BackendError as exc:
        # Raised before anything runs; later ones stay with the job that they are about.
        raise ConfigError(
            f"a program in {settings.proving.programs} is not usable ({exc})",
            "build it again or mend proving.programs",
        ) from exc
