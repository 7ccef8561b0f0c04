"""What `problems` says of a database that is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyrite.storage.records import WordQuery
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import Worker, write

WORDS = "words that are not those of the entries"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(tmp_path / "pyrite.db")) as opened:
        opened.add_kb("kb", "/kb", now=0.0)
        for name in ("a", "b"):
            write(opened, "kb", name, f"one\n{name}")
        Worker(opened).embed_all()
        assert opened.problems() == {}
        yield opened


def spoil(storage: SqliteStorage, *statements: str) -> None:
    """Do what the product never does; no constraint is in the way."""
    writer = storage._db._writer
    writer.execute("PRAGMA foreign_keys = OFF")
    for statement in statements:
        writer.execute(statement)
    writer.execute("PRAGMA foreign_keys = ON")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM embed_queue WHERE entry_id = 'a'", "entries without a queue row"),
        (
            "UPDATE embed_queue SET entry_id = 'c' WHERE entry_id = 'a'",
            "queue rows without an entry",
        ),
        (
            "UPDATE embed_queue SET revision = 99 WHERE entry_id = 'a'",
            "queue rows of another revision than their entry",
        ),
        (
            "DELETE FROM chunks WHERE entry_id = 'a'",
            "embedded entries whose embedding is missing or of an older text",
        ),
        (
            "UPDATE chunks SET revision = 0 WHERE entry_id = 'a'",
            "embedded entries whose embedding is missing or of an older text",
        ),
        ("UPDATE chunks SET embedding_id = 99 WHERE ordinal = 1", "chunks without an embedding"),
        ("UPDATE chunks SET model_id = 99 WHERE ordinal = 1", "chunks without an embedding"),
        ("DELETE FROM embeddings WHERE id = 1", "chunks without an embedding"),
        ("DELETE FROM embeddings WHERE id = 1", "rows that refer to nothing"),
        ("UPDATE queue_counts SET n = n + 1", "counts of the queue that are wrong"),
        (
            "UPDATE queue_counts SET characters = characters + 1",
            "counts of the queue that are wrong",
        ),
        ("DELETE FROM queue_counts", "counts of the queue that are wrong"),
        ("UPDATE models SET embeddings = embeddings + 1", "counts of embeddings that are wrong"),
    ],
)
def test_broken_promises_show(storage: SqliteStorage, statement: str, problem: str) -> None:
    spoil(storage, statement)

    assert problem in storage.problems()


def test_counting_follows_every_change(storage: SqliteStorage) -> None:
    spoil(storage, "UPDATE embed_queue SET characters = characters + 5")
    spoil(storage, "UPDATE embed_queue SET status = 'failed' WHERE entry_id = 'a'")
    spoil(storage, "DELETE FROM embed_queue WHERE entry_id = 'b'")

    assert "counts of the queue that are wrong" not in storage.problems()


NO_TRIGGERS = [f"DROP TRIGGER entry_words_{event}" for event in ("insert", "delete", "update")]


@pytest.mark.parametrize(
    "statements",
    [
        [*NO_TRIGGERS, "UPDATE entries SET body = 'another text' WHERE entry_id = 'a'"],
        [*NO_TRIGGERS, "UPDATE entries SET title = 'another' WHERE entry_id = 'a'"],
        [*NO_TRIGGERS, "UPDATE entries SET tags = '[\"another\"]' WHERE entry_id = 'a'"],
        [*NO_TRIGGERS, "DELETE FROM entries WHERE entry_id = 'a'"],
        ["INSERT INTO entry_words (entry_words) VALUES ('delete-all')"],
        ["DELETE FROM entry_words_docsize"],
        ["UPDATE entry_words_data SET block = zeroblob(length(block)) WHERE id > 10"],
        ["UPDATE entry_words_data SET block = substr(block, 1, length(block) / 2) WHERE id > 10"],
        ["DELETE FROM entry_words_data WHERE id > 10"],
    ],
    ids=[
        *("body", "title", "tags", "entry gone", "emptied", "no sizes", "zeros", "cut off"),
        "block gone",
    ],
)
def test_a_full_text_index_that_is_wrong_shows(
    storage: SqliteStorage, statements: list[str]
) -> None:
    spoil(storage, *statements)

    problems = storage.problems()
    assert WORDS in problems
    assert problems[WORDS]
    # Looking has spoilt nothing more: it can be looked at again, and written to.
    assert WORDS in storage.problems()
    storage.add_kb("another", "/another", now=1.0)


def test_what_was_merged_since_the_last_search_is_no_damage(tmp_path: Path) -> None:
    for count in range(10, 20):  # the full-text index merges its parts after some of them
        path = tmp_path / f"{count}.db"
        with closing(SqliteStorage(path)) as first:
            first.add_kb("kb", "/kb", now=0.0)
            for number in range(count):
                write(first, "kb", str(number))
        with closing(SqliteStorage(path)) as storage:
            assert storage.with_words(WordQuery(("text",)), limit=3)
            write(storage, "kb", "new")
            assert storage.problems() == {}


def test_the_full_text_index_can_be_made_anew(storage: SqliteStorage) -> None:
    spoil(storage, "INSERT INTO entry_words (entry_words) VALUES ('delete-all')")
    assert storage.with_words(WordQuery(("one",)), limit=9) == []
    spoil(storage, "INSERT INTO entry_words (entry_words) VALUES ('rebuild')")

    assert storage.problems() == {}
    assert len(storage.with_words(WordQuery(("one",)), limit=9)) == 2
