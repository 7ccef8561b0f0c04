"""Entries: what goes in comes out, in order, and every write has its number."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.lifecycle import Status
from pyrite.markdown.entry import JSON, Entry
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import QueueCounts
from pyrite.storage.records import (
    BULK,
    CLOCK_GRAIN_S,
    FileRow,
    FileStamp,
    Filters,
    Record,
    StoredEntry,
)
from tests.conformance.hands import STAMP, Worker, delete, entry, record, status, write

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
FIELDS: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    body=TEXT,
    title=TEXT,
    tags=st.lists(TEXT, max_size=3),
    fields=st.dictionaries(TEXT, FIELDS, max_size=3),
)
def test_an_entry_comes_back_as_it_was(
    storage: Storage, body: str, title: str, tags: list[str], fields: Mapping[str, JSON]
) -> None:
    given_entry = Entry("folder/ä/🪨", "Æ", title, title[::-1], tuple(tags), body, fields)
    with storage.writing() as writing:
        (revision,) = writing.upsert([record("kb", given_entry)], priority=BULK, now=12.25)

    assert storage.entry("kb", "folder/ä/🪨") == StoredEntry(
        kb="kb",
        entry=given_entry,
        path="folder/ä/🪨.md",
        digest=record("kb", given_entry).file.digest,
        revision=revision,
        updated_at=12.25,
        embedding=Status.PENDING,
    )


def test_an_update_replaces_all_of_it(storage: Storage) -> None:
    write(storage, "kb", "a", "old", now=1.0)
    changed = Entry("a", "person", "New", "Short", ("t",), "new", {"born": 1})
    file = FileRow("a", "Folder/A.md", b"digest", None)
    with storage.writing() as writing:
        (revision,) = writing.upsert([Record("kb", changed, file)], priority=BULK, now=2.0)
        assert writing.file("kb", "a") == (revision, file)

    stored = storage.entry("kb", "a")
    assert stored == StoredEntry(
        "kb", changed, "Folder/A.md", b"digest", revision, 2.0, Status.PENDING
    )
    assert storage.counts() == QueueCounts(pending=1)


def test_what_is_not_there_is_none(storage: Storage) -> None:
    write(storage, "kb", "a")

    assert storage.entry("kb", "b") is None
    assert storage.entry("other", "a") is None
    with storage.writing() as writing:
        assert writing.file("other", "a") is None


def test_it_says_where_the_embedding_stands(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    seen = [status(storage, "kb", "a")]
    claim = worker.claim_one()
    seen.append(status(storage, "kb", "a"))
    worker.finish(claim)
    seen.append(status(storage, "kb", "a"))
    write(storage, "kb", "a")
    worker.fail(worker.claim_one(), final=True)
    seen.append(status(storage, "kb", "a"))

    assert seen == [Status.PENDING, Status.PROCESSING, Status.DONE, Status.FAILED]
    assert [stored.embedding for stored in storage.entries()] == [Status.FAILED]


@pytest.fixture
def shelf(storage: Storage) -> Storage:
    """Entries of several types and tags, written in no order."""
    wanted = [
        ("other", entry("a", tags=("red",), entry_type="person")),
        ("kb", entry("c", tags=("red", "blue"))),
        ("kb", entry("a/b", tags=("blue",), entry_type="person")),
        ("kb", entry("a", tags=("rédé",))),
        ("kb", entry("B", tags=("12",))),
    ]
    with storage.writing() as writing:
        writing.upsert([record(kb, each) for kb, each in wanted], priority=BULK, now=0.0)
    return storage


def keys(found: list[StoredEntry]) -> list[str]:
    return [f"{stored.kb}:{stored.entry.id}" for stored in found]


def test_a_list_is_in_order_and_without_bodies(shelf: Storage) -> None:
    found = shelf.entries()

    assert keys(found) == ["kb:B", "kb:a", "kb:a/b", "kb:c", "other:a"]
    assert {stored.entry.body for stored in found} == {""}
    assert found[3].entry.tags == ("red", "blue")


def test_a_list_can_be_narrowed(shelf: Storage) -> None:
    assert keys(shelf.entries(Filters(kbs=("kb",)))) == ["kb:B", "kb:a", "kb:a/b", "kb:c"]
    assert keys(shelf.entries(Filters(types=("person",)))) == ["kb:a/b", "other:a"]
    assert keys(shelf.entries(Filters(tags=("red",)))) == ["kb:c", "other:a"]


def test_a_list_comes_in_pages(shelf: Storage) -> None:
    assert keys(shelf.entries(limit=2)) == ["kb:B", "kb:a"]
    assert keys(shelf.entries(limit=2, offset=2)) == ["kb:a/b", "kb:c"]
    assert keys(shelf.entries(limit=2, offset=4)) == ["other:a"]
    assert keys(shelf.entries(offset=4)) == ["other:a"]
    assert keys(shelf.entries(limit=0)) == []
    assert keys(shelf.entries(Filters(tags=("red",)), limit=1, offset=1)) == ["other:a"]


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        STAMP,
        FileStamp(0, 0, 0, 0),
        FileStamp(1, 2, 3, 2**63 - 1),
        FileStamp(1, 2, 3, 2**63),
        FileStamp(2**40, -1, 2**62, 2**64 - 1),
    ],
)
def test_a_stamp_comes_back_as_it_was(storage: Storage, stamp: FileStamp | None) -> None:
    written = record("kb", entry("a"), stamp)
    with storage.writing() as writing:
        writing.upsert([written], priority=BULK, now=0.0)

    assert storage.files("kb") == {"a": written.file}
    with storage.writing() as writing:
        found = writing.file("kb", "a")
    assert found is not None
    assert found[1] == written.file


def test_a_fresh_stamp_is_not_trusted() -> None:
    stamp = FileStamp(1, mtime_ns=1_000_000_000, ctime_ns=5_000_000_000, inode=1)

    fresh = FileRow.read_at(5.0 + CLOCK_GRAIN_S, "a", "a.md", b"", stamp)
    aged = FileRow.read_at(5.1 + CLOCK_GRAIN_S, "a", "a.md", b"", stamp)

    assert (fresh.stamp, aged.stamp) == (None, stamp)


@pytest.mark.parametrize("stamp", [None, FileStamp(9, 9, 9, 2**64 - 9)])
def test_restamping_queues_nothing(
    storage: Storage, worker: Worker, stamp: FileStamp | None
) -> None:
    revision = write(storage, "kb", "a")
    worker.embed_all()
    file = storage.files("kb")["a"]
    restamped = FileRow("a", file.path, file.digest, stamp)
    with storage.writing() as writing:
        writing.restamp("kb", [restamped])

    assert storage.files("kb") == {"a": restamped}
    stored = storage.entry("kb", "a")
    assert stored is not None
    assert (stored.revision, stored.embedding) == (revision, Status.DONE)


def test_only_the_same_content_is_restamped(storage: Storage) -> None:
    write(storage, "kb", "a")
    write(storage, "other", "a")
    before = storage.files("kb"), storage.files("other")
    with storage.writing() as writing:
        file = before[0]["a"]
        writing.restamp("kb", [FileRow("a", file.path, b"another", FileStamp(9, 9, 9, 9))])
        writing.restamp("kb", [FileRow("b", file.path, file.digest, FileStamp(9, 9, 9, 9))])
        writing.restamp("nowhere", [FileRow("a", file.path, file.digest, FileStamp(9, 9, 9, 9))])

    assert (storage.files("kb"), storage.files("other")) == before


def test_deleting_takes_queue_row_and_chunks_and_tells(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo")
    write(storage, "other", "a", "one\ntwo")
    worker.embed_all()
    revision = write(storage, "kb", "a", "three")
    since = storage.events(0, 100)[-1].seq

    assert delete(storage, "kb", "a", "not there", "a", now=9.0) == 1

    assert storage.entry("kb", "a") is None
    assert storage.embeddings("kb", "a") == []
    assert storage.counts() == QueueCounts(done=1)
    assert len(storage.embeddings("other", "a")) == 2
    (event,) = storage.events(since, 100)
    assert (event.type, event.kb, event.entry_id) == ("entry_deleted", "kb", "a")
    assert (event.revision, event.at) == (revision, 9.0)


def test_revisions_are_numbers_of_the_whole_database(storage: Storage) -> None:
    revisions = [write(storage, "kb", "a"), write(storage, "other", "a"), write(storage, "kb", "a")]
    with storage.writing() as writing:
        records = [record("kb", entry(name)) for name in ("b", "c", "b")]
        revisions += writing.upsert(records, priority=BULK, now=0.0)
        assert writing.upsert([], priority=BULK, now=0.0) == []
    delete(storage, "kb", "b")
    revisions.append(write(storage, "kb", "b"))

    assert revisions == sorted(set(revisions))
    assert [stored.revision for stored in storage.entries(Filters(kbs=("kb",)))] == [
        revisions[2],
        revisions[6],
        revisions[4],
    ]


def test_a_write_that_fails_leaves_no_trace(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "kept", "old")
    write(storage, "kb", "embedded")
    worker.embed_all()
    last = write(storage, "kb", "kept", "present")
    before = storage.entries(), storage.files("kb"), storage.counts(), storage.events(0, 9)

    def interrupted() -> None:
        with storage.writing() as writing:
            writing.upsert([record("kb", entry("new"))], priority=BULK, now=1.0)
            writing.upsert([record("kb", entry("kept", "newer"))], priority=BULK, now=1.0)
            writing.delete("kb", ["embedded"], now=1.0)
            file = FileRow("kept", "kept.md", before[1]["kept"].digest, None)
            writing.restamp("kb", [file])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()

    after = storage.entries(), storage.files("kb"), storage.counts(), storage.events(0, 9)
    assert after == before
    stored = storage.entry("kb", "kept")
    assert stored is not None
    assert (stored.entry.body, stored.revision) == ("present", last)
    assert len(storage.embeddings("kb", "embedded")) == 1
    assert write(storage, "kb", "later") > last


def test_nobody_sees_half_a_write(storage: Storage) -> None:
    with storage.writing() as writing:
        writing.upsert([record("kb", entry("a"))], priority=BULK, now=0.0)
        assert writing.file("kb", "a") is not None
        assert storage.entry("kb", "a") is None
        assert storage.counts() == QueueCounts()

    assert storage.entry("kb", "a") is not None
    assert storage.counts() == QueueCounts(pending=1)


def test_ids_follow_one_in_order(storage: Storage) -> None:
    for name in ("c", "a/é", "b", "a"):
        write(storage, "kb", name)
    write(storage, "other", "d")

    assert storage.ids("kb", "", 9) == ["a", "a/é", "b", "c"]
    assert storage.ids("kb", "a", 2) == ["a/é", "b"]
    assert storage.ids("kb", "bb", 9) == ["c"]
    assert storage.ids("kb", "c", 9) == storage.ids("nowhere", "", 9) == []
