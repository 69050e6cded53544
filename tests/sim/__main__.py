"""`python -m tests.sim --seeds N --start M [--toy | --nodes N] [--json]`: exit 1 on failures."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial

from tests.sim.many import results, run_both
from tests.sim.run import Result, run_seed
from tests.sim.scale import run_large

SHOWN = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--toy", action="store_true", help="the toy application only; quicker")
    which.add_argument("--nodes", type=int, help="so many operators, over the toy application")
    options = parser.parse_args()
    run, how = run_both, ""
    if options.toy:
        run, how = run_seed, " --toy"
    elif options.nodes:
        run, how = partial(run_large, nodes=options.nodes), f" --nodes {options.nodes}"
    at, failed, rounds, began = commit(), 0, 0, time.monotonic()
    crypto: dict[str, int] = {}
    seeds = range(options.start, options.start + options.seeds)
    for done, result in enumerate(results(run, seeds), 1):
        failed += result.failure is not None
        rounds += result.rounds
        crypto[result.crypto] = crypto.get(result.crypto, 0) + 1
        if options.json:
            print(json.dumps({"commit": at, **asdict(result)}), flush=True)
        elif result.failure is not None:
            tell(result, at, how)
        if not options.json and done % 50 == 0:
            took = time.monotonic() - began
            print(f"{done}/{options.seeds} seeds, {failed} failed, {took:.0f} s", flush=True)
    took = time.monotonic() - began
    used = ", ".join(f"{count} with {name}" for name, count in sorted(crypto.items()))
    print(f"commit {at}; {used}; {rounds} rounds in {took:.1f} s")
    print(f"{options.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


def tell(result: Result, at: str, how: str) -> None:
    """A failure with all that its replay needs, and the end of what happened."""
    print(f"seed {result.seed}, commit {at}, {result.crypto} ({result.faults}): {result.failure}")
    print("\n".join(f"    {line}" for line in result.trace[-SHOWN:]))
    print(f"    replay: python -m tests.sim --seeds 1 --start {result.seed}{how}", flush=True)


def commit() -> str:
    """What was run: the commit, `+dirty` if files differ from it; `unknown` outside a checkout."""
    git = partial(subprocess.run, capture_output=True, text=True, check=False)
    head = git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
    changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    return (head or "unknown") + ("+dirty" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
