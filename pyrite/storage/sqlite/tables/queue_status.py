"""SQL that asks how the queue stands, and changes nothing.

Status is asked for several times a second while a million rows may be done: nothing here
counts them.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from actors.lifecycle import Status
from pyrite.errors import NotFoundError
from pyrite.storage.queue_records import Failure, LastError, QueueCounts, QueueState
from pyrite.storage.records import BULK, INTERACTIVE, SUSPECT
from pyrite.storage.sqlite.driver import sqlite3

READY = "status = 'pending' AND available_at IS NULL"


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


def counts(
    conn: sqlite3.Connection, kb: str | None = None, *, model_id: int | None = None
) -> QueueCounts:
    """How many rows are in which state, where another model's work is still to be done."""
    return _summed(conn, () if kb is None else (kb,), model_id)[0]


def queue_state(
    conn: sqlite3.Connection, kbs: Collection[str] = (), *, model_id: int | None = None
) -> QueueState:
    """How the queue stands, of some knowledge bases or of all."""
    found, unfinished = _summed(conn, kbs, model_id)
    oldest = _oldest_pending(conn, kbs) if found.pending else None
    return QueueState(found, unfinished, oldest, _last_error(conn, kbs))


def _summed(
    conn: sqlite3.Connection, kbs: Collection[str], model_id: int | None
) -> tuple[QueueCounts, int]:
    """Entries by state, and the characters of those that are not at their end."""
    rows = conn.execute(
        f"""SELECT iif(status = 'done' AND model_id <> :model, 'pending', status) AS present,
                   sum(n), sum(characters)
            FROM queue_counts WHERE {_of_these(kbs)} GROUP BY present""",
        {"model": model_id, "kbs": json.dumps(list(kbs))},
    ).fetchall()
    characters = {status: length for status, _, length in rows}
    unfinished: int = characters.get("pending", 0) + characters.get("processing", 0)
    return QueueCounts(**{status: number for status, number, _ in rows}), unfinished


def _of_these(kbs: Collection[str]) -> str:
    """The condition that confines a query to some knowledge bases."""
    return "kb_name IN (SELECT value FROM json_each(:kbs))" if kbs else "TRUE"


def failures(
    conn: sqlite3.Connection, kb: str | None = None, limit: int | None = None
) -> list[Failure]:
    """Failed rows, newest first."""
    rows = conn.execute(
        """SELECT kb_name, entry_id, revision, error, attempts, finished_at FROM embed_queue
           WHERE status = 'failed' AND (:kb IS NULL OR kb_name = :kb)
           ORDER BY finished_at DESC, kb_name, entry_id LIMIT :limit""",
        {"kb": kb, "limit": -1 if limit is None else limit},
    )
    return [Failure(*row) for row in rows]


def of_revision(
    conn: sqlite3.Connection, revision: int, model_id: int | None = None
) -> Status | None:
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


def _last_error(conn: sqlite3.Connection, kbs: Collection[str]) -> LastError | None:
    """The newest error in the queue."""
    row = conn.execute(
        f"""SELECT kb_name, entry_id, error, error_at
            FROM embed_queue INDEXED BY queue_errors
            WHERE error IS NOT NULL AND {_of_these(kbs)} ORDER BY error_at DESC LIMIT 1""",
        {"kbs": json.dumps(list(kbs))},
    ).fetchone()
    return None if row is None else LastError(*row)


def _oldest_pending(conn: sqlite3.Connection, kbs: Collection[str]) -> float | None:
    """When the longest waiting row was queued."""
    # One look into the index for each priority, and the few rows that wait for a retry.
    scope = _of_these(kbs)
    row = conn.execute(
        f"""SELECT min(at) FROM (
                SELECT (SELECT queued_at FROM embed_queue INDEXED BY queue_ready
                        WHERE {READY} AND {scope} AND priority = p.column1
                        ORDER BY queued_at LIMIT 1) AS at
                FROM (VALUES ({INTERACTIVE}), ({BULK}), ({SUSPECT})) AS p
                UNION ALL
                SELECT min(queued_at) FROM embed_queue INDEXED BY queue_later
                WHERE status = 'pending' AND available_at IS NOT NULL AND {scope})""",
        {"kbs": json.dumps(list(kbs))},
    ).fetchone()
    oldest: float | None = row[0]
    return oldest
