"""The phases of a round in one table; the machine can make no move that is not in it.

The diagram in docs/rounds.md is drawn from this table (`scripts/diagrams.py`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from protocol.errors import LocalProtocolError


class Phase(Enum):
    """Where this node stands in the round it works on."""

    IDLE = "idle"
    WAITING = "waiting"
    COLLECTING = "collecting"
    FROZEN = "frozen"
    PREPARED = "prepared"
    LOCKED = "locked"
    OPENING = "opening"
    COMMITTED = "committed"
    DECIDED = "decided"


class Move(Enum):
    """What takes a node from one phase to another."""

    PENDING_IN_TIME = "pending known before the list cut-off"
    PENDING_LATE = "pending known after the list cut-off"
    VIEW_STARTED = "the next view starts"
    LISTS_FROZEN = "list deadline"
    PREPARE_SIGNED = "proposal accepted, PREPARE signed"
    LOCK_SIGNED = "PrepareCert of this view, LOCK signed"
    VIEW_ENDED = "view ends undecided, Timeout signed"
    LOCK_CERT = "LockCert"
    COMMIT_SIGNED = "bids opened and cleared, COMMIT signed"
    BATCH_CERT = "BatchCert"
    ROUND_BEGUN = "the next round begins"


_ATTEMPT: Final = (Phase.COLLECTING, Phase.FROZEN, Phase.PREPARED, Phase.LOCKED)

TABLE: Final[dict[tuple[Phase, Move], Phase]] = {
    # An idle network is silent. f+1 members that announce something pending open an attempt.
    (Phase.IDLE, Move.PENDING_IN_TIME): Phase.COLLECTING,
    (Phase.IDLE, Move.PENDING_LATE): Phase.WAITING,
    (Phase.WAITING, Move.VIEW_STARTED): Phase.COLLECTING,
    # Own list is signed, others' lists come in. A re-proposal, or a proposal that embeds all N
    # lists, needs no freeze.
    (Phase.COLLECTING, Move.LISTS_FROZEN): Phase.FROZEN,
    (Phase.COLLECTING, Move.PREPARE_SIGNED): Phase.PREPARED,
    (Phase.FROZEN, Move.PREPARE_SIGNED): Phase.PREPARED,
    # LOCK needs the certificate, not an own PREPARE.
    (Phase.COLLECTING, Move.LOCK_SIGNED): Phase.LOCKED,
    (Phase.FROZEN, Move.LOCK_SIGNED): Phase.LOCKED,
    (Phase.PREPARED, Move.LOCK_SIGNED): Phase.LOCKED,
    # Every view is one attempt: the next one starts over with its own gateway.
    **{(phase, Move.VIEW_ENDED): Phase.COLLECTING for phase in _ATTEMPT},
    # The round's Value is decided: no more Timeouts and proposals, only shares and COMMITs.
    **{(phase, Move.LOCK_CERT): Phase.OPENING for phase in (Phase.IDLE, Phase.WAITING, *_ATTEMPT)},
    (Phase.OPENING, Move.COMMIT_SIGNED): Phase.COMMITTED,
    # Who hears of a BatchCert, and recomputes it, is done from wherever it was.
    **{(phase, Move.BATCH_CERT): Phase.DECIDED for phase in Phase if phase is not Phase.DECIDED},
    (Phase.DECIDED, Move.ROUND_BEGUN): Phase.IDLE,
}

ATTEMPT: Final = frozenset(_ATTEMPT)
"""Phases inside an attempt: its end is a Timeout."""
UNDECIDED: Final = ATTEMPT | {Phase.IDLE, Phase.WAITING}
"""Phases in which no LockCert is known."""


def after(phase: Phase, move: Move) -> Phase:
    """Phase that a move leads to; raises LocalProtocolError if the table has no such move."""
    try:
        return TABLE[phase, move]
    except KeyError:
        raise LocalProtocolError(f"no move {move.name} from {phase.name}") from None


def mermaid() -> str:
    """The table as a Mermaid state diagram, one line per pair of phases and move."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.IDLE.value}"]
    lines += [
        f"    {phase.value} --> {to.value}: {move.value}" for (phase, move), to in TABLE.items()
    ]
    return "\n".join(lines) + "\n"
