"""`python -m devnet`: scenarios, and a devnet that stays up.

Nothing of the network is imported before a verb needs it: `status` and `down` answer at once.
"""

from __future__ import annotations

import json as json_module
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from devnet.errors import DevnetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from devnet.fault_scenario import FaultOutcome
    from devnet.market_scenario import MarketOutcome
    from devnet.scenario import Outcome

    AnyOutcome = Outcome | MarketOutcome | FaultOutcome

DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / ".devnet"
_FOLLOW_S = 0.2


class Exit(IntEnum):
    """Exit codes of `python -m devnet`."""

    OK = 0
    NOT_TRUE = 1
    """A scenario's sentence is not true, or the devnet is not up and ready."""
    BAD_INPUT = 2
    FAILED = 3
    """The devnet could not be started or broke; the text names cause and mend."""
    RUNS_ALREADY = 4
    INTERRUPTED = 130


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of the standing devnet.")]

program = typer.Typer(
    name="devnet",
    help="A local network: Anvil, the EigenLayer core, our contracts, operator nodes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@program.command()
def scenario(
    name: Annotated[str, typer.Argument(help="Scenario; `list` names them.")],
    act: Annotated[str, typer.Option("--act", help="Run only this part of it.")] = "",
    json: AsJson = False,
) -> int:
    """Run a scenario on a devnet of its own; exit 1 names the first thing that is not true."""
    from devnet.errors import NotTrueError  # noqa: PLC0415
    from devnet.progress import Progress  # noqa: PLC0415
    from devnet.runner import (  # noqa: PLC0415
        load_scenario,
        run_scenario,
        scenario_names,
    )
    from devnet.signals import run_until_signal  # noqa: PLC0415

    if name == "list":
        summaries = {known: load_scenario(known).summary for known in scenario_names()}
        if json:
            _print_json(summaries)
        else:
            for known, summary in summaries.items():
                print(f"{known:14} {summary}")
        return Exit.OK
    try:
        chosen = load_scenario(name)
        chosen = chosen.only(act) if act else chosen
    except DevnetError as exc:
        raise typer.BadParameter(str(exc)) from exc
    progress = Progress(_console(stderr=json))
    ended: list[list[Outcome] | MarketOutcome | FaultOutcome] = []

    async def go() -> None:
        ended.append(await run_scenario(chosen, progress))

    try:
        interrupted = run_until_signal(go)
    except NotTrueError as exc:
        if json:
            _print_json({**(exc.outcome.as_json() if exc.outcome else {}), "not_true": str(exc)})
        complain(str(exc))
        return Exit.NOT_TRUE
    if interrupted:
        return Exit.INTERRUPTED
    _show(ended[0], progress.console, json=json)
    return Exit.OK


def _show(
    ended: list[Outcome] | MarketOutcome | FaultOutcome, console: Console, *, json: bool
) -> None:
    """What a scenario came to."""
    from devnet.summary import print_summary  # noqa: PLC0415

    outcomes: list[AnyOutcome] = [*ended] if isinstance(ended, list) else [ended]
    if json:
        rows = [outcome.as_json() for outcome in outcomes]
        _print_json(rows[0] if len(rows) == 1 else {"requests": rows})
        return
    for outcome in outcomes:
        print_summary(console, outcome)


@program.command()
def up(
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=64)] = 4,
    hold: Annotated[
        int, typer.Option("--hold", min=0, help="Register the last H nodes but do not start them.")
    ] = 0,
    detach: Annotated[
        bool, typer.Option("--detach/--foreground", help="Return once it is up, or stay.")
    ] = True,
    data: Data = DEFAULT_FOLDER,
    json: AsJson = False,
) -> int:
    """Start a devnet that stays up until `down`; the folder's earlier devnet is forgotten."""
    from devnet import standing  # noqa: PLC0415

    folder = data.resolve()
    if hold > nodes:
        raise typer.BadParameter(f"--hold {hold} of --nodes {nodes}")
    standing.check_folder(folder)
    if standing.supervisor_pid(folder) is not None:
        raise standing.AlreadyRunsError(
            f"a devnet runs in {folder}; stop it: python -m devnet down{_data_option(folder)}"
        )
    if detach:
        arguments = ["--nodes", str(nodes), "--hold", str(hold), "--data", str(folder)]
        state = standing.detach(folder, arguments, lambda line: _say(line, to_stderr=json))
        _told_up(state, json)
        return Exit.OK
    from devnet.cluster import ClusterSpec  # noqa: PLC0415
    from devnet.progress import Progress  # noqa: PLC0415
    from devnet.signals import run_until_signal  # noqa: PLC0415
    from devnet.supervisor import supervise  # noqa: PLC0415

    progress = Progress(_console(stderr=json))
    spec = ClusterSpec(nodes, hold)
    run_until_signal(lambda: supervise(spec, folder, progress.say, lambda s: _told_up(s, json)))
    return Exit.OK


