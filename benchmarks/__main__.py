"""`python -m benchmarks [NAME ...] [--quick]`: run, save, render docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks import (
    assignment,
    clearing,
    convergence,
    idle,
    micro,
    path,
    sealing,
    simulator,
    tiers,
    welfare,
)
from benchmarks.report import render
from devnet.errors import DevnetError
from devnet.signals import run_until_signal

if TYPE_CHECKING:
    from collections.abc import Callable


class _Measure(Protocol):
    async def __call__(self, say: Callable[[str], None], *, quick: bool) -> None: ...


MEASURES: Final[dict[str, _Measure]] = {
    "micro": micro.measure,
    "path": path.measure,
    "idle": idle.measure,
    "assignment": assignment.measure,
    "sealing": sealing.measure,
    "simulator": simulator.measure,
    "clearing": clearing.measure,
    "welfare": welfare.measure,
    "convergence": convergence.measure,
    "tiers": tiers.measure,
}
EXIT_FAILED: Final = 3
EXIT_STOPPED: Final = 130


def main() -> int:
    """Run the chosen benchmarks, all of them unless some are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MEASURES)}, report")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to try it out")
    chosen = parser.parse_args()
    names = chosen.names or list(MEASURES)
    unknown = [name for name in names if name not in {*MEASURES, "report"}]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; choose of: {', '.join(MEASURES)}, report")
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr, flush=True)

    async def work() -> None:
        for name in names:
            if name in MEASURES:
                say(f"--- {name}")
                await MEASURES[name](say, quick=chosen.quick)

    try:
        if run_until_signal(work):
            return EXIT_STOPPED
    except DevnetError as exc:
        print(exc, file=sys.stderr)
        return EXIT_FAILED
    render()
    say("docs/benchmarks.md is rendered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
