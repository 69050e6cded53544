"""The node's database: journal, snapshot, statements, decided rounds, documents, events.

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
LAST_NUMBER: Final = (1 << 63) - 1

Result = TypeVar("Result")
EventRow = tuple[int, str, Mapping[str, str | int]]
"""(at_ms, event, fields) of the audit trail."""


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

    async def append(self, records: Sequence[bytes], events: Sequence[EventRow] = ()) -> int:
        """Journal records, and events on the way, in one fsync; returns the last one's number."""
        rows = _event_rows(events)
        return await self.run(partial(_append, records=records, rows=rows))

    async def checkpoint(self, snapshot: bytes, through: int) -> None:
        """Replace the snapshot and drop the journal up to `through`, both or neither.

        Only when the machine has taken every record up to `through` and every own statement.
        """
        await self.run(partial(_checkpoint, snapshot=snapshot, through=through))

    async def replay(self) -> Replay:
        """What to rebuild the machine from."""
        return await self.run(_replay)

    # -- the signing guard's statements

    async def statement(self, slot: bytes) -> bytes | None:
        """The frame that took this slot."""
        return await self.run(partial(_statement, slot=slot))

    async def claim_statement(
        self, slot: bytes, round_number: int, make: Callable[[], bytes]
    ) -> bytes | None:
        """The frame that has this slot, for good; `make` makes it, in the writer, if none has.

        None if the round was pruned, so that nothing may be signed in it any more; 0 never is.
        """
        return await self.run(partial(_claim, slot=slot, round_number=round_number, make=make))

    async def prune_statements(self, below_round: int) -> None:
        """Forget statements of older rounds, and that they may be signed at all (0 stays)."""
        await self.run(partial(_prune_statements, below_round=below_round))

    # -- decided rounds

    async def save_decided(self, round_number: int, record: bytes) -> None:
        """Keep a decided round; saying it again changes nothing."""
        await self.run(
            partial(
                _execute,
                sql="INSERT OR IGNORE INTO rounds(round, record) VALUES (?, ?)",
                arguments=(round_number, record),
            )
        )

    async def decided(self, from_round: int, most: int) -> list[bytes]:
        """Records of consecutive rounds from this one on, at most so many."""
        return await self.run(partial(_decided, from_round=from_round, most=most))

    async def last_decided(self) -> int:
        """The highest round kept, 0 if none."""
        rows = await self._rows("SELECT coalesce(max(round), 0) FROM rounds")
        return int(rows[0][0])

    # -- the chain

    async def add_settlement_attempt(self, sequence: int, attempt: bytes) -> None:
        """Keep a signed settlement transaction, before it is sent."""
        await self._rows(
            "INSERT INTO settlement_attempts(sequence, attempt) VALUES (?, ?)", sequence, attempt
        )

    async def settlement_attempts(self, sequence: int) -> list[bytes]:
        """All attempts to settle a batch, oldest first."""
        rows = await self._rows(
            "SELECT attempt FROM settlement_attempts WHERE sequence = ? ORDER BY number", sequence
        )
        return [row[0] for row in rows]

    async def save_chain_position(self, position: bytes) -> None:
        """Keep how far the chain was read."""
        await self._rows("INSERT OR REPLACE INTO chain_position VALUES (1, ?)", position)

    async def chain_position(self) -> bytes | None:
        """How far the chain was read; None before the first time."""
        rows = await self._rows("SELECT position FROM chain_position")
        return rows[0][0] if rows else None

    # -- what the API shows

    async def save_document(
        self, request_id: bytes, at_ms: int, document: Mapping[str, Any]
    ) -> None:
        """Keep the newest document of a request; its place in the list stays that of the first."""
        await self.run(
            partial(
                _execute,
                sql=(
                    "INSERT INTO documents(request_id, at_ms, document) VALUES (?, ?, ?) "
                    "ON CONFLICT(request_id) DO UPDATE SET document = excluded.document"
                ),
                arguments=(request_id, at_ms, json.dumps(dict(document))),
            )
        )

    async def document(self, request_id: bytes) -> dict[str, Any] | None:
        """The newest document."""
        return _json(
            await self._rows("SELECT document FROM documents WHERE request_id = ?", request_id)
        )

    async def request_of(self, bid_id: bytes) -> bytes | None:
        """The request that a bid is for."""
        rows = await self._rows(
            "SELECT request_id FROM documents WHERE json_extract(document, '$.bid_id') = ?",
            "0x" + bid_id.hex(),
        )
        return rows[0][0] if rows else None

    async def documents(self, after: bytes | None, most: int) -> list[dict[str, Any]]:
        """Documents, newest request first, from behind `after` on (None: from the first)."""
        rows = await self._rows(
            "SELECT document FROM documents WHERE ?1 IS NULL OR (at_ms, request_id) < "
            "(SELECT at_ms, request_id FROM documents WHERE request_id = ?1) "
            "ORDER BY at_ms DESC, request_id DESC LIMIT ?2",
            after,
            min(most, MAX_PAGE),
        )
        return [json.loads(row[0]) for row in rows]

    async def save_bundle(self, request_id: bytes, bundle: Mapping[str, Any]) -> None:
        """Keep a request's proof bundle; the first one stays."""
        await self.run(
            partial(
                _execute,
                sql="INSERT OR IGNORE INTO bundles(request_id, bundle) VALUES (?, ?)",
                arguments=(request_id, json.dumps(dict(bundle))),
            )
        )

    async def bundle(self, request_id: bytes) -> dict[str, Any] | None:
        """The proof bundle, if this node has it."""
        return _json(
            await self._rows("SELECT bundle FROM bundles WHERE request_id = ?", request_id)
        )

    async def add_events(self, events: Sequence[EventRow]) -> None:
        """Append (at_ms, event, fields) to the audit trail, which is bounded: the oldest go."""
        await self.run(partial(_add_events, rows=_event_rows(events)))

    async def events(self, after: int = 0, most: int = MAX_PAGE) -> list[Event]:
        """Events with a number above `after`, oldest first."""
        rows = await self._rows(
            "SELECT number, at_ms, event, fields FROM events WHERE number > ? ORDER BY number "
            "LIMIT ?",
            after,
            min(most, MAX_PAGE),
        )
        return [Event(row[0], row[1], row[2], json.loads(row[3])) for row in rows]

    async def _rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return await self.run(partial(_execute, sql=sql, arguments=arguments))

    async def run(self, work: Callable[[apsw.Connection], Result]) -> Result:
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


