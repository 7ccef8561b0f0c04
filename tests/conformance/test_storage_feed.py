"""The feed, the workers' heartbeats, and how other instances learn of a commit."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from actors.messages import Event
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import WorkerRow
from pyrite.storage.records import BULK, FeedBounds
from tests.conformance.conftest import Opener
from tests.conformance.hands import Worker, delete, entry, record, told, write

#: What the two knowledge bases of the storage have told.
BEGUN = 2


def fill(storage: Storage, *names: str) -> None:
    """One event for each name."""
    for name in names:
        write(storage, "kb", name)


def delete_in_vain(storage: Storage) -> None:
    def interrupted() -> None:
        with storage.writing() as writing:
            assert writing.delete("kb", ["a"], now=0.0) == 1
            writing.upsert([record("kb", entry("new"))], priority=BULK, now=0.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()


def numbers(storage: Storage, since: int = 0, limit: int = 100) -> list[int]:
    return [event.seq for event in storage.events(since, limit)]


# What is told


def test_a_write_is_told_of(storage: Storage) -> None:
    revision = write(storage, "kb", "a", now=2.5)

    (event,) = storage.events(BEGUN, 10)
    assert event == Event(BEGUN + 1, "entry_created", "kb", "a", revision, 2.5, {})


def test_creating_and_updating_are_told_apart(storage: Storage) -> None:
    first, second = write(storage, "kb", "a"), write(storage, "kb", "a", "edited")
    delete(storage, "kb", "a")
    third, other = write(storage, "kb", "a"), write(storage, "other", "a")

    assert told(storage, BEGUN) == [
        ("entry_created", "a", first),
        ("entry_updated", "a", second),
        ("entry_deleted", "a", second),
        ("entry_created", "a", third),
        ("entry_created", "a", other),
    ]
    assert [event.kb for event in storage.events(BEGUN, 10)] == ["kb"] * 4 + ["other"]


def test_each_of_many_writes_is_told_of_in_order(storage: Storage) -> None:
    write(storage, "kb", "b")
    before = storage.feed_bounds().last
    names = ["c", "b", "a", "ä/🪨 'quoted' \n", "a"]
    with storage.writing() as writing:
        records = [record("kb", entry(name)) for name in names]
        revisions = writing.upsert(records, priority=BULK, now=3.0)

    assert told(storage, before) == [
        ("entry_created", "c", revisions[0]),
        ("entry_updated", "b", revisions[1]),
        ("entry_created", "a", revisions[2]),
        ("entry_created", names[3], revisions[3]),
        ("entry_updated", "a", revisions[4]),
    ]
    assert {event.at for event in storage.events(before, 10)} == {3.0}


def test_writing_nothing_is_not_told_of(storage: Storage) -> None:
    with storage.writing() as writing:
        assert writing.upsert([], priority=BULK, now=0.0) == []
        assert writing.delete("kb", ["nobody"], now=0.0) == 0
        writing.restamp("kb", [record("kb", entry("nobody")).file])

    assert numbers(storage) == [1, 2]


def test_a_transaction_tells_in_the_order_of_its_work(storage: Storage) -> None:
    """As a sync does it that finds a file under a new name."""
    old = write(storage, "kb", "old")
    with storage.writing() as writing:
        (new,) = writing.upsert([record("kb", entry("new"))], priority=BULK, now=0.0)
        writing.delete("kb", ["old"], now=0.0)

    assert told(storage, BEGUN) == [
        ("entry_created", "old", old),
        ("entry_created", "new", new),
        ("entry_deleted", "old", old),
    ]


def test_a_write_is_told_of_before_its_embedding(storage: Storage, worker: Worker) -> None:
    first = write(storage, "kb", "a", "one")
    claim = worker.claim_one()
    second = write(storage, "kb", "a", "two")
    worker.finish(claim)  # too late
    worker.embed_all()
    storage.reembed(None, now=0.0, force=True, other_than=None)
    worker.embed_all()

    assert told(storage, BEGUN) == [
        ("entry_created", "a", first),
        ("entry_updated", "a", second),
        ("embed_complete", "a", second),
        ("embed_complete", "a", second),
    ]


# Numbers


def test_events_are_numbered_without_gaps(storage: Storage) -> None:
    fill(storage, *"abc")

    assert numbers(storage) == [1, 2, 3, 4, 5]
    assert numbers(storage, since=3) == [4, 5]
    assert numbers(storage, limit=2) == [1, 2]
    assert numbers(storage, since=5) == []


def test_a_rolled_back_event_leaves_no_gap(storage: Storage) -> None:
    fill(storage, "a")
    delete_in_vain(storage)
    assert storage.feed_bounds() == FeedBounds(1, 3)
    delete(storage, "kb", "a")

    assert numbers(storage) == [1, 2, 3, 4]


def test_pruning_keeps_the_newest(storage: Storage) -> None:
    fill(storage, *"abc")

    assert storage.prune_events(7) == 0
    assert storage.prune_events(2) == 3
    assert numbers(storage) == [4, 5]
    assert storage.prune_events(2) == 0


def test_numbers_are_not_reused_after_pruning(storage: Storage) -> None:
    fill(storage, "a")
    assert storage.prune_events(0) == 3
    fill(storage, "b")

    assert numbers(storage) == [4]


def test_the_feed_says_which_events_there_are(opener: Opener) -> None:
    storage = opener()
    assert storage.feed_bounds() == FeedBounds(1, 0)
    storage.add_kb("kb", "/kb", now=0.0)
    assert storage.feed_bounds() == FeedBounds(1, 1)
    fill(storage, *"abcd")
    assert storage.feed_bounds() == FeedBounds(1, 5)
    storage.prune_events(2)
    assert storage.feed_bounds() == FeedBounds(4, 5)
    storage.prune_events(0)
    assert storage.feed_bounds() == FeedBounds(6, 5)
    fill(storage, "e")
    assert storage.feed_bounds() == FeedBounds(6, 6)
    assert opener().feed_bounds() == FeedBounds(6, 6)


def test_details_come_back_as_they_were(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "ä")
    before = storage.feed_bounds().last
    settled = worker.fail(worker.claim_one(), "Übel 🪨 \n 'quoted'", final=True)

    assert tuple(storage.events(before, 10)) == settled.events
    assert settled.events[0].detail["error"] == "Übel 🪨 \n 'quoted'"


# Workers

WORKER = WorkerRow("w", 42, "host", "boot-1", 1.0, 2.0, "idle", None, "a model", 5.5, 20.5, "kb")


def test_a_heartbeat_is_written_over(storage: Storage) -> None:
    later = replace(
        WORKER, heartbeat_at=9.0, state="degraded", reason="no model", model="b", kb=None
    )
    storage.beat(WORKER)
    assert storage.workers() == [WORKER]
    storage.beat(later)

    assert storage.workers() == [later]


def test_workers_come_latest_heartbeat_first(storage: Storage) -> None:
    rows = [replace(WORKER, worker_id=str(at), heartbeat_at=at) for at in (2.0, 3.0, 1.0)]
    for row in rows:
        storage.beat(row)
    storage.beat(replace(WORKER, worker_id="nobody knows", process_started=None, heartbeat_at=0.0))

    found = storage.workers()
    assert [row.heartbeat_at for row in found] == [3.0, 2.0, 1.0, 0.0]
    assert found[-1].process_started is None


def test_a_worker_may_be_confined_to_a_knowledge_base(storage: Storage) -> None:
    storage.beat(WORKER)
    storage.beat(replace(WORKER, worker_id="of all", kb=None))

    assert {row.worker_id: row.kb for row in storage.workers()} == {"w": "kb", "of all": None}


def test_retired_workers_are_forgotten(storage: Storage) -> None:
    storage.beat(WORKER)
    storage.beat(replace(WORKER, worker_id="v"))
    storage.retire([])
    storage.retire(["w", "never seen"])

    assert [row.worker_id for row in storage.workers()] == ["v"]


# Commits


def test_another_instances_commit_is_noticed_once(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    mine.changed()
    assert not mine.changed()

    theirs.add_kb("kb", "/kb", now=0.0)

    assert mine.changed()
    assert not mine.changed()
    assert [kb.name for kb in mine.kbs()] == ["kb"]


def test_every_kind_of_commit_is_noticed(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    theirs.add_kb("kb", "/kb", now=0.0)
    worker = Worker(theirs)
    mine.changed()

    write(theirs, "kb", "a")
    assert mine.changed()
    claim = worker.claim_one()
    assert mine.changed()
    worker.finish(claim)
    assert mine.changed()


def test_reading_and_failing_are_no_commits(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    theirs.add_kb("kb", "/kb", now=0.0)
    worker = Worker(theirs)
    mine.changed()

    theirs.counts()
    worker.claim()
    assert not mine.changed()
    write(theirs, "kb", "a")
    mine.changed()
    delete_in_vain(theirs)

    assert not mine.changed()


def test_a_watcher_notices_every_commit_once(opener: Opener) -> None:
    """That of the storage which it is of, too."""
    mine, theirs = opener(), opener()
    with closing(mine.watcher()) as watcher:
        assert not watcher.changed()
        for storage in (mine, theirs):
            storage.add_kb(f"kb {id(storage)}", f"/kb {id(storage)}", now=0.0)
            assert watcher.changed()
            assert not watcher.changed()
        mine.counts()
        theirs.events(0, 10)
        assert not watcher.changed()


def test_watchers_take_nothing_from_one_another(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    with closing(mine.watcher()) as first, closing(mine.watcher()) as second:
        mine.changed()
        theirs.add_kb("kb", "/kb", now=0.0)
        assert first.changed()
        assert mine.changed()
        assert second.changed()
        mine.add_kb("other", "/other", now=0.0)
        with closing(theirs.watcher()) as late:
            assert not late.changed()
        assert second.changed()
        assert first.changed()
        assert not second.changed()


def test_a_watcher_that_is_closed_leaves_the_others_alone(opener: Opener) -> None:
    storage = opener()
    with closing(storage.watcher()) as watcher:
        storage.watcher().close()
        storage.add_kb("kb", "/kb", now=0.0)
        assert watcher.changed()


def test_what_one_instance_claims_another_can_see_and_not_take(opener: Opener) -> None:
    mine, theirs = opener(), opener()
    mine.add_kb("kb", "/kb", now=0.0)
    write(mine, "kb", "a")
    write(theirs, "kb", "b")
    ours = [Worker(mine, "mine").claim(limit=1), Worker(theirs, "theirs").claim()]

    assert [len(claims) for claims in ours] == [1, 1]
    assert ours[0][0].entry_id != ours[1][0].entry_id
    assert mine.counts() == theirs.counts()
    assert not Worker(theirs, "theirs").finish(*ours[1]).lost
