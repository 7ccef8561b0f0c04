"""SQL over the right to embed, which one process has at a time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, replace

from pyrite.storage.queue_protocol import CLOCK_ERROR_S
from pyrite.storage.records import Leader
from pyrite.storage.sqlite.driver import sqlite3


def leader(conn: sqlite3.Connection) -> Leader | None:
    """Who took the right last and has not given it back, lapsed or not."""
    row = conn.execute(
        "SELECT worker_id, pid, host, process_started, since, expires_at FROM leadership"
    ).fetchone()
    return None if row is None else Leader(*row)


def after(held: Leader | None, candidate: Leader, dead: Collection[str]) -> Leader:
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
    found = after(held, candidate, dead)
    if found != held:
        conn.execute(
            "INSERT OR REPLACE INTO leadership VALUES (1, ?, ?, ?, ?, ?, ?)", astuple(found)
        )
    return found


def resign(conn: sqlite3.Connection, worker_id: str) -> None:
    """Give the right back."""
    conn.execute("DELETE FROM leadership WHERE worker_id = ?", (worker_id,))
