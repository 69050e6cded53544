"""What each node's audit trail says of the phases of its rounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Trail = dict[int, dict[str, list[int]]]
"""By round: milliseconds at which this node made each move."""


def read_trail(database: Path) -> Trail:
    """The moves of every round that one node saw; the node must have been stopped."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = list(
            connection.execute(
                "SELECT at_ms, fields FROM events WHERE event = 'round_phase' ORDER BY number"
            )
        )
    finally:
        connection.close()
    trail: Trail = {}
    for at_ms, text in rows:
        fields = json.loads(text)
        trail.setdefault(fields["round"], {}).setdefault(fields["move"], []).append(at_ms)
    return trail


def decided(trails: Sequence[Trail]) -> int:
    """Rounds of which any node saw the decision."""
    return len({n for trail in trails for n, moves in trail.items() if "batch_cert" in moves})


def split(moves: dict[str, list[int]]) -> dict[str, int] | None:
    """Milliseconds of each part of one round on one node; None unless it took one attempt."""
    opened = moves.get("pending_in_time") or moves.get("pending_late")
    started = moves.get("view_started") or moves.get("pending_in_time")
    names = ("prepare_signed", "lock_signed", "lock_cert", "commit_signed", "batch_cert")
    if not opened or not started or "view_ended" in moves or any(n not in moves for n in names):
        return None
    prepared, locked, revealed, committed, certified = (moves[name][0] for name in names)
    return {
        "wait for a view": started[0] - opened[0],
        "lists and proposal": prepared - started[0],
        "PREPARE votes": locked - prepared,
        "LOCK votes": revealed - locked,
        "shares and opening": committed - revealed,
        "COMMIT votes": certified - committed,
        "whole": certified - opened[0],
    }
