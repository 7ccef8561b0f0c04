"""Which transactions long work takes: others write in between, and nothing is written in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyrite.storage.records import FeedBounds
from pyrite.storage.sqlite import store
from pyrite.storage.sqlite.driver import sqlite3
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
    monkeypatch.setattr(store, "_PRUNED", 3)

    assert storage.prune_events(2) == 8
    assert commits == [7, 4, 2]
    assert storage.feed_bounds() == FeedBounds(9, 10)


def test_pruning_nothing_writes_nothing(storage: SqliteStorage, commits: list[int]) -> None:
    assert storage.prune_events(10) == 0
    assert storage.prune_events(1_000) == 0
    assert commits == []


def test_others_write_while_a_large_knowledge_base_is_forgotten(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []

    def turn(seconds: float) -> None:
        left.append(len(storage.files("kb")))
        if seconds:
            # It would wait for thirty seconds, and fail, if the lock were held.
            write(other, "other", str(len(left)))

    monkeypatch.setattr(store, "_FORGOTTEN", 4)
    monkeypatch.setattr("pyrite.storage.sqlite.store.time.sleep", turn)
    with closing(SqliteStorage(storage.path)) as other:
        other.add_kb("other", "/other", now=0.0)
        assert storage.remove_kb("kb", now=1.0)

    assert left == [5, 1, 0]
    assert [kb.name for kb in storage.kbs()] == ["other"]
    assert storage.counts() == storage.counts("other")
    assert storage.counts().pending == 3
    assert storage.problems() == {}
