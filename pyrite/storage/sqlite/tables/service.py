"""SQL over what the processes of a service share: workers, the right to embed, tokens and jobs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, replace

from pyrite.errors import ConflictError
from pyrite.storage.queue_protocol import CLOCK_ERROR_S
from pyrite.storage.queue_records import Leader, WorkerRow
from pyrite.storage.records import JobRow, TokenRow
from pyrite.storage.sqlite.driver import sqlite3

#: Jobs that are remembered.
_JOBS_KEPT = 100

_JOB = """job_id, kind, kb, state, done, total, result, error, created_at, updated_at,
          pid, host, process_started"""


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
    """All workers, latest heartbeat first."""
    rows = conn.execute("SELECT * FROM workers ORDER BY heartbeat_at DESC")
    return [WorkerRow(*row) for row in rows]


def leader(conn: sqlite3.Connection) -> Leader | None:
    """Who took the right last and has not given it back, lapsed or not."""
    row = conn.execute(
        "SELECT worker_id, pid, host, process_started, since, expires_at FROM leadership"
    ).fetchone()
    return None if row is None else Leader(*row)


def leader_after(held: Leader | None, candidate: Leader, dead: Collection[str]) -> Leader:
    """Who has the right after a candidate asked for it."""
    if held is None:
        return candidate
    if held.worker_id == candidate.worker_id:
        return replace(candidate, since=held.since)
    if held.expires_at <= candidate.since or held.worker_id in dead:
        return candidate
    if held.expires_at > candidate.expires_at + CLOCK_ERROR_S:
        # The clock was set back: unless it is renewed, it lapses after one lease, not after days.
        return replace(held, expires_at=candidate.expires_at)
    return held


def lead(conn: sqlite3.Connection, candidate: Leader, dead: Collection[str]) -> Leader:
    """Take the right, or renew it, if that is possible; returns who has it now."""
    held = leader(conn)
    found = leader_after(held, candidate, dead)
    if found != held:
        conn.execute(
            "INSERT OR REPLACE INTO leadership VALUES (1, ?, ?, ?, ?, ?, ?)", astuple(found)
        )
    return found


def resign(conn: sqlite3.Connection, worker_id: str) -> None:
    """Give the right back."""
    conn.execute("DELETE FROM leadership WHERE worker_id = ?", (worker_id,))


def add_token(conn: sqlite3.Connection, token: TokenRow) -> None:
    """Store a token."""
    if conn.execute("SELECT 1 FROM tokens WHERE name = ?", (token.name,)).fetchone():
        taken = f"there is a token {token.name!r} already; choose another name"
        raise ConflictError(f"{taken}, or `pyrite token revoke {token.name}` first", public=taken)
    conn.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)", astuple(token))


def tokens(conn: sqlite3.Connection) -> list[TokenRow]:
    """All tokens by name."""
    return [TokenRow(*row) for row in conn.execute("SELECT * FROM tokens ORDER BY name")]


def revoke_token(conn: sqlite3.Connection, name: str) -> bool:
    """Forget a token; False if there was none of that name."""
    return conn.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount > 0


def put_job(conn: sqlite3.Connection, job: JobRow) -> None:
    """Store a job, or its progress; of too many, those that ended go first."""
    conn.execute(
        f"""INSERT INTO jobs ({_JOB}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
        (_JOBS_KEPT,),
    )


def jobs(conn: sqlite3.Connection) -> list[JobRow]:
    """The jobs that are remembered, newest first."""
    rows = conn.execute(f"SELECT {_JOB} FROM jobs ORDER BY created_at DESC, number DESC")
    return [JobRow(*row) for row in rows]
