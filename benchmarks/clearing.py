"""Clearing of great markets, against sorting their buyers alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.records import load, save, spread
from node.market_file import load_market

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
TARGET_SIZE: Final = 100_000
TARGET_RATIO: Final = 12
RUNS: Final = 5
ETHER: Final = 10**18


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Time the rule of thick markets, and the whole command beside it."""
    busy = load()
    sizes: Json = {}
    with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
        for size in SIZES[: 3 if quick else None]:
            path = Path(folder) / f"{size}.json"
            path.write_text(json.dumps(_market(size)), encoding="utf-8")
            found = await trio.to_thread.run_sync(_timed, path, abandon_on_cancel=True)
            sizes[str(size)] = {"load_before": busy, **found}
            say(f"clearing {size} bids: {found['ratio']['median']} x sorting the buyers")
    save(
        "clearing",
        {
            "load_before": busy,
            "target_size": TARGET_SIZE,
            "target_ratio": TARGET_RATIO,
            "sizes": sizes,
        },
    )


def _market(size: int) -> Json:
    """Nine buyers for each seller, values and costs even over three orders of magnitude."""
    chance = random.Random(size)
    sellers = size // 10
    buyers = []
    for place in range(size - sellers):
        slots = chance.randint(1, 16)
        fee = slots * chance.randint(ETHER // 1_000, ETHER)
        buyers.append({"id": f"buyer-{place}", "slots": slots, "max_fee": fee})
    return {
        "mode": "thick",
        "reference_price": 1,
        "beacon": "0x01",
        "buyers": buyers,
        "sellers": [
            {
                "id": f"seller-{place}",
                "slots": chance.randint(1, 160),
                "ask": chance.randint(ETHER // 1_000, ETHER),
                "quality": chance.randint(5_000, 10_000),
            }
            for place in range(sellers)
        ],
    }


def _timed(path: Path) -> Json:
    rows = json.loads(path.read_text(encoding="utf-8"))["buyers"]
    market = load_market(path)
    sorting, clearing = [], []
    for _ in range(RUNS):
        started = time.perf_counter()
        sorted(rows, key=lambda row: row["max_fee"])
        sorting.append((time.perf_counter() - started) * 1_000)
        started = time.perf_counter()
        market.clear()
        clearing.append((time.perf_counter() - started) * 1_000)
    started = time.perf_counter()
    command = [sys.executable, "-m", "node", "auction", "clear", str(path), "--json"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    ratios = [mine / base for mine, base in zip(clearing, sorting, strict=True)]
    return {
        "sort_ms": spread(sorting, 1),
        "clear_ms": spread(clearing, 1),
        "ratio": spread(ratios, 1),
        "command_ms": round((time.perf_counter() - started) * 1_000),
    }
