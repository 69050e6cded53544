"""The node's database: journal, snapshot, signed statements, decided rounds, requests, events.

One synchronous apsw connection, used by one worker thread at a time (a limiter of one), is the
single writer: a commit is one thread hop and one fsync (WAL, synchronous=FULL), a write that began
is never cancelled half way, and nothing has to be closed in the event loop. What a method returned
from survives kill -9 and power loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import trio

from node.errors import StoreError
from node.store_schema import APPLICATION_ID, MIGRATIONS

MAX_EVENTS: Final = 100_000
MAX_PAGE: Final = 1_000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Replay:
    """What a machine is rebuilt from: its snapshot, the inputs after it, and statements to feed."""

    snapshot: bytes | None
    records: tuple[tuple[int, bytes], ...]
    """(journal number, record) in order."""
    statements: tuple[bytes, ...]
    """Own frames signed since the snapshot; their inputs may have missed the journal."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit trail."""

    number: int
    at_ms: int
    event: str
    fields: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Settlement:
    """A batch on chain, or on its way there."""

    sequence: int
    round_number: int
    transaction: bytes | None
    gas_used: int | None


class Store:
    """All durable state of one node; open it once, before the event loop or inside."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._writer = trio.CapacityLimiter(1)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open or create the database and bring it to the current schema.

        Raises:
            StoreError: damaged, of a newer or foreign program, in use by another node, unwritable.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = apsw.Connection(str(path))
        except (apsw.Error, OSError) as exc:
            raise StoreError(f"can not open {path}: {exc}", "check data_dir") from exc
        try:
            _prepare(connection, path)
        except apsw.Error as exc:
            connection.close()
            raise _translated(path, exc) from exc
        except StoreError:
            connection.close()
            raise
        return cls(connection, path)

    def close(self) -> None:
        """Give the file free; idempotent."""
        self._connection.close()

    # -- the machine's journal

    async def append(self, records: Sequence[bytes]) -> int:
        """Journal records in one fsync; returns the number of the last one."""
        return await self._run(partial(_append, records=records))

    async def checkpoint(self, snapshot: bytes, through: int) -> None:
        """Replace the snapshot and drop the journal up to `through`, both or neither.

        Only when the machine has taken every record up to `through` and every own statement.
        """
        await self._run(partial(_checkpoint, snapshot=snapshot, through=through))

    async def replay(self) -> Replay:
        """What to rebuild the machine from."""
        return await self._run(_replay)

    # -- the signing guard's statements

    async def statement(self, slot: bytes) -> bytes | None:
        """The frame that took this slot."""
        return await self._run(partial(_statement, slot=slot))

    async def claim_statement(self, slot: bytes, round_number: int, frame: bytes) -> bytes:
        """Take the slot for this frame; returns the frame that has it, for good."""
        return await self._run(partial(_claim, slot=slot, round_number=round_number, frame=frame))

    async def statement_floor(self) -> int:
        """Rounds below this one were pruned: nothing may be signed in them."""
        return await self._run(_floor)

    async def prune_statements(self, below_round: int) -> None:
        """Forget statements of older rounds, and that they may be signed at all (0 stays)."""
        await self._run(partial(_prune_statements, below_round=below_round))

    # -- decided rounds

    async def save_decided(self, round_number: int, record: bytes) -> None:
        """Keep a decided round; saying it again changes nothing."""
        await self._run(
            partial(
                _execute,
                sql="INSERT OR IGNORE INTO rounds(round, record) VALUES (?, ?)",
                arguments=(round_number, record),
            )
        )

    async def decided(self, from_round: int, most: int) -> list[bytes]:
        """Records of consecutive rounds from this one on, at most so many."""
        return await self._run(partial(_decided, from_round=from_round, most=most))

    async def last_decided(self) -> int:
        """The highest round kept, 0 if none."""
        rows = await self._rows("SELECT coalesce(max(round), 0) FROM rounds")
        return int(rows[0][0])

    # -- what the API shows

    async def save_request(
        self, request_id: bytes, at_ms: int, frame: bytes, document: Mapping[str, Any]
    ) -> None:
        """Keep a request's frame and what is known of it; the frame stays the first one."""
        await self._run(
            partial(
                _execute,
                sql=(
                    "INSERT INTO requests(request_id, at_ms, frame, document) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT(request_id) DO UPDATE SET document = excluded.document"
                ),
                arguments=(request_id, at_ms, frame, json.dumps(dict(document))),
            )
        )

    async def request(self, request_id: bytes) -> tuple[bytes, dict[str, Any]] | None:
        """The frame and document of a request."""
        rows = await self._rows(
            "SELECT frame, document FROM requests WHERE request_id = ?", request_id
        )
        return (rows[0][0], json.loads(rows[0][1])) if rows else None

    async def requests(self, most: int = MAX_PAGE) -> list[tuple[bytes, dict[str, Any]]]:
        """(request id, document), newest first."""
        rows = await self._rows(
            "SELECT request_id, document FROM requests ORDER BY at_ms DESC, request_id LIMIT ?",
            min(most, MAX_PAGE),
        )
        return [(row[0], json.loads(row[1])) for row in rows]

    async def add_events(self, events: Sequence[tuple[int, str, Mapping[str, str | int]]]) -> None:
        """Append (at_ms, event, fields) to the audit trail, which is bounded: the oldest go."""
        rows = [(at_ms, event, json.dumps(dict(fields))) for at_ms, event, fields in events]
        await self._run(partial(_add_events, rows=rows))

    async def events(self, after: int = 0, most: int = MAX_PAGE) -> list[Event]:
        """Events with a number above `after`, oldest first."""
        rows = await self._rows(
            "SELECT number, at_ms, event, fields FROM events WHERE number > ? ORDER BY number "
            "LIMIT ?",
            after,
            min(most, MAX_PAGE),
        )
        return [Event(row[0], row[1], row[2], json.loads(row[3])) for row in rows]

    async def save_settlement(self, settlement: Settlement) -> None:
        """Keep how a batch stands on chain; a transaction once known is never unlearned."""
        await self._run(
            partial(
                _execute,
                sql=(
                    'INSERT INTO settlements(sequence, round, "transaction", gas_used) '
                    "VALUES (?, ?, ?, ?) ON CONFLICT(sequence) DO UPDATE SET "
                    'round = excluded.round, "transaction" = '
                    'coalesce(excluded."transaction", "transaction"), '
                    "gas_used = coalesce(excluded.gas_used, gas_used)"
                ),
                arguments=(
                    settlement.sequence,
                    settlement.round_number,
                    settlement.transaction,
                    settlement.gas_used,
                ),
            )
        )

    async def settlement(self, sequence: int) -> Settlement | None:
        """How a batch stands on chain."""
        rows = await self._rows(
            'SELECT sequence, round, "transaction", gas_used FROM settlements WHERE sequence = ?',
            sequence,
        )
        return Settlement(*rows[0]) if rows else None

    async def _rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return await self._run(partial(_execute, sql=sql, arguments=arguments))

    async def _run(self, work: Callable[[apsw.Connection], Result]) -> Result:
        """One transaction in the writer thread; a cancelled caller still waits for its end."""
        return await trio.to_thread.run_sync(self._transaction, work, limiter=self._writer)

    def _transaction(self, work: Callable[[apsw.Connection], Result]) -> Result:
        try:
            with self._connection:
                result = work(self._connection)
        except apsw.Error as exc:
            raise _translated(self._path, exc) from exc
        return result


