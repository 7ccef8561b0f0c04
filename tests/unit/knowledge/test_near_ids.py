"""Ids near one that there is not are found wherever they are in a knowledge base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from pyrite.knowledge import near_ids as module
from pyrite.knowledge.near_ids import MOST, near_ids
from pyrite.storage.records import BULK
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import entry, record
from tests.fakes.database import new_database


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(new_database(tmp_path / "pyrite.db"))) as opened:
        for kb in ("kb", "other"):
            opened.add_kb(kb, f"/{kb}", now=0.0)
        yield opened


def put(storage: SqliteStorage, *ids: str, kb: str = "kb", **more: object) -> None:
    records = [record(kb, entry(each, **more)) for each in ids]  # type: ignore[arg-type]
    with storage.writing() as writing:
        writing.upsert(records, priority=BULK, now=0.0)


def test_the_same_last_part_goes_before_what_is_spelled_alike(storage: SqliteStorage) -> None:
    put(storage, "guide/backups", "archive/Setup", "guides/setups", "unrelated", "guide/set")

    assert near_ids(storage, "kb", "guide/setup.md") == [
        "archive/Setup",
        "guides/setups",
        "guide/set",
        "guide/backups",
    ]
    assert near_ids(storage, "kb", "zzz") == []
    assert near_ids(storage, "other", "guide/setup") == []


def test_an_entry_of_that_title_or_alias_is_near(storage: SqliteStorage) -> None:
    put(storage, "2024/03", title="Yearly Report")
    put(storage, "x", fields={"aliases": ["yearly report"]})
    put(storage, "y", title="Monthly report")

    assert near_ids(storage, "kb", "yearly report") == ["2024/03", "x"]


def test_case_does_not_count_and_the_alikest_are_kept(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    put(storage, *(f"chapter-{number}" for number in range(20)), "CHAPTER-A", "zchapter-a")

    found = near_ids(storage, "kb", "chapter-aa")
    assert len(found) == MOST
    assert found[:2] == ["CHAPTER-A", "zchapter-a"]


def test_ids_are_looked_through_in_parts_and_not_for_ever(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    put(storage, "note-1", "note-2", "note-3", "note-4", "note-5")
    asked: list[str] = []
    ids = storage.ids

    def watched(kb: str, after: str, limit: int) -> list[str]:
        asked.append(after)
        return ids(kb, after, limit)

    monkeypatch.setattr(storage, "ids", watched)
    assert near_ids(storage, "kb", "note-x") == [f"note-{n}" for n in (1, 2, 3, 4, 5)]
    assert asked == ["", "note-2", "note-4", "note-5"]
    seconds = count(0.0, 0.6 * module._LONGEST_S)
    assert near_ids(storage, "kb", "note-x", lambda: next(seconds)) == ["note-1", "note-2"]
