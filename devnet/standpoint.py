"""Where a stopped node stands in its round: what its disk says that it has said and heard.

A statement is on disk before anyone sees it, and an input before it is acted on. So what is read
here is exactly what the node comes back to if it is killed now.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from protocol.codec import decode, decode_input
from protocol.inputs import Received
from protocol.messages import Certificate, Kind, Vote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.messages import Envelope

_TIME_SIZE: Final = 8


class Standpoint(Enum):
    """How far a gateway is with the round of its view; PROPOSING is not told apart by the machine.

    The others are phases of `protocol/rounds/phases.py`. A gateway that holds all lists proposes
    from COLLECTING, without FROZEN.
    """

    ELSEWHERE = "elsewhere"
    COLLECTING = "collecting"
    """Its list is signed, no proposal."""
    PROPOSING = "proposing"
    """Its proposal is signed, its PREPARE is not."""
    PREPARED = "prepared"
    """Its PREPARE is signed, its LOCK is not."""
    LOCKED = "locked"
    """Its LOCK is signed, no quorum of LOCKs has come."""
    OPENING = "opening"
    """The round's Value is decided, its COMMIT is not signed."""
    COMMITTED = "committed"
    """Its COMMIT is signed, the round is not certified."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What a node has said and heard in the round after the last that it knows as decided."""

    round: int
    said: frozenset[tuple[Kind, int]]
    """Kind and view of its statements; 0 where the kind has no view."""
    decided: bool
    """Whether it holds the LOCKs of a quorum, or their certificate."""

    def of_gateway(self, view: int) -> Standpoint:
        """Where it stands as the gateway of this view."""
        # What was decided in an earlier view is not its round to lead.
        if (Kind.PROPOSAL, view) in self.said and self.decided:
            said = (Kind.COMMIT, 0) in self.said
            return Standpoint.COMMITTED if said else Standpoint.OPENING
        steps = (
            (Kind.TIMEOUT, Standpoint.ELSEWHERE),
            (Kind.LOCK, Standpoint.LOCKED),
            (Kind.PREPARE, Standpoint.PREPARED),
            (Kind.PROPOSAL, Standpoint.PROPOSING),
        )
        for kind, standpoint in steps:
            if (kind, view) in self.said:
                return standpoint
        listed = (Kind.BID_LIST, 0) in self.said and not self.decided
        return Standpoint.COLLECTING if listed else Standpoint.ELSEWHERE


def read_stand(data_dir: Path, operators: int) -> Stand:
    """Read the disk of a node that is stopped or dead; all operators have the same stake.

    Nothing of it is touched: what SQLite would mend is mended in a copy.
    """
    with tempfile.TemporaryDirectory() as folder:
        for path in data_dir.glob("node.sqlite*"):
            shutil.copy(path, folder)
        connection = apsw.Connection(str(Path(folder) / "node.sqlite"))
        try:
            number = connection.execute("SELECT coalesce(max(round), 0) + 1 FROM rounds").get
            own = [
                decode(frame)
                for (frame,) in connection.execute(
                    "SELECT frame FROM statements WHERE round = ?", (number,)
                )
            ]
            heard = [one for one in _heard(connection) if getattr(one.body, "round", 0) == number]
        finally:
            connection.close()
    said = frozenset((Kind(one.kind), int(getattr(one.body, "view", 0))) for one in own)
    return Stand(number, said, _locked_by_quorum([*own, *heard], operators))


def _heard(connection: apsw.Connection) -> Iterator[Envelope]:
    for (record,) in connection.execute("SELECT record FROM journal"):
        event = decode_input(record[_TIME_SIZE:])
        if isinstance(event, Received):
            yield decode(event.frame)


def _locked_by_quorum(envelopes: list[Envelope], operators: int) -> bool:
    votes: dict[tuple[int, bytes], set[bytes]] = {}
    for one in envelopes:
        match one.body:
            case Certificate(kind=Kind.LOCK):
                return True
            case Vote() if one.kind == Kind.LOCK:
                votes.setdefault((one.body.view, one.body.value), set()).add(one.sender)
    return any(3 * len(signers) > 2 * operators for signers in votes.values())
