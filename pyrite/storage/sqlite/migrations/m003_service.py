"""What a service of several processes shares: who embeds, who may do what, and long work.

Nothing that is there is rewritten, so this takes no time however large the database is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_TABLES = (
    """
    -- The process that has the right to embed: one row, or none.
    CREATE TABLE leadership (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        worker_id TEXT NOT NULL,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        process_started TEXT,
        since REAL NOT NULL,
        expires_at REAL NOT NULL
    )
    """,
    """
    -- Who may do what through the server. Of the token itself only a hash is kept.
    CREATE TABLE tokens (
        token_id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        tier TEXT NOT NULL CHECK (tier IN ('read', 'write', 'admin')),
        digest BLOB NOT NULL,         -- SHA-256 of the secret part
        created_at REAL NOT NULL,
        expires_at REAL               -- NULL: never
    )
    """,
    """
    -- Long work that somebody asked for, and how far it is.
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY,   -- in the order in which they were entered
        job_id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        kb TEXT,                      -- NULL: all knowledge bases
        state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed')),
        done INTEGER NOT NULL,
        total INTEGER,
        result TEXT,                  -- JSON object
        error TEXT,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        process_started TEXT
    )
    """,
)

_COLUMNS = (
    # The one knowledge base whose entries a worker embeds.
    "ALTER TABLE workers ADD COLUMN kb TEXT",
)


def extend(db: Database) -> None:
    """Add the tables and the column."""
    for statement in (*_TABLES, *_COLUMNS):
        db.execute(statement)
