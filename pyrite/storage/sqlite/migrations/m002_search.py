"""The schema for search by words and by passages.

What it changes:

- An entry has a number that no VACUUM changes, for the full-text index to refer to.
- An embedding has a number that names one vector for ever, and that grows: whoever keeps a
  copy of the vectors is up to date once it has those above the highest number it knows.
- A chunk refers to its embedding by that number. An index on it costs little, since numbers
  are handed out in order; one on the embedding's hash was the dearest part of a finish.
- The queue counts characters beside entries, so that the time left can be told from the
  amount of text.

Entries were embedded as one chunk each before, so all of them are queued again; a text that
is still encoded as it was then is found among the embeddings and costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

#: What the first schema's tables are called until their rows have been copied; children first.
_OLD = ("chunks", "embed_queue", "entries", "embeddings", "queue_counts")

_TABLES = (
    """
    -- Entries as their files were last read. The body comes last: SQLite reads a row from
    -- the left, and most queries stop before it.
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
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
        UNIQUE (kb_name, entry_id)
    )
    """,
    """
    -- One row for each entry: where its embedding stands.
    CREATE TABLE embed_queue (
        kb_name TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        characters INTEGER NOT NULL,  -- of the text that is embedded
        status TEXT NOT NULL CHECK (status IN ('pending', 'processing', 'done', 'failed')),
        queued_at REAL NOT NULL,
        priority INTEGER NOT NULL,
        available_at REAL,            -- NULL: due now
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        error_at REAL,
        -- Embeddings numbered up to this do not count as encoded.
        renew_through INTEGER NOT NULL DEFAULT 0,
        claim_token TEXT,
        claimed_by TEXT,
        lease_expires_at REAL,
        finished_at REAL,
        model_id INTEGER,             -- the model that a done row was embedded with
        PRIMARY KEY (kb_name, entry_id),
        FOREIGN KEY (kb_name, entry_id) REFERENCES entries (kb_name, entry_id) ON DELETE CASCADE,
        CHECK ((status = 'processing') = (claim_token IS NOT NULL))
    )
    """,
    """
    -- How many rows of the queue are in which state, and how long their texts are, done ones
    -- by their model: kept by triggers, since counting a million rows takes a third of a second.
    CREATE TABLE queue_counts (
        kb_name TEXT NOT NULL,
        status TEXT NOT NULL,
        model_id INTEGER NOT NULL,    -- 0 but for done rows
        n INTEGER NOT NULL,
        characters INTEGER NOT NULL,
        PRIMARY KEY (kb_name, status, model_id)
    ) WITHOUT ROWID
    """,
    """
    -- Every text that was encoded, once, by the hash of what the model read. A vector is never
    -- changed: one that is encoded afresh gets a new number.
    CREATE TABLE embeddings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model_id INTEGER NOT NULL REFERENCES models (id),
        digest BLOB NOT NULL,
        vector BLOB NOT NULL,         -- float32, little-endian, unit length
        UNIQUE (model_id, digest)
    )
    """,
    """
    -- Embeddings that no chunk used when they were last looked at, and since when.
    CREATE TABLE unused_embeddings (
        id INTEGER PRIMARY KEY REFERENCES embeddings (id) ON DELETE CASCADE,
        since REAL NOT NULL
    )
    """,
    """
    -- Which embeddings an entry has, in order of its text.
    CREATE TABLE chunks (
        kb_name TEXT NOT NULL,
        entry_id TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        model_id INTEGER NOT NULL,    -- the embedding's, at hand without reading its vector
        embedding_id INTEGER NOT NULL REFERENCES embeddings (id),
        start INTEGER NOT NULL,       -- range in characters of the body
        end INTEGER NOT NULL,
        revision INTEGER NOT NULL,    -- the revision whose text was embedded
        headings TEXT NOT NULL,       -- JSON array: the headings that it stands under
        PRIMARY KEY (kb_name, entry_id, ordinal),
        FOREIGN KEY (kb_name, entry_id) REFERENCES entries (kb_name, entry_id) ON DELETE CASCADE
    ) WITHOUT ROWID
    """,
    """
    -- What tells this database from any other.
    CREATE TABLE identity (database_id TEXT NOT NULL)
    """,
    """
    -- The words of every entry, in step with it by triggers. The text itself is not kept twice.
    CREATE VIRTUAL TABLE entry_words USING fts5 (
        title, summary, tags, body,
        content = 'entries', content_rowid = 'id',
        tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
)

_COLUMNS = (
    # How often embeddings of the model have been collected.
    "ALTER TABLE models ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
    # How fast a worker encodes, for those who ask how long it will take.
    "ALTER TABLE workers ADD COLUMN tokens_per_s REAL NOT NULL DEFAULT 0",
    "ALTER TABLE workers ADD COLUMN characters_per_s REAL NOT NULL DEFAULT 0",
    # How many it has: kept by triggers, since every search asks.
    "ALTER TABLE models ADD COLUMN embeddings INTEGER NOT NULL DEFAULT 0",
)

