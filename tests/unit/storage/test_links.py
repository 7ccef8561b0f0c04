"""How SQLite goes about links, however many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.storage.sqlite.tables import links
from tests.conformance.hands import entry, record, write


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(tmp_path / "pyrite.db")) as opened:
        opened.add_kb("kb", "/kb", now=0.0)
        yield opened


def plan(storage: SqliteStorage, statement: str, values: Any) -> list[str]:
    with storage._db.read() as conn:
        return [row[-1] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


def test_both_ends_of_a_link_and_names_are_found_by_an_index(storage: SqliteStorage) -> None:
    by_entry = plan(storage, links._OF_ENTRY, ("kb", "a"))
    by_key = plan(storage, links._OF_KEYS, ('["a"]', "kb"))
    following = plan(storage, links._FOLLOWING, {"kb": "kb", "last": "a", "ordinal": 1, "limit": 9})
    by_name = plan(storage, links._NAMES, ('["a"]', "kb"))
    gone = plan(storage, links._FORGET, ('[["kb", "a"]]',))

    assert any("SEARCH l USING PRIMARY KEY (entry=?)" in step for step in by_entry)
    assert any("SEARCH l USING INDEX link_keys (key=?)" in step for step in by_key)
    assert any("SEARCH links USING PRIMARY KEY (entry=?)" in step for step in gone)
    assert any(
        "SEARCH e USING INDEX sqlite_autoindex_entries_1 (kb_name=? AND entry_id>?)" in step
        for step in following
    )
    assert any("SEARCH n USING COVERING INDEX entry_name_keys (key=?)" in step for step in by_name)
    steps = (*by_entry, *by_key, *following, *by_name, *gone)
    assert "USE TEMP B-TREE FOR ORDER BY" not in following
    walks = [step for step in steps if step.startswith("SCAN")]
    assert all("VIRTUAL TABLE" in step for step in walks)


def test_a_body_without_links_costs_no_statement(storage: SqliteStorage) -> None:
    write(storage, "kb", "there")
    statements: list[str] = []
    with storage.writing() as writing:
        storage._db._writer.set_trace_callback(statements.append)
        writing.upsert([record("kb", entry("new", "see `[[this]]`"))], priority=0, now=0.0)
        storage._db._writer.set_trace_callback(None)

    assert statements
    assert not any(re.search(r"\blinks\b", statement) for statement in statements)
