"""`python -m tests.sim --seeds N --start M [--toy] [--json]`: runs seeds, exit 1 on failures."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

from tests.sim.many import results, run_both
from tests.sim.run import run_seed

SHOWN = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--toy", action="store_true", help="the toy application only; quicker")
    options = parser.parse_args()
    failed = 0
    began = time.monotonic()
    seeds = range(options.start, options.start + options.seeds)
    for done, result in enumerate(results(run_seed if options.toy else run_both, seeds), 1):
        failed += result.failure is not None
        if options.json:
            print(json.dumps(asdict(result)), flush=True)
        elif result.failure is not None:
            print(f"seed {result.seed} ({result.faults}): {result.failure}")
            print("\n".join(f"    {line}" for line in result.trace[-SHOWN:]))
            print(f"    replay: python -m tests.sim --seeds 1 --start {result.seed}", flush=True)
        if not options.json and done % 50 == 0:
            took = time.monotonic() - began
            print(f"{done}/{options.seeds} seeds, {failed} failed, {took:.0f} s", flush=True)
    print(f"{options.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
