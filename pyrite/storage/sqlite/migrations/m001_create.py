"""The first schema: an entry is one chunk, and search is by meaning alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

TABLES = (
    """
    -- Registered folders.
    CREATE TABLE kbs (
        name TEXT PRIMARY KEY,
        path TEXT NOT NULL UNIQUE,
        added_at REAL NOT NULL
    )
    """,
    """
    -- Entries as their files were last read. The body comes last: SQLite reads a row from
    -- the left, and most queries stop before it.
    CREATE TABLE entries (
        kb_name TEXT NOT NULL REFERENCES kbs (name) ON DELETE CASCADE,
        entry_id TEXT NOT NULL,
        path TEXT NOT NULL,
        digest BLOB NOT NULL,
        -- The file's stat when it was read, all NULL where that was too fresh to be trusted.
        size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER,
        revision INTEGER NOT NULL,
        updated_at REAL NOT NULL,
        type TEXT NOT NULL,
        title TEXT NOT NULL,
        summary TEXT NOT NULL,
        tags TEXT NOT NULL,    -- JSON array of strings
        fields TEXT NOT NULL,  -- JSON object: the rest of the front matter
        body TEXT NOT NULL,
        PRIMARY KEY (kb_name, entry_id)
    )
    """,
    """
    -- One row for each entry: where its embedding stands.
    CREATE TABLE embed_queue (
        kb_name TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'processing', 'done', 'failed')),
        queued_at REAL NOT NULL,
        priority INTEGER NOT NULL,
        available_at REAL,            -- NULL: due now
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        error_at REAL,
        force INTEGER NOT NULL DEFAULT 0,
        claim_token TEXT,
        claimed_by TEXT,
        lease_expires_at REAL,
        finished_at REAL,
        model_id INTEGER,             -- the model that a done row was embedded with
        PRIMARY KEY (kb_name, entry_id),
        FOREIGN KEY (kb_name, entry_id) REFERENCES entries ON DELETE CASCADE,
        CHECK ((status = 'processing') = (claim_token IS NOT NULL))
    )
    """,
    """
    -- The next number of each sequence.
    CREATE TABLE sequences (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID
    """,
    """
    -- How many rows of the queue are in which state, done ones by their model: kept by
    -- triggers, since counting a million rows takes a third of a second.
    CREATE TABLE queue_counts (
        kb_name TEXT NOT NULL,
        status TEXT NOT NULL,
        model_id INTEGER NOT NULL,    -- 0 but for done rows
        n INTEGER NOT NULL,
        PRIMARY KEY (kb_name, status, model_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE models (
        id INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL
    )
    """,
    """
    -- Every text that was encoded, once, by the hash of what the model read. A table with a
    -- rowid: two vectors of 384 floats share a page, where an index b-tree would spill each.
    CREATE TABLE embeddings (
        model_id INTEGER NOT NULL REFERENCES models (id),
        digest BLOB NOT NULL,
        vector BLOB NOT NULL,         -- float32, little-endian, unit length
        UNIQUE (model_id, digest)
    )
    """,
    """
    -- Which embeddings an entry has, in order of its text.
    CREATE TABLE chunks (
        kb_name TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        model_id INTEGER NOT NULL,
        digest BLOB NOT NULL,
        start INTEGER NOT NULL,       -- range in characters of the body
        end INTEGER NOT NULL,
        revision INTEGER NOT NULL,    -- the revision whose text was embedded
        PRIMARY KEY (kb_name, entry_id, ordinal),
        FOREIGN KEY (kb_name, entry_id) REFERENCES entries ON DELETE CASCADE,
        -- Without an index on this side, which only the deletion of embeddings would use: led
        -- by a hash, it would be the dearest part of every finish.
        FOREIGN KEY (model_id, digest) REFERENCES embeddings (model_id, digest)
    ) WITHOUT ROWID
    """,
    """
    -- The feed: what has happened, numbered without reuse.
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        type TEXT NOT NULL,
        kb_name TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        at REAL NOT NULL,
        detail TEXT NOT NULL          -- JSON object
    )
    """,
    """
    -- Processes that embed, as their last heartbeat described them.
    CREATE TABLE workers (
        worker_id TEXT PRIMARY KEY,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        process_started TEXT,
        started_at REAL NOT NULL,
        heartbeat_at REAL NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        model TEXT NOT NULL
    )
    """,
)

INDEXES = (
    # Each state that is searched for has an index of its own, holding that state alone: a
    # claim never walks over rows that are due later, nor over a million that are done.
    # The knowledge base is at the end for claims that are confined to one: they walk over the
    # others' entries without leaving the index. One led by it would cost every write more.
    """CREATE INDEX queue_ready ON embed_queue (priority, queued_at, kb_name)
       WHERE status = 'pending' AND available_at IS NULL""",
    """CREATE INDEX queue_later ON embed_queue (available_at, queued_at)
       WHERE status = 'pending' AND available_at IS NOT NULL""",
    """CREATE INDEX queue_leased ON embed_queue (lease_expires_at)
       WHERE status = 'processing'""",
    """CREATE INDEX queue_failed ON embed_queue (finished_at) WHERE status = 'failed'""",
    """CREATE INDEX queue_errors ON embed_queue (error_at) WHERE error IS NOT NULL""",
)

_COUNT = """
    INSERT INTO queue_counts VALUES
        ({row}.kb_name, {row}.status, iif({row}.status = 'done', {row}.model_id, 0), {by})
    ON CONFLICT DO UPDATE SET n = n + excluded.n;
"""
TRIGGERS = (
    "CREATE TRIGGER queue_counts_insert AFTER INSERT ON embed_queue BEGIN"
    + _COUNT.format(row="NEW", by=1)
    + "END",
    "CREATE TRIGGER queue_counts_delete AFTER DELETE ON embed_queue BEGIN"
    + _COUNT.format(row="OLD", by=-1)
    + "END",
    "CREATE TRIGGER queue_counts_update AFTER UPDATE OF status, model_id ON embed_queue"
    " WHEN OLD.status <> NEW.status OR OLD.model_id IS NOT NEW.model_id BEGIN"
    + _COUNT.format(row="OLD", by=-1)
    + _COUNT.format(row="NEW", by=1)
    + "END",
)


def create(db: Database) -> None:
    """The first schema."""
    for statement in (*TABLES, *INDEXES, *TRIGGERS):
        db.execute(statement)
    db.execute("INSERT INTO sequences VALUES ('revision', 0)")
