"""SQL over long work."""

from __future__ import annotations

from dataclasses import astuple

from pyrite.storage.records import JobRow
from pyrite.storage.sqlite.driver import sqlite3

#: Jobs that are remembered.
KEPT = 100

_COLUMNS = """job_id, kind, kb, state, done, total, result, error, created_at, updated_at,
              pid, host, process_started"""


def put(conn: sqlite3.Connection, job: JobRow) -> None:
    """Enter a job, or what is new of it; of too many, those that ended go first."""
    conn.execute(
        f"""INSERT INTO jobs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (job_id) DO UPDATE SET
                state = excluded.state, done = excluded.done, total = excluded.total,
                result = excluded.result, error = excluded.error,
                updated_at = excluded.updated_at, pid = excluded.pid, host = excluded.host,
                process_started = excluded.process_started""",
        astuple(job),
    )
    conn.execute(
        """DELETE FROM jobs WHERE number NOT IN (
               SELECT number FROM jobs
               ORDER BY state = 'running' DESC, created_at DESC, number DESC LIMIT ?)""",
        (KEPT,),
    )


def jobs(conn: sqlite3.Connection) -> list[JobRow]:
    """All that are remembered, newest first."""
    rows = conn.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY created_at DESC, number DESC")
    return [JobRow(*row) for row in rows]