@program.command()
def status(data: Data = DEFAULT_FOLDER, json: AsJson = False) -> int:
    """Show the standing devnet; exit 1 unless it is up with every started node ready."""
    from devnet.inspection import inspect  # noqa: PLC0415

    found = inspect(data.resolve())
    if json:
        _print_json(found)
    elif not found["running"]:
        print(f"no devnet runs in {data}; start one: python -m devnet up")
    elif not found["nodes"]:
        print("the devnet is starting")
    else:
        print(f"devnet in {found['folder']}, chain at {found['rpc_url']}")
        for node in found["nodes"]:
            state = "ready" if node["ready"] else node["failing"]
            print(f"{node['name']:8} {node['operator']}  {node['api']}  {state}")
    return Exit.OK if found["ready"] else Exit.NOT_TRUE


@program.command()
def down(data: Data = DEFAULT_FOLDER, json: AsJson = False) -> int:
    """Stop the standing devnet; nothing to do is fine too."""
    from devnet.standing import bring_down  # noqa: PLC0415

    stopped = bring_down(data.resolve())
    if json:
        _print_json({"stopped": stopped})
    else:
        print("the devnet is stopped" if stopped else f"no devnet runs in {data}")
    return Exit.OK


@program.command()
def logs(
    name: Annotated[str, typer.Argument(help="node-1 ..., anvil or devnet; all if left out.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", min=0, help="So many of the last.")] = 50,
    data: Data = DEFAULT_FOLDER,
    json: AsJson = False,
) -> int:
    """Show logs of the standing devnet, or of the last one that stood there."""
    from devnet.inspection import LogFollower, log_files, tail  # noqa: PLC0415

    files = log_files(data.resolve())
    if name and name not in files:
        known = ", ".join(files) or "none; start a devnet: python -m devnet up"
        raise typer.BadParameter(f"no log {name!r}; there are: {known}")
    chosen = {name: files[name]} if name else files
    if json:
        if follow:
            raise typer.BadParameter("--json prints one object, --follow has no end; leave one out")
        _print_json({"logs": {known: tail(path, lines) for known, path in chosen.items()}})
        return Exit.OK
    follower = LogFollower(chosen)
    for known, path in chosen.items():
        for line in tail(path, lines):
            print(line if name else f"{known:8} {line}")
    while follow:
        for known, line in follower.new_lines():
            print(line if name else f"{known:8} {line}", flush=True)
        time.sleep(_FOLLOW_S)
    return Exit.OK


def run(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code; no traceback for what a user can mend."""
    from devnet.standing import AlreadyRunsError  # noqa: PLC0415

    try:
        code = program(args=list(arguments), prog_name="python -m devnet", standalone_mode=False)
    except AlreadyRunsError as exc:
        complain(str(exc))
        return Exit.RUNS_ALREADY
    except DevnetError as exc:
        complain(str(exc))
        return Exit.FAILED
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except typer.TyperException as exc:
        text = _usage(exc)
        if text:  # none after the help that stands in for a missing verb
            complain(text)
        return Exit.BAD_INPUT
    return int(code or Exit.OK)


def complain(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write("error: " + " ".join(text.split()) + "\n")


def _usage(exc: typer.TyperException) -> str:
    """What typer would say, in one line; only its usage errors can phrase themselves."""
    phrase = getattr(exc, "format_message", None)
    return phrase() if phrase else str(exc)


def _told_up(state: dict[str, Any], json: bool) -> None:
    if json:
        _print_json(state)
        return
    requester, first = state["requester"], state["nodes"][0]
    print(f"devnet is up: chain {state['rpc_url']}, data in {state['folder']}")
    for node in state["nodes"]:
        print(f"  {node['name']}  {node['operator']}  {node['api']}")
    command = _node_command()
    print("submit a request:")
    print(
        f"  {command} submit solvency {requester['accounts']} --max-fee 0.1ether"
        f" --key {requester['key']} --password-file {requester['password_file']}"
        f" --node {first['api']}"
    )
    for node in state["nodes"]:
        if node["held"]:
            print(f"start {node['name']} by hand:\n  {command} start --config {node['config']}")
    print(f"stop it:\n  python -m devnet down{_data_option(Path(state['folder']))}", flush=True)


def _node_command() -> str:
    """The console script beside this Python, which need not be first on PATH."""
    script = Path(sys.executable).with_name("node")
    here = Path.cwd()
    return str(script.relative_to(here) if script.is_relative_to(here) else script)


def _data_option(folder: Path) -> str:
    return "" if folder == DEFAULT_FOLDER.resolve() else f" --data {folder}"


def _console(*, stderr: bool) -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=stderr, soft_wrap=True)


def _say(line: str, *, to_stderr: bool) -> None:
    print(line, file=sys.stderr if to_stderr else sys.stdout, flush=True)


def _print_json(value: Any) -> None:
    sys.stdout.write(json_module.dumps(value, indent=2) + "\n")
    sys.stdout.flush()
