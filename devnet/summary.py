"""The table at the end of a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from devnet.fault_scenario import FaultOutcome
from devnet.market_scenario import MarketOutcome

if TYPE_CHECKING:
    from rich.console import Console

    from devnet.scenario import Outcome


def print_summary(console: Console, outcome: Outcome | MarketOutcome | FaultOutcome) -> None:
    """The table of what a scenario, or one act of it, came to."""
    match outcome:
        case MarketOutcome():
            _print_market(console, outcome)
        case FaultOutcome():
            _print_faults(console, outcome)
        case _:
            _print_outcome(console, outcome)


def _print_outcome(console: Console, outcome: Outcome) -> None:
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


def _print_market(console: Console, outcome: MarketOutcome) -> None:
    """What each request bid, paid and got, and what each clearing that sold was."""
    found = outcome.as_json()
    name_of = outcome.cluster.name_of
    asked = Table(title="requests; amounts in wei")
    for column in ("slots", "maximum fee", "paid", "provers", "status", "round"):
        asked.add_column(column)
    for row in found["requests"]:
        names = ", ".join(map(name_of, row["provers"]))
        status = (
            row["status"] if row["status"] == "settled" else f"{row['status']}: {row['verdict']}"
        )
        values = (row["slots"], row["max_fee"], row["paid"], names, status, row["round"] or "")
        asked.add_row(*map(str, values))
    console.print(asked)
    cleared = Table(title="clearings that sold; slots")
    for column in ("round", "rule", "buyers", "sellers", "wanted", "offered", "sold", "wei a slot"):
        cleared.add_column(column)
    for row in found["clearings"]:
        price = int(row["price"]["num"]) // int(row["price"]["den"])
        counts = (row["buyers"], row["sellers"], row["demanded"], row["offered"], row["volume"])
        cleared.add_row(*map(str, (row["round"], row["rule"], *counts, price)))
    console.print(cleared)
    console.print(f"{outcome.rounds} rounds recomputed from the records of two nodes: identical")


def _print_faults(console: Console, outcome: FaultOutcome) -> None:
    """What befell which gateway, and who took its round over."""
    lost = Table(title="gateways that were lost")
    for column in ("fault", "phase", "gateway", "round", "taken over by", "seconds until settled"):
        lost.add_column(column)
    for loss in outcome.losses:
        took = loss.took_over or "not needed"
        seconds = f"{loss.settled_ms / 1_000:.1f}"
        values = (loss.act.fault.value, loss.act.at.value, loss.gateway, loss.round, took, seconds)
        lost.add_row(*map(str, values))
    console.print(lost)
    if outcome.skipped:
        console.print(f"left out: {', '.join(outcome.skipped)}: {outcome.why}")
    console.print(f"{outcome.rounds} rounds have one certificate each, on every node")


def _mint(works: bool) -> str:
    return "works" if works else "reverts"
