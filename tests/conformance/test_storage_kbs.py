"""Knowledge bases: registered once, and forgotten with everything in them."""

from __future__ import annotations

import pytest

from pyrite.errors import ConflictError
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import QueueCounts
from pyrite.storage.records import Filters, KnowledgeBase
from tests.conformance.hands import Worker, delete, write


def test_they_are_listed_by_name(storage: Storage) -> None:
    storage.add_kb("a kb", "/folder/a", now=7.5)

    assert storage.kbs() == [
        KnowledgeBase("a kb", "/folder/a", 7.5),
        KnowledgeBase("kb", "/folder/kb", 0.0),
        KnowledgeBase("other", "/folder/other", 0.0),
    ]


@pytest.mark.parametrize(
    ("name", "path"), [("kb", "/folder/new"), ("new", "/folder/kb"), ("kb", "/folder/kb")]
)
def test_neither_name_nor_folder_is_registered_twice(
    storage: Storage, name: str, path: str
) -> None:
    before = storage.kbs()

    with pytest.raises(ConflictError, match="registered already"):
        storage.add_kb(name, path, now=1.0)

    assert storage.kbs() == before


def test_registering_one_is_told_once(storage: Storage) -> None:
    before = storage.feed_bounds().last
    storage.add_kb("new", "/folder/new", now=7.5)
    with pytest.raises(ConflictError):
        storage.add_kb("new", "/folder/newer", now=8.0)

    (event,) = storage.events(before, 10)
    assert (event.type, event.kb, event.entry_id, event.at) == ("kb_added", "new", "", 7.5)
    assert (event.revision, event.detail) == (0, {})


def test_whether_its_files_can_be_reached_is_kept_until_it_is_registered_anew(
    storage: Storage,
) -> None:
    def states() -> list[tuple[str, int | None, str | None]]:
        return [(kb.name, kb.device, kb.unavailable) for kb in storage.kbs()]

    storage.set_availability("kb", device=2049, unavailable="all files are gone")
    assert states() == [("kb", 2049, "all files are gone"), ("other", None, None)]
    storage.set_availability("kb", device=2050, unavailable=None)
    assert states() == [("kb", 2050, None), ("other", None, None)]

    storage.set_availability("nowhere", device=1, unavailable="x")
    storage.remove_kb("kb", now=1.0)
    storage.add_kb("kb", "/folder/kb", now=2.0)
    assert states() == [("kb", None, None), ("other", None, None)]


def test_removing_one_takes_all_that_is_its_own(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "embedded")
    write(storage, "other", "embedded too")
    worker.embed_all()
    write(storage, "kb", "processing")
    worker.claim()
    write(storage, "kb", "pending")
    write(storage, "other", "pending too")

    assert storage.remove_kb("kb", now=5.0)

    assert [kb.name for kb in storage.kbs()] == ["other"]
    assert {stored.kb for stored in storage.entries()} == {"other"}
    assert storage.entry("kb", "embedded") is None
    assert storage.files("kb") == {}
    assert storage.embeddings("kb", "embedded") == []
    assert storage.counts("kb") == QueueCounts()
    assert storage.counts() == storage.counts("other") == QueueCounts(pending=1, done=1)
    assert [claim.kb for claim in worker.claim(1e6)] == ["other"]


def test_removing_one_is_told_once(storage: Storage) -> None:
    write(storage, "kb", "a")
    write(storage, "kb", "b")
    before = storage.feed_bounds().last
    storage.remove_kb("kb", now=5.0)

    (event,) = storage.events(before, 10)
    assert (event.type, event.kb, event.entry_id, event.at) == ("kb_removed", "kb", "", 5.0)


def test_one_that_is_not_there_cannot_be_removed(storage: Storage) -> None:
    before = storage.events(0, 10)
    assert not storage.remove_kb("nowhere", now=1.0)
    assert storage.events(0, 10) == before
    assert len(storage.kbs()) == 2


def test_a_removed_one_can_come_back_and_starts_empty(storage: Storage, worker: Worker) -> None:
    before = write(storage, "kb", "a")
    worker.embed_all()
    storage.remove_kb("kb", now=1.0)
    storage.add_kb("kb", "/folder/kb", now=2.0)

    assert storage.counts("kb") == QueueCounts()
    assert storage.entries(Filters(kbs=("kb",))) == []
    assert write(storage, "kb", "a") > before
    assert storage.counts("kb") == QueueCounts(pending=1)


def test_a_claim_does_not_outlive_its_knowledge_base(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    claim = worker.claim_one()
    storage.remove_kb("kb", now=1.0)
    storage.add_kb("kb", "/folder/kb", now=2.0)
    write(storage, "kb", "a")

    assert worker.finish(claim, now=3.0).lost == (claim,)
    assert storage.counts("kb") == QueueCounts(pending=1)
    assert delete(storage, "kb", "a") == 1
