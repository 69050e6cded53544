"""Many seeds on all cores; the results come in the order of the seeds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.sim.market import run_market_seed
from tests.sim.run import Result, run_seed


def run_both(seed: int) -> Result:
    """The seed over the toy, then over the whole replica: the first failure is told."""
    result = run_seed(seed)
    return run_market_seed(seed) if result.failure is None else result


def results(run: Callable[[int], Result], seeds: Iterable[int]) -> Iterator[Result]:
    """Each seed's result. Not forked: a child would inherit its parent's threads' locks."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(run, seeds, chunksize=2)
