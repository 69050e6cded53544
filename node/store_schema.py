"""The tables of the node's database, as numbered migrations; released ones never change."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x70764E31
"""Marks the file as ours, so that a wrong path is noticed."""

MIGRATIONS: Final = (
    """
    CREATE TABLE journal (
        number INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused, also after a cut
        record BLOB NOT NULL
    ) STRICT;
    CREATE TABLE snapshot (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        state BLOB NOT NULL,
        statements INTEGER NOT NULL -- the last statement that the state has taken
    ) STRICT;
    CREATE TABLE statements (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        slot BLOB NOT NULL UNIQUE,
        round INTEGER NOT NULL, -- 0: belongs to no round, never pruned
        frame BLOB NOT NULL
    ) STRICT;
    CREATE INDEX statements_by_round ON statements(round);
    CREATE TABLE statement_floor (round INTEGER NOT NULL) STRICT;
    INSERT INTO statement_floor VALUES (0);
    CREATE TABLE rounds (round INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
    CREATE TABLE documents (
        request_id BLOB PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    CREATE INDEX documents_by_time ON documents(at_ms, request_id);
    CREATE TABLE settlement_attempts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        sequence INTEGER NOT NULL,
        attempt BLOB NOT NULL -- a signed transaction, on disk before it is sent
    ) STRICT;
    CREATE INDEX settlement_attempts_by_sequence ON settlement_attempts(sequence);
    CREATE TABLE chain_position (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        position BLOB NOT NULL
    ) STRICT;
    CREATE TABLE bundles (request_id BLOB PRIMARY KEY, bundle TEXT NOT NULL) STRICT;
    CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        event TEXT NOT NULL,
        fields TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE operator_tables (epoch INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE round_documents (round INTEGER PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE clearings (
        class_id BLOB NOT NULL,
        round INTEGER NOT NULL,
        summary TEXT NOT NULL,
        PRIMARY KEY (class_id, round)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX clearings_by_round ON clearings(round);
    CREATE TABLE receipts (
        bidder BLOB NOT NULL, -- a request id or an operator
        round INTEGER NOT NULL,
        class_id BLOB NOT NULL,
        receipt TEXT NOT NULL,
        PRIMARY KEY (bidder, round, class_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX receipts_by_round ON receipts(round);
    CREATE INDEX documents_by_bid ON documents(json_extract(document, '$.bid_id'));
    """,
    """
    CREATE TABLE evidence (
        evidence_id BLOB PRIMARY KEY,
        round INTEGER NOT NULL,
        document TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX evidence_by_round ON evidence(round);
    CREATE TABLE bid_receipts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id BLOB NOT NULL,
        member BLOB NOT NULL,
        bid_id BLOB NOT NULL,
        receipt TEXT NOT NULL,
        UNIQUE (request_id, member, bid_id)
    ) STRICT;
    """,
)
