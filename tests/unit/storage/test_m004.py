"""The migration that reads the links of entries that are there already."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pyrite.markdown.links import links_of
from pyrite.storage.records import LinkRow
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrate import migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS
from pyrite.storage.sqlite.store import SqliteStorage

BODIES = {
    "a": "one [[b]]\n\n[x](c.md) ![[d#e|f]]",
    "b": "`[[no]]` and nothing",
    "c": "[ref]: a.md",
    "d": "",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of the third schema, with entries."""
    path = tmp_path / "pyrite.db"
    path.touch()
    with closing(connect(path)) as conn:
        migrate(conn, path, dict(list(MIGRATIONS.items())[:3]))
        conn.execute("INSERT INTO kbs VALUES ('kb', '/kb', 1.5)")
        for number, (name, body) in enumerate(BODIES.items(), 1):
            conn.execute(
                """INSERT INTO entries VALUES (?, 'kb', ?, ?, x'00', NULL, NULL, NULL, NULL,
                                               ?, 2.5, 'note', 'A', '', '[]', '{}', ?)""",
                (number * 10, name, f"{name}.md", number, body),
            )
            conn.execute(
                """INSERT INTO embed_queue (kb_name, entry_id, revision, characters, status,
                                            queued_at, priority)
                   VALUES ('kb', ?, ?, ?, 'pending', 2.5, 0)""",
                (name, number, 1 + len(body)),
            )
        conn.execute("UPDATE sequences SET value = 9 WHERE name = 'revision'")
    return path


def test_links_are_those_of_the_bodies(path: Path) -> None:
    with closing(SqliteStorage(path)) as storage:
        wanted = [
            LinkRow("kb", name, f"{name}.md", number, link)
            for name, body in BODIES.items()
            for number, link in enumerate(links_of(body))
        ]
        assert storage.links_after("kb", None, 9) == wanted
        assert len(wanted) == 4
        assert [row.entry_id for row in storage.links("kb", keys=["b"])] == ["a"]
        assert storage.problems() == {}


def test_it_needs_no_copy_and_makes_the_schema_of_a_new_database(
    path: Path, tmp_path: Path
) -> None:
    SqliteStorage(path).close()
    SqliteStorage(tmp_path / "new.db").close()

    assert list(tmp_path.glob("*.backup")) == []
    schemas = []
    for each in (path, tmp_path / "new.db"):
        with closing(sqlite3.connect(each)) as conn:
            rows = conn.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
            schemas.append(set(rows.fetchall()))
    assert schemas[0] == schemas[1]
