"""The sixth migration adds to knowledge bases what is not known of them before a sync."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pyrite.storage.records import KnowledgeBase
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.migrate import migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS
from pyrite.storage.sqlite.store import SqliteStorage


def test_known_ones_stay_available_and_no_copy_is_made(tmp_path: Path) -> None:
    path = tmp_path / "pyrite.db"
    path.touch()
    with closing(connect(path)) as conn:
        migrate(conn, path, dict(list(MIGRATIONS.items())[:5]))
        conn.execute("INSERT INTO kbs VALUES ('kb', '/kb', 1.5)")
    with closing(SqliteStorage(path)) as storage:
        assert storage.kbs() == [KnowledgeBase("kb", "/kb", 1.5)]
        storage.set_availability("kb", device=7, unavailable="all files are gone")
        assert storage.kbs() == [KnowledgeBase("kb", "/kb", 1.5, 7, "all files are gone")]
        assert storage.problems() == {}
    assert list(tmp_path.glob("*.backup")) == []
