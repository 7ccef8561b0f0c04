"""SQL that asks how the queue stands, and changes nothing.

Status is asked for several times a second while a million rows may be done: nothing here
counts them.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from actors.lifecycle import Status
from pyrite.errors import NotFoundError
from pyrite.storage.records import (
    BULK,
    INTERACTIVE,
    SUSPECT,
    Failure,
    LastError,
    QueueCounts,
)
from pyrite.storage.sqlite.driver import sqlite3

READY = "status = 'pending' AND available_at IS NULL"


def in_scope(kb: str | None) -> str:
    """The condition that confines a query to a knowledge base."""
    return "" if kb is None else "AND kb_name = :kb"


def next_due(conn: sqlite3.Connection, worker_id: str) -> float | None:
    """When the next waiting row falls due, or the next lease of another worker expires."""
    row = conn.execute(
        """SELECT min(at) FROM (
               SELECT min(available_at) AS at FROM embed_queue
               WHERE status = 'pending' AND available_at IS NOT NULL
               UNION ALL
               SELECT min(lease_expires_at) FROM embed_queue
               WHERE status = 'processing' AND claimed_by <> ?)""",
        (worker_id,),
    ).fetchone()
    due: float | None = row[0]
    return due


def counts(conn: sqlite3.Connection, kb: str | None) -> QueueCounts:
    """How many rows are in which state."""
    rows = conn.execute(
        "SELECT status, sum(n) FROM queue_counts WHERE ? IS NULL OR kb_name = ? GROUP BY status",
        (kb, kb),
    )
    return QueueCounts(**dict(rows))


def unfinished_characters(conn: sqlite3.Connection, kb: str | None) -> int:
    """How long the texts are that are pending or processing."""
    row = conn.execute(
        """SELECT coalesce(sum(characters), 0) FROM queue_counts
           WHERE status IN ('pending', 'processing') AND (:kb IS NULL OR kb_name = :kb)""",
        {"kb": kb},
    ).fetchone()
    number: int = row[0]
    return number


def outdated(conn: sqlite3.Connection, model_ids: Collection[int], kb: str | None) -> int:
    """How many done rows were embedded with one of these models."""
    row = conn.execute(
        """SELECT coalesce(sum(n), 0) FROM queue_counts
           WHERE status = 'done' AND model_id IN (SELECT value FROM json_each(:models))
             AND (:kb IS NULL OR kb_name = :kb)""",
        {"models": json.dumps(list(model_ids)), "kb": kb},
    ).fetchone()
    number: int = row[0]
    return number


def failures(conn: sqlite3.Connection, kb: str | None, limit: int | None) -> list[Failure]:
    """Failed rows, newest first."""
    rows = conn.execute(
        """SELECT kb_name, entry_id, revision, error, attempts, finished_at FROM embed_queue
           WHERE status = 'failed' AND (:kb IS NULL OR kb_name = :kb)
           ORDER BY finished_at DESC, kb_name, entry_id LIMIT :limit""",
        {"kb": kb, "limit": -1 if limit is None else limit},
    )
    return [Failure(*row) for row in rows]


def of_revision(conn: sqlite3.Connection, revision: int, model_id: int | None) -> Status | None:
    """How far that write is with a model, or any; None if its row has gone or moved on.

    Raises:
        NotFoundError: there has been no such write.
    """
    row = conn.execute(
        """SELECT iif(status = 'done' AND model_id <> :model, 'pending', status)
           FROM embed_queue WHERE revision = :revision""",
        {"revision": revision, "model": model_id},
    ).fetchone()
    if row is not None:
        return Status(row[0])
    (last,) = conn.execute("SELECT value FROM sequences WHERE name = 'revision'").fetchone()
    if not 1 <= revision <= last:
        raise NotFoundError(f"there is no revision {revision}; the latest is {last}")
    return None


def last_error(conn: sqlite3.Connection, kb: str | None) -> LastError | None:
    """The newest error in the queue."""
    row = conn.execute(
        f"""SELECT kb_name, entry_id, error, error_at FROM embed_queue
            WHERE error IS NOT NULL {in_scope(kb)} ORDER BY error_at DESC LIMIT 1""",
        {"kb": kb},
    ).fetchone()
    return None if row is None else LastError(*row)


def oldest_pending(conn: sqlite3.Connection, kb: str | None) -> float | None:
    """When the longest waiting row was queued."""
    # One look into the index for each priority, and the few rows that wait for a retry.
    scope = in_scope(kb)
    row = conn.execute(
        f"""SELECT min(at) FROM (
                SELECT (SELECT queued_at FROM embed_queue INDEXED BY queue_ready
                        WHERE {READY} {scope} AND priority = p.column1
                        ORDER BY queued_at LIMIT 1) AS at
                FROM (VALUES ({INTERACTIVE}), ({BULK}), ({SUSPECT})) AS p
                UNION ALL
                SELECT min(queued_at) FROM embed_queue INDEXED BY queue_later
                WHERE status = 'pending' AND available_at IS NOT NULL {scope})""",
        {"kb": kb},
    ).fetchone()
    oldest: float | None = row[0]
    return oldest
