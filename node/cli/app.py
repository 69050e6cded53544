"""Joins the verbs, and turns every expected failure into one line and a distinct exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from node.cli import (
    auction,
    evidence,
    explain,
    jobs,
    keys,
    market,
    quote,
    start,
    status,
    submit,
    verify,
)
from node.cli.output import complain
from node.errors import ExitCode, NodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

program = typer.Typer(
    name="node",
    help="An operator node of an open network of zero-knowledge provers; requesters' verbs, too.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
program.add_typer(keys.keys, name="keys")
program.add_typer(auction.auction, name="auction")
program.add_typer(evidence.evidence, name="evidence")
program.command("start")(start.start)
program.command("status")(status.status)
program.command("submit")(submit.submit)
program.command("jobs")(jobs.jobs)
program.command("job")(jobs.job)
program.command("verify")(verify.verify)
program.command("market")(market.market)
program.command("quote")(quote.quote)
program.command("explain")(explain.explain)


def run(arguments: Sequence[str]) -> int:
    """Run one verb; returns the exit code, never a traceback for what a user can mend."""
    try:
        code = program(args=list(arguments), prog_name="node", standalone_mode=False)
    except NodeError as exc:
        complain(str(exc))
        return exc.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except typer.TyperException as exc:
        # typer brings its own copy of click, whose usage errors alone phrase themselves.
        phrase = getattr(exc, "format_message", None)
        text = phrase() if phrase else str(exc)
        if text:  # none after the help that stands in for a missing verb
            complain(text)
        return ExitCode.BAD_INPUT
    except BaseExceptionGroup as group:
        return _unwrap(group)
    return int(code or ExitCode.OK)


def _unwrap(group: BaseExceptionGroup[BaseException]) -> int:
    """The NodeError or interrupt inside a nursery's group; anything else is a bug and is shown."""
    errors = _leaves(group)
    known = [error for error in errors if isinstance(error, NodeError)]
    if known:
        complain(str(known[0]))
        return known[0].exit_code
    if all(isinstance(error, KeyboardInterrupt) for error in errors):
        return ExitCode.INTERRUPTED
    raise group


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
