"""Reading is broken off after its time, and the connection goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pyrite.errors import TimeLimitError
from pyrite.storage.records import BULK, Filters, WordQuery
from pyrite.storage.sqlite import time_limit
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import entry, record


def test_a_long_search_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "_STEPS", 10)
    with closing(SqliteStorage(tmp_path / "pyrite.db")) as storage:
        storage.add_kb("kb", "/kb", now=0.0)
        with storage.writing() as writing:
            records = [record("kb", entry(f"e{n}", "common")) for n in range(200)]
            writing.upsert(records, priority=BULK, now=0.0)
        with storage.time_limit(0.0):
            with pytest.raises(TimeLimitError, match="search_limit_s"):
                storage.with_words(WordQuery(("common",)), limit=9)
            with pytest.raises(TimeLimitError):
                storage.entries(Filters(tags=("x",)))
        assert len(storage.with_words(WordQuery(("common",)), limit=9)) == 9
        with storage.time_limit(60.0):
            assert len(storage.with_words(WordQuery(("common",)), limit=9, ranked=False)) == 9
