"""The third migration adds to a database of the second schema, and rewrites nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyrite.storage.queue_records import WorkerRow
from pyrite.storage.records import FeedBounds
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrate import migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS, REWRITING
from pyrite.storage.sqlite.store import SqliteStorage

NEW = {"leadership", "tokens", "jobs"}


def rows(conn: sqlite3.Connection) -> dict[str, list[tuple]]:
    """All that the tables hold, but for the notes of the migrations themselves."""
    names = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        name: conn.execute(f"SELECT * FROM {name}").fetchall()
        for (name,) in names
        if name != "_sqlite_migrations"
    }


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A database of the second schema, with an entry and a worker."""
    path = tmp_path / "pyrite.db"
    path.touch()
    with closing(connect(path)) as conn:
        migrate(conn, path, dict(list(MIGRATIONS.items())[:2]), REWRITING)
        conn.execute("INSERT INTO kbs VALUES ('kb', '/kb', 1.5)")
        conn.execute(
            """INSERT INTO entries VALUES (1, 'kb', 'a', 'a.md', x'00', NULL, NULL, NULL, NULL,
                                           1, 2.5, 'note', 'A', '', '[]', '{}', 'body')"""
        )
        conn.execute(
            """INSERT INTO embed_queue (kb_name, entry_id, revision, characters, status,
                                        queued_at, priority)
               VALUES ('kb', 'a', 1, 5, 'pending', 2.5, 0)"""
        )
        conn.execute("UPDATE sequences SET value = 1 WHERE name = 'revision'")
        conn.execute("INSERT INTO workers VALUES ('w', 7, 'h', 's', 1, 2, 'idle', NULL, 'm', 3, 4)")
        conn.execute("INSERT INTO events VALUES (5, 'embed_complete', 'kb', 'a', 1, 60.0, '{}')")
    return path


def test_what_was_there_is_as_it_was(path: Path) -> None:
    with closing(connect(path)) as conn:
        before = rows(conn)
        migrate(conn, path, dict(list(MIGRATIONS.items())[:3]), REWRITING)
        after = rows(conn)

    assert after.keys() - before.keys() == NEW
    after["workers"] = [row[:-1] for row in after["workers"]]
    assert {name: found for name, found in after.items() if name not in NEW} == before
    assert list(path.parent.glob("*.backup")) == []


def test_what_is_new_can_be_asked_for(path: Path) -> None:
    with closing(SqliteStorage(path)) as storage:
        assert storage.problems() == {}
        assert storage.feed_bounds() == FeedBounds(5, 5)
        assert storage.workers() == [
            WorkerRow("w", 7, "h", "s", 1.0, 2.0, "idle", None, "m", 3.0, 4.0, None)
        ]
        assert (storage.leader(), storage.tokens(), storage.jobs()) == (None, [], [])


def test_the_schema_is_that_of_a_new_database(path: Path, tmp_path: Path) -> None:
    def schema(path: Path) -> set[tuple[str, str, str]]:
        SqliteStorage(path).close()
        with closing(sqlite3.connect(path)) as conn:
            found = conn.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
            return set(found.fetchall())

    assert schema(path) == schema(tmp_path / "new.db")