_INDEXES = (
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
    # Which write a revision names, for those who wait for it.
    """CREATE UNIQUE INDEX queue_revisions ON embed_queue (revision)""",
    # Which entries a vector stands for, and which vectors no entry needs.
    """CREATE INDEX chunk_embeddings ON chunks (embedding_id)""",
)

_COUNT = """
    INSERT INTO queue_counts VALUES
        ({row}.kb_name, {row}.status, iif({row}.status = 'done', {row}.model_id, 0),
         {sign}1, {sign}{row}.characters)
    ON CONFLICT DO UPDATE SET n = n + excluded.n, characters = characters + excluded.characters;
"""
_WORDS = ", ".join(("title", "summary", "tags", "body"))
_FORGET_WORDS = f"""
    INSERT INTO entry_words (entry_words, rowid, {_WORDS})
    VALUES ('delete', OLD.id, OLD.title, OLD.summary, OLD.tags, OLD.body);
"""
_LEARN_WORDS = f"""
    INSERT INTO entry_words (rowid, {_WORDS})
    VALUES (NEW.id, NEW.title, NEW.summary, NEW.tags, NEW.body);
"""
_TRIGGERS = (
    "CREATE TRIGGER queue_counts_insert AFTER INSERT ON embed_queue BEGIN"
    + _COUNT.format(row="NEW", sign="")
    + "END",
    "CREATE TRIGGER queue_counts_delete AFTER DELETE ON embed_queue BEGIN"
    + _COUNT.format(row="OLD", sign="-")
    + "END",
    "CREATE TRIGGER queue_counts_update AFTER UPDATE OF status, model_id, characters"
    " ON embed_queue WHEN OLD.status <> NEW.status OR OLD.model_id IS NOT NEW.model_id"
    " OR OLD.characters <> NEW.characters BEGIN"
    + _COUNT.format(row="OLD", sign="-")
    + _COUNT.format(row="NEW", sign="")
    + "END",
    """CREATE TRIGGER embeddings_insert AFTER INSERT ON embeddings BEGIN
        UPDATE models SET embeddings = embeddings + 1 WHERE id = NEW.model_id; END""",
    """CREATE TRIGGER embeddings_delete AFTER DELETE ON embeddings BEGIN
        UPDATE models SET embeddings = embeddings - 1 WHERE id = OLD.model_id; END""",
    f"CREATE TRIGGER entry_words_insert AFTER INSERT ON entries BEGIN {_LEARN_WORDS} END",
    f"CREATE TRIGGER entry_words_delete AFTER DELETE ON entries BEGIN {_FORGET_WORDS} END",
    f"""CREATE TRIGGER entry_words_update AFTER UPDATE OF {_WORDS} ON entries
        WHEN (OLD.title, OLD.summary, OLD.tags, OLD.body)
             IS NOT (NEW.title, NEW.summary, NEW.tags, NEW.body)
        BEGIN {_FORGET_WORDS} {_LEARN_WORDS} END""",
)

_COPIES = (
    """INSERT INTO entries (kb_name, entry_id, path, digest, size, mtime_ns, ctime_ns, inode,
                            revision, updated_at, type, title, summary, tags, fields, body)
       SELECT kb_name, entry_id, path, digest, size, mtime_ns, ctime_ns, inode,
              revision, updated_at, type, title, summary, tags, fields, body
       FROM old_entries ORDER BY kb_name, entry_id""",
    # Failures stay failures; all else waits, with a fresh count of attempts.
    """INSERT INTO embed_queue (kb_name, entry_id, revision, characters, status, queued_at,
                                priority, attempts, error, error_at, renew_through, finished_at)
       SELECT kb_name, entry_id, q.revision, length(title) + length(summary) + length(body),
              iif(status = 'failed', 'failed', 'pending'), queued_at, priority,
              iif(status = 'failed', attempts, 0), iif(status = 'failed', error, NULL),
              iif(status = 'failed', error_at, NULL),
              iif(force, (SELECT count(*) FROM old_embeddings), 0),
              iif(status = 'failed', finished_at, NULL)
       FROM old_embed_queue q JOIN old_entries USING (kb_name, entry_id) ORDER BY q.rowid""",
    """INSERT INTO embeddings (model_id, digest, vector)
       SELECT model_id, digest, vector FROM old_embeddings ORDER BY rowid""",
    "INSERT INTO identity VALUES (lower(hex(randomblob(16))))",
    "INSERT INTO sequences VALUES ('collected_at', 0)",
)


def rebuild(db: Database) -> None:
    """Make the tables anew and copy what they held."""
    for trigger in ("insert", "delete", "update"):
        db.execute(f"DROP TRIGGER queue_counts_{trigger}")
    for index in ("ready", "later", "leased", "failed", "errors"):
        db.execute(f"DROP INDEX queue_{index}")
    for table in _OLD:
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in (*_TABLES, *_COLUMNS, *_INDEXES, *_TRIGGERS, *_COPIES):
        db.execute(statement)
    for table in _OLD:
        db.execute(f"DROP TABLE old_{table}")
