"""The table at the end of a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from devnet.scenario import Outcome


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Who did what, and what became of it."""
    found = outcome.as_json()
    name_of = outcome.cluster.name_of
    fee = int(outcome.result["fee"])
    claim = found["claim"]
    rows = [
        ("request", found["request_id"]),
        ("status", found["status"]),
        ("round", f"{found['round']}, gateway {name_of(found['gateway'])}"),
        ("provers", ", ".join(map(name_of, found["provers"]))),
        ("votes", f"{found['voters']} of {found['operators']} operators"),
        ("transaction", f"{found['settle_tx']}, {found['gas_used']} gas"),
        ("fee", f"{fee} wei"),
        ("proven root", claim["root"]),
        ("proven total", claim["total"]),
        ("stablecoin mint", f"{_mint(outcome.before)} before, {_mint(outcome.after)} after"),
        ("seconds", ", ".join(f"{k} {v / 1000:.1f}" for k, v in found["stages_ms"].items())),
    ]
    if outcome.killed:
        rows.append(("killed", ", ".join(outcome.killed)))
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # ids are there to be copied
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def _mint(works: bool) -> str:
    return "works" if works else "reverts"
