"""Which transactions long work takes: others write in between, and nothing is written in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyrite.storage.driver import sqlite3
from pyrite.storage.records import FeedBounds
from pyrite.storage.sqlite import transactions
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import write


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(tmp_path / "pyrite.db")) as opened:
        opened.add_kb("kb", "/kb", now=0.0)
        for number in range(9):
            write(opened, "kb", str(number))
        yield opened


@pytest.fixture
def commits(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events there were after each commit."""
    seen: list[int] = []

    def commit(conn: sqlite3.Connection) -> None:
        (count,) = conn.execute("SELECT count(*) FROM events").fetchone()
        conn.execute("COMMIT")
        seen.append(count)

    monkeypatch.setattr(storage._db, "commit", commit)
    return seen


def test_events_are_pruned_in_slices(
    storage: SqliteStorage, commits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "_PRUNED", 3)

    assert storage.prune_events(2) == 8
    assert commits == [7, 4, 2]
    assert storage.feed_bounds() == FeedBounds(9, 10)


def test_pruning_nothing_writes_nothing(storage: SqliteStorage, commits: list[int]) -> None:
    assert storage.prune_events(10) == 0
    assert storage.prune_events(1_000) == 0
    assert commits == []
