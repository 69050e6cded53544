"""Draw a realistic file of account balances from a seed; nobody's data is in it.

    python examples/solvency/draw.py --accounts 64 --seed 7 --out accounts.csv

Balances follow a heavy-tailed (log-normal) law, as on exchanges: many small accounts, a few that
hold most of the money. They are integers of the smallest unit, here 10^-6 of a dollar stablecoin.
The same seed and size draw the same file.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

MAX_ACCOUNTS = 256
MAX_BALANCE = 2**64 - 1
UNIT = 10**6
# A median of $400 and a sigma of 2.2 give the top tenth of accounts most of the money.
MEDIAN_DOLLARS = 400.0
SIGMA = 2.2
EMPTY_SHARE = 0.05


def draw(accounts: int, seed: int) -> str:
    """The CSV text: header `account_id,balance`, then one line per account."""
    source = random.Random(seed)
    ids: set[str] = set()
    while len(ids) < accounts:
        ids.add(f"acct-{source.getrandbits(64):016x}")
    lines = ["account_id,balance"]
    lines += [f"{account_id},{_balance(source)}" for account_id in sorted(ids)]
    return "\n".join(lines) + "\n"


def _balance(source: random.Random) -> int:
    if source.random() < EMPTY_SHARE:
        return 0
    return min(MAX_BALANCE, int(MEDIAN_DOLLARS * source.lognormvariate(0.0, SIGMA) * UNIT))


def main() -> None:
    """Write the file, or the text to standard output."""
    parser = argparse.ArgumentParser(description="Draw a file of account balances from a seed.")
    parser.add_argument("--accounts", type=int, default=64, help=f"1 to {MAX_ACCOUNTS}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file to write (default: standard output)")
    arguments = parser.parse_args()
    if not 0 < arguments.accounts <= MAX_ACCOUNTS:
        parser.error(f"--accounts must be from 1 to {MAX_ACCOUNTS}")
    text = draw(arguments.accounts, arguments.seed)
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
