"""The second migration, over a database as the first one left it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from actors.lifecycle import Status
from pyrite.markdown.entry import Entry
from pyrite.storage.queue_records import Failure, LastError, QueueCounts, WorkerRow
from pyrite.storage.records import (
    NO_MODEL,
    FileRow,
    FileStamp,
    Filters,
    KnowledgeBase,
    Model,
    StoredEntry,
    WordQuery,
)
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrate import applied_count, migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.files import digest_of
from tests.conformance.hands import (
    POLICY,
    Worker,
    highlights,
    layout,
    true_vectors,
    vector,
    vectors,
    write,
)

#: Entry, status, attempts, error, force, model, claim; the row's revision is its place, from 11.
QUEUE = (
    ("due", "pending", 0, None, 0, None, None),
    ("forced", "pending", 0, None, 1, None, None),
    ("waiting", "pending", 2, "for a while", 0, None, None),
    ("held", "processing", 1, None, 0, None, "token"),
    ("held again", "processing", 2, "lost once", 0, 1, "another"),
    ("done", "done", 1, None, 0, 1, None),
    ("done otherwise", "done", 1, None, 0, 2, None),
    ("failed", "failed", 3, "no good", 0, None, None),
    ("failed by force", "failed", 3, "no better", 1, 1, None),
)
BODY = "# Heading\n\nThe café's common text, with a 🪨 and 'quotes'."
TITLE, SUMMARY = "Títle of 🪨", "Short and good"
CHARACTERS = len(TITLE) + len(SUMMARY) + len(BODY)
FIELDS = {"date": "2024-05-06", "list": [1, None, {"a": "ü"}]}
TEXTS = ("one", "two", "three")
WORKER = WorkerRow("w", 7, "host", "then", 1.0, 2.0, "idle", None, "a model")


def fill(conn: sqlite3.Connection) -> None:
    """What a database of the first schema may hold."""
    conn.execute("INSERT INTO kbs VALUES ('kb', '/kb', 1.5), ('empty', '/empty', 2.5)")
    conn.executemany("INSERT INTO models VALUES (?, ?, ?)", [(1, "print", "a"), (2, "other", "b")])
    for model_id, suffix in ((1, ""), (2, "'")):
        conn.executemany(
            "INSERT INTO embeddings VALUES (?, ?, ?)",
            [(model_id, digest_of(t.encode()), vector(t + suffix).tobytes()) for t in TEXTS],
        )
    for number, (name, status, attempts, error, force, model_id, token) in enumerate(QUEUE):
        conn.execute(
            "INSERT INTO entries VALUES ('kb', ?, ?, ?, 3, 4, 5, -6, ?, ?, 'note', ?, ?, ?, ?, ?)",
            (
                *(name, f"{name}.md", name.encode(), 11 + number, 100.25 + number, TITLE, SUMMARY),
                *(json.dumps(["red", "blue"]), json.dumps(FIELDS, ensure_ascii=False), BODY),
            ),
        )
        conn.execute(
            """INSERT INTO embed_queue VALUES
               ('kb', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                *(name, 11 + number, status, 50.0 + number, number % 3),
                *(1e9 if name == "waiting" else None, attempts, error, error and 70.0 + number),
                *(force, token, token and "w", token and 1e9),
                *(60.0 + number if status in {"done", "failed"} else None, model_id),
            ),
        )
    for name, model_id in (("done", 1), ("done otherwise", 2), ("failed by force", 1)):
        conn.executemany(
            "INSERT INTO chunks VALUES ('kb', ?, ?, ?, ?, 0, 3, 5)",
            [(name, place, model_id, digest_of(t.encode())) for place, t in enumerate(TEXTS)],
        )
    conn.execute("UPDATE sequences SET value = 40 WHERE name = 'revision'")
    conn.execute("INSERT INTO events VALUES (5, 'embed_complete', 'kb', 'done', 16, 60.0, '{}')")
    conn.execute(
        "INSERT INTO workers VALUES ('w', 7, 'host', 'then', 1, 2, 'idle', NULL, 'a model')"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of the first schema."""
    path = tmp_path / "pyrite.db"
    first = dict(list(MIGRATIONS.items())[:1])
    path.touch()
    with closing(connect(path)) as conn:
        migrate(conn, path, first, ())
        fill(conn)
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        counted = conn.execute("SELECT sum(n) FROM queue_counts").fetchone()
        assert counted == (len(QUEUE),)
    return path


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    """It again, brought up to the present schema; afterwards it must be sound."""
    with closing(SqliteStorage(path)) as opened:
        yield opened
        assert opened.problems() == {}


def test_what_people_wrote_is_kept(storage: SqliteStorage) -> None:
    assert storage.kbs() == [
        KnowledgeBase("empty", "/empty", 2.5),
        KnowledgeBase("kb", "/kb", 1.5),
    ]
    assert [stored.entry.id for stored in storage.entries()] == sorted(name for name, *_ in QUEUE)
    for number, (name, status, *_) in enumerate(QUEUE):
        assert storage.entry("kb", name) == StoredEntry(
            kb="kb",
            entry=Entry(name, "note", TITLE, SUMMARY, ("red", "blue"), BODY, FIELDS),
            path=f"{name}.md",
            digest=name.encode(),
            revision=11 + number,
            updated_at=100.25 + number,
            embedding=Status.FAILED if status == "failed" else Status.PENDING,
        )
    assert storage.files("kb")["done"] == FileRow(
        "done", "done.md", b"done", FileStamp(3, 4, 5, 2**64 - 6)
    )


def test_all_but_failures_is_queued_again(storage: SqliteStorage) -> None:
    assert storage.counts() == storage.counts("kb") == QueueCounts(pending=7, failed=2)
    assert storage.counts("empty") == QueueCounts()
    assert storage.failures() == [
        Failure("kb", "failed by force", 19, "no better", 3, 68.0),
        Failure("kb", "failed", 18, "no good", 3, 67.0),
    ]
    assert storage.queue_state().last_error == LastError("kb", "failed by force", "no better", 78.0)
    assert storage.queue_state().oldest_pending == 50.0
    assert storage.counts(model_id=NO_MODEL) == storage.counts()

    # As they stood before, and with all their attempts.
    rows = storage.claim(Worker(storage).request(100.0, limit=100))
    ready = {due.entry_id: due for due in rows.due if due.priority < 2}
    left = storage.claim(Worker(storage, "second").request(100.0, limit=1)).due
    assert set(ready) == {"due", "forced", "held", "held again", "done otherwise"}
    assert {due.attempt for due in (*rows.due, *left)} == {1}
    assert [due.entry_id for due in left] == ["waiting"]
    assert (ready["held"].queued_at, ready["held"].priority) == (53.0, 0)
    assert (ready["held"].body, ready["held"].revision) == (BODY, 14)


def test_a_claim_of_before_is_lost(storage: SqliteStorage) -> None:
    worker = Worker(storage)
    (claim,) = worker.claim(100.0, kb="kb", entry_id="held")
    storage.release([claim])
    before = replace(claim, token="token")

    assert storage.release([before]) == 0
    assert worker.finish(before, now=100.0).lost == (before,)
    assert storage.rescue(["w"], POLICY, now=100.0) == 0
    assert storage.counts().pending == 7


def test_what_was_encoded_is_still_known(storage: SqliteStorage) -> None:
    digests = {text: digest_of(text.encode()) for text in TEXTS}
    assert storage.models() == [Model(1, "print", "a"), Model(2, "other", "b")]
    for model_id, suffix in ((1, ""), (2, "'")):
        assert storage.known(model_id, digests.values()).keys() == set(digests.values())
        cached = {digest: blob for _, digest, blob in storage.cached(model_id, 0, 100)}
        assert cached == {digests[t]: vector(t + suffix).tobytes() for t in TEXTS}
        assert storage.embedding_state(model_id).count == len(TEXTS)
    states = [storage.embedding_state(model_id) for model_id in (1, 2)]
    assert {state.last_id for state in states} == {2 * len(TEXTS)}
    assert {state.generation for state in states} == {0}

    # No entry has passages before it is embedded anew; a text that is as it was costs nothing.
    assert layout(storage, 1, "kb", "done") == []
    assert storage.embedding_ids(1, Filters()) == []
    worker = Worker(storage, fingerprint="print")
    assert worker.model_id == 1
    write(storage, "kb", "new", "one\nthree", now=0.0)
    (claim,) = worker.claim(1e10, kb="kb", entry_id="new")
    assert claim.missing == ()
    worker.finish(claim)
    assert vectors(storage, "kb", "new") == true_vectors("one\nthree")


def test_what_was_to_be_encoded_afresh_still_is(storage: SqliteStorage) -> None:
    due = storage.claim(Worker(storage).request(100.0, kb="kb", entry_id="forced")).due
    assert [each.renew_through for each in due] == [6]
    digests = [digest_of(text.encode()) for text in TEXTS]
    assert max(storage.known(2, digests).values()) <= due[0].renew_through
    storage.retry_failed("kb", ["failed by force", "failed"], now=100.0)
    for name, through in (("failed by force", 6), ("failed", 0)):
        (due_entry,) = storage.claim(Worker(storage).request(100.0, kb="kb", entry_id=name)).due
        assert due_entry.renew_through == through


def test_words_are_found_at_once(storage: SqliteStorage) -> None:
    names = {name for name, *_ in QUEUE}
    for wanted in ("cafe", "heading", "TITLE", "good", "blue", "quote"):
        hits = storage.with_words(WordQuery((wanted,)), limit=100)
        assert {hit.entry_id for hit in hits} == names
    start = BODY.index("café")
    assert highlights(storage, "kb", "done", WordQuery(("cafe",))) == [(start, start + 4)]
    write(storage, "kb", "done", "edited")
    assert highlights(storage, "kb", "done", WordQuery(("cafe",))) == []


def test_numbers_go_on_from_where_they_were(storage: SqliteStorage) -> None:
    assert write(storage, "kb", "new") == 41
    assert storage.revision_status(14) is Status.PENDING
    assert storage.revision_status(19) is Status.FAILED
    assert storage.revision_status(40) is None
    assert [(each.seq, each.type) for each in storage.events(0, 9)] == [
        (5, "embed_complete"),
        (6, "entry_created"),
    ]
    assert storage.remove_kb("kb", now=1.0)
    assert [event.seq for event in storage.events(0, 9)] == [5, 6, 7]
    assert storage.workers() == [WORKER]
    assert storage.counts() == QueueCounts()


def test_characters_are_counted(storage: SqliteStorage) -> None:
    with storage._db.read() as conn:
        rows = conn.execute("SELECT status, n, characters FROM queue_counts ORDER BY 1").fetchall()
    counted = [row for row in rows if row[1]]
    assert counted == [("failed", 2, 2 * CHARACTERS), ("pending", 7, 7 * CHARACTERS)]


def test_the_schema_is_that_of_a_new_database(storage: SqliteStorage, tmp_path: Path) -> None:
    def schema(of: SqliteStorage) -> set[tuple[str, str, str]]:
        with of._db.read() as conn:
            rows = conn.execute(
                "SELECT type, name, coalesce(sql, '') FROM sqlite_master"
            ).fetchall()
        return set(rows)

    with closing(SqliteStorage(tmp_path / "new.db")) as new:
        assert schema(storage) == schema(new)


def test_each_database_has_an_identity_of_its_own(storage: SqliteStorage, tmp_path: Path) -> None:
    with closing(SqliteStorage(tmp_path / "new.db")) as new:
        model = new.model("print", "a")
        mine = new.embedding_state(model.model_id).database_id
    assert mine
    assert storage.embedding_state(1).database_id not in {"", mine}


def test_a_copy_is_kept_of_what_was(storage: SqliteStorage, path: Path) -> None:
    (backup,) = path.parent.glob("*.backup")
    assert backup.name.startswith("pyrite.db.schema-1.")
    with closing(sqlite3.connect(backup)) as old:
        assert applied_count(old) == 1
        assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert old.execute("SELECT count(*) FROM chunks").fetchone() == (9,)
        statuses = old.execute("SELECT status FROM embed_queue ORDER BY rowid").fetchall()
        assert [status for (status,) in statuses] == [row[1] for row in QUEUE]
    with closing(sqlite3.connect(path)) as conn:
        assert applied_count(conn) == len(MIGRATIONS)


def test_everything_can_be_embedded_anew(storage: SqliteStorage) -> None:
    storage.retry_failed(None, None, now=0.0)
    worker = Worker(storage, fingerprint="print")
    for _ in range(9):
        worker.embed_all(1e10)
    assert storage.counts() == QueueCounts(done=len(QUEUE))
    assert vectors(storage, "kb", "held") == true_vectors(BODY)
