"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NodeUrls = Annotated[
    list[str],
    typer.Option(
        "--node",
        envvar="PROVERNET_NODE",
        help="HTTP API of a node; give it more than once to go on when one dies.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        help="File whose first line is the password; else PROVERNET_PASSWORD is taken.",
    ),
]
ConfigFile = Annotated[Path, typer.Option("--config", help="The node's TOML configuration.")]

DEFAULT_NODES = ["http://127.0.0.1:8000"]