def _append(
    connection: apsw.Connection,
    records: Sequence[bytes],
    rows: Sequence[tuple[int, str, str]],
) -> int:
    if rows:
        _add_events(connection, rows)
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


def _claim(
    connection: apsw.Connection, slot: bytes, round_number: int, make: Callable[[], bytes]
) -> bytes | None:
    held = _statement(connection, slot)
    if held is not None:
        return held
    if 0 < round_number < _floor(connection):
        return None
    frame = make()
    connection.execute(
        "INSERT INTO statements(slot, round, frame) VALUES (?, ?, ?)", (slot, round_number, frame)
    )
    return frame


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
        # A peer may ask for any number of 64 bits; SQLite's are signed.
        (min(from_round, LAST_NUMBER), min(most, MAX_PAGE)),
    )
    return [record for place, (number, record) in enumerate(rows) if number == from_round + place]


def _event_rows(events: Sequence[EventRow]) -> list[tuple[int, str, str]]:
    return [(at_ms, event, json.dumps(dict(fields))) for at_ms, event, fields in events]


def _add_events(connection: apsw.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    connection.executemany("INSERT INTO events(at_ms, event, fields) VALUES (?, ?, ?)", rows)
    connection.execute(
        "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (MAX_EVENTS,)
    )


def _execute(
    connection: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    return list(connection.execute(sql, arguments).fetchall())


def _json(rows: list[tuple[Any, ...]]) -> dict[str, Any] | None:
    return dict(json.loads(rows[0][0])) if rows else None


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
