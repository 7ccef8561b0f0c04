"""SQL over the processes that embed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple

from pyrite.storage.records import WorkerRow
from pyrite.storage.sqlite.driver import sqlite3


def beat(conn: sqlite3.Connection, worker: WorkerRow) -> None:
    """Write a heartbeat."""
    conn.execute(
        """INSERT INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (worker_id) DO UPDATE SET
               heartbeat_at = excluded.heartbeat_at, state = excluded.state,
               reason = excluded.reason, model = excluded.model,
               tokens_per_s = excluded.tokens_per_s,
               characters_per_s = excluded.characters_per_s, kb = excluded.kb""",
        astuple(worker),
    )


def retire(conn: sqlite3.Connection, worker_ids: Collection[str]) -> None:
    """Forget workers."""
    conn.executemany(
        "DELETE FROM workers WHERE worker_id = ?", [(worker_id,) for worker_id in worker_ids]
    )


def workers(conn: sqlite3.Connection) -> list[WorkerRow]:
    """All that have not been forgotten, latest heartbeat first."""
    rows = conn.execute("SELECT * FROM workers ORDER BY heartbeat_at DESC")
    return [WorkerRow(*row) for row in rows]
