"""The feed, the workers' heartbeats, and how other instances learn of a commit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyrite.storage.protocol import Storage
from pyrite.storage.records import WorkerRow
from tests.conformance.conftest import Opener
from tests.conformance.hands import Worker, delete, write


def fill(storage: Storage, count: int) -> None:
    for turn in range(count):
        write(storage, "kb", str(turn))
        delete(storage, "kb", str(turn))


def delete_in_vain(storage: Storage) -> None:
    def interrupted() -> None:
        with storage.writing() as writing:
            assert writing.delete("kb", ["a"], now=0.0) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()


def numbers(storage: Storage, since: int = 0, limit: int = 100) -> list[int]:
    return [event.seq for event in storage.events(since, limit)]


def test_events_are_numbered_without_gaps(storage: Storage) -> None:
    fill(storage, 5)

    assert numbers(storage) == [1, 2, 3, 4, 5]
    assert numbers(storage, since=3) == [4, 5]
    assert numbers(storage, limit=2) == [1, 2]
    assert numbers(storage, since=5) == []


def test_a_rolled_back_event_leaves_no_gap(storage: Storage) -> None:
    fill(storage, 1)
    write(storage, "kb", "a")
    delete_in_vain(storage)
    delete(storage, "kb", "a")

    assert numbers(storage) == [1, 2]


def test_pruning_keeps_the_newest(storage: Storage) -> None:
    fill(storage, 5)

    assert storage.prune_events(7) == 0
    assert storage.prune_events(2) == 3
    assert numbers(storage) == [4, 5]
    assert storage.prune_events(2) == 0


def test_numbers_are_not_reused_after_pruning(storage: Storage) -> None:
    fill(storage, 3)
    assert storage.prune_events(0) == 3
    fill(storage, 1)

    assert numbers(storage) == [4]


def test_details_come_back_as_they_were(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "ä")
    settled = worker.fail(worker.claim_one(), "Übel 🪨 \n 'quoted'", final=True)

    assert tuple(storage.events(0, 10)) == settled.events
    assert settled.events[0].detail["error"] == "Übel 🪨 \n 'quoted'"


# Workers

WORKER = WorkerRow("w", 42, "host", "boot-1", 1.0, 2.0, "idle", None, "a model", 5.5, 20.5)


def test_a_heartbeat_is_written_over(storage: Storage) -> None:
    later = replace(WORKER, heartbeat_at=9.0, state="degraded", reason="no model", model="b")
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