def _prepare(connection: apsw.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if tables and connection.pragma("application_id") != APPLICATION_ID:
        raise StoreError(f"{path} belongs to another program", "choose another data_dir")
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} was made by a newer version", "run the newer version")
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", 2)
    connection.pragma("foreign_keys", True)
    if connection.pragma("quick_check") != "ok":
        raise _damaged(path)
    with connection:
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            connection.execute(script)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _append(connection: apsw.Connection, records: Sequence[bytes]) -> int:
    connection.executemany(
        "INSERT INTO journal(record) VALUES (?)", [(record,) for record in records]
    )
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM journal").get)


def _checkpoint(connection: apsw.Connection, snapshot: bytes, through: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO snapshot(id, state, statements) "
        "SELECT 1, ?, coalesce(max(number), 0) FROM statements",
        (snapshot,),
    )
    connection.execute("DELETE FROM journal WHERE number <= ?", (through,))


def _replay(connection: apsw.Connection) -> Replay:
    held = _execute(connection, "SELECT state, statements FROM snapshot")
    state, fed = held[0] if held else (None, 0)
    records = [
        (int(number), bytes(record))
        for number, record in _execute(
            connection, "SELECT number, record FROM journal ORDER BY number"
        )
    ]
    frames = _execute(
        connection, "SELECT frame FROM statements WHERE number > ? ORDER BY number", (fed,)
    )
    return Replay(state, tuple(records), tuple(row[0] for row in frames))


def _statement(connection: apsw.Connection, slot: bytes) -> bytes | None:
    frame: bytes | None = connection.execute(
        "SELECT frame FROM statements WHERE slot = ?", (slot,)
    ).get
    return frame


def _claim(connection: apsw.Connection, slot: bytes, round_number: int, frame: bytes) -> bytes:
    connection.execute(
        "INSERT OR IGNORE INTO statements(slot, round, frame) VALUES (?, ?, ?)",
        (slot, round_number, frame),
    )
    held = _statement(connection, slot)
    return frame if held is None else held


def _floor(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT round FROM statement_floor").get)


def _prune_statements(connection: apsw.Connection, below_round: int) -> None:
    connection.execute("UPDATE statement_floor SET round = max(round, ?)", (below_round,))
    connection.execute(
        "DELETE FROM statements WHERE round BETWEEN 1 AND ? - 1", (_floor(connection),)
    )


def _decided(connection: apsw.Connection, from_round: int, most: int) -> list[bytes]:
    rows = _execute(
        connection,
        "SELECT round, record FROM rounds WHERE round >= ? ORDER BY round LIMIT ?",
        (from_round, min(most, MAX_PAGE)),
    )
    return [record for place, (number, record) in enumerate(rows) if number == from_round + place]


def _add_events(connection: apsw.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    connection.executemany("INSERT INTO events(at_ms, event, fields) VALUES (?, ?, ?)", rows)
    connection.execute(
        "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (MAX_EVENTS,)
    )


def _execute(
    connection: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    return list(connection.execute(sql, arguments).fetchall())


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"the database {path} is damaged",
        "restore it from a backup; an empty one forgets what this node has signed",
    )


def _translated(path: Path, exc: apsw.Error) -> StoreError:
    match exc:
        case apsw.CorruptError() | apsw.NotADBError():
            return _damaged(path)
        case apsw.BusyError():
            return StoreError(f"{path} is in use by another node", "stop that one first")
        case apsw.FullError() | apsw.IOError():
            return StoreError(f"can not write {path}: {exc}", "make room on the disk")
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            return StoreError(f"can not write {path}: {exc}", "check the owner of data_dir")
        case _:
            return StoreError(f"the database {path} failed: {exc}", "see the cause")
