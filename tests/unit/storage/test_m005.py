"""The migration that reads the names of entries that are there already."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from pyrite.markdown.link_targets import Named, key_of
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.migrate import migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS
from pyrite.storage.sqlite.store import SqliteStorage

ENTRIES = {
    "f/a": ("First", {"aliases": ["Straße", "first"]}),
    "b": ("B", {}),
    "c": ("Third", {"alias": "x, y"}),
}


def test_names_are_those_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "pyrite.db"
    path.touch()
    with closing(connect(path)) as conn:
        migrate(conn, path, dict(list(MIGRATIONS.items())[:4]))
        conn.execute("INSERT INTO kbs VALUES ('kb', '/kb', 1.5)")
        for number, (name, (title, fields)) in enumerate(ENTRIES.items(), 1):
            conn.execute(
                """INSERT INTO entries VALUES (?, 'kb', ?, 'p', x'00', NULL, NULL, NULL, NULL,
                                               ?, 2.5, 'note', ?, '', '[]', ?, 'text')""",
                (number * 10, name, number, title, json.dumps(fields)),
            )
            conn.execute(
                """INSERT INTO embed_queue (kb_name, entry_id, revision, characters, status,
                                            queued_at, priority)
                   VALUES ('kb', ?, ?, ?, 'pending', 2.5, 0)""",
                (name, number, len(title) + 4),
            )
        conn.execute("UPDATE sequences SET value = 9 WHERE name = 'revision'")

    with closing(SqliteStorage(path)) as storage:
        for name, ids in {
            "A": ["f/a"],
            "first": ["f/a"],
            "STRASSE": ["f/a"],
            "B": ["b"],
            "y": ["c"],
            "f/a": [],
        }.items():
            assert [named.id for named in storage.names("kb", [key_of(name)])] == ids, name
        assert storage.names("kb", ["x"]) == [Named("c", "Third", ("x", "y"))]
        assert storage.problems() == {}
    assert list(tmp_path.glob("*.backup")) == []
