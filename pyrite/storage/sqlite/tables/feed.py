"""SQL over the feed: numbered events, written in the transaction that they tell of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from actors.messages import Claim, Event
from pyrite.storage.records import FeedBounds
from pyrite.storage.sqlite.driver import sqlite3

EMBED_COMPLETE = "embed_complete"
EMBED_FAILED = "embed_failed"
ENTRY_CREATED = "entry_created"
ENTRY_UPDATED = "entry_updated"
ENTRY_DELETED = "entry_deleted"
KB_ADDED = "kb_added"
KB_REMOVED = "kb_removed"

Detail = Mapping[str, str | int | float | None]


def append(
    conn: sqlite3.Connection,
    event_type: str,
    kb: str,
    entry_id: str,
    revision: int,
    at: float,
    detail: Detail | None = None,
) -> Event:
    """Write the next event."""
    detail = detail or {}
    cursor = conn.execute(
        "INSERT INTO events (type, kb_name, entry_id, revision, at, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (event_type, kb, entry_id, revision, at, json.dumps(detail, ensure_ascii=False)),
    )
    assert cursor.lastrowid is not None
    return Event(cursor.lastrowid, event_type, kb, entry_id, revision, at, detail)


def append_bare(conn: sqlite3.Connection, rows: Iterable[tuple[str, str, str, int, float]]) -> None:
    """Write events (type, knowledge base, entry, revision, time) that have no detail."""
    conn.executemany(
        "INSERT INTO events (type, kb_name, entry_id, revision, at, detail)"
        " VALUES (?, ?, ?, ?, ?, '{}')",
        rows,
    )


def append_completed(
    conn: sqlite3.Connection,
    done: Sequence[Claim],
    queued_at: Mapping[str, float],
    now: float,
) -> list[Event]:
    """Write an event for each claim that is done, given when it had been queued, by token."""
    completed = [
        Event(
            seq=seq,
            type=EMBED_COMPLETE,
            kb=claim.kb,
            entry_id=claim.entry_id,
            revision=claim.revision,
            at=now,
            detail={
                "queued_at": (queued := queued_at[claim.token]),
                "embedded_at": now,
                "duration_ms": round((now - queued) * 1000, 3),
            },
        )
        for seq, claim in enumerate(done, last_seq(conn) + 1)
    ]
    conn.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (e.seq, e.type, e.kb, e.entry_id, e.revision, e.at, json.dumps(e.detail))
            for e in completed
        ),
    )
    return completed


def events(conn: sqlite3.Connection, since: int, limit: int) -> list[Event]:
    """Events numbered above ``since``."""
    rows = conn.execute(
        "SELECT seq, type, kb_name, entry_id, revision, at, detail FROM events"
        " WHERE seq > ? ORDER BY seq LIMIT ?",
        (since, limit),
    )
    return [
        Event(seq, event_type, kb, entry_id, revision, at, json.loads(detail))
        for seq, event_type, kb, entry_id, revision, at, detail in rows
    ]


def last_seq(conn: sqlite3.Connection) -> int:
    """The number of the newest event, even if it has been pruned since; 0 before the first."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if row is None else int(row[0])


def bounds(conn: sqlite3.Connection) -> FeedBounds:
    """Which events there are."""
    last = last_seq(conn)
    first: int | None = conn.execute("SELECT min(seq) FROM events").fetchone()[0]
    return FeedBounds(last + 1 if first is None else first, last)


def prune(conn: sqlite3.Connection, through: int) -> int:
    """Delete the events numbered up to this; returns how many there were."""
    return conn.execute("DELETE FROM events WHERE seq <= ?", (through,)).rowcount
