"""`node verify DIR`: checks a saved proof with no node and no chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli.options import AsJson
from node.cli.output import print_json, say
from node.errors import ExitCode


def verify(
    directory: Annotated[Path, typer.Argument(help="Folder that `node job ID --proof` wrote.")],
    table_hash: Annotated[
        str,
        typer.Option(
            "--table-hash",
            help="Operator table that you trust: ProverRegistry's table hash of the epoch.",
        ),
    ] = "",
    json: AsJson = False,
) -> int:
    """Check proofs, public values, verifying keys, certificate and inclusion proof offline."""
    from node.client.bundle import load_bundle, verify_bundle  # noqa: PLC0415

    report = verify_bundle(load_bundle(directory), table_hash)
    if json:
        print_json(report.as_json())
    else:
        for step in report.steps:
            say(f"{'ok  ' if step.ok else 'FAIL'} {step.name}: {step.detail}")
    return ExitCode.OK if report.ok else ExitCode.ANSWER_NO
