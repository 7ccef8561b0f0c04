"""Jobs run on beside the request that asked for them, and say how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import retry
from actors.ports import StorageUnavailableError
from pyrite.errors import NotFoundError
from pyrite.server.jobs import Jobs
from pyrite.storage.records import JobRow, KnowledgeBase
from pyrite.vault.sync import SyncResult
from tests.fakes.node import FakeNode


class HeldSync:
    """A sync that goes on when it is let."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.go_on = threading.Event()
        self.token = trio.lowlevel.current_trio_token()
        self.fail: Exception | None = None

    def sync(
        self, kb: KnowledgeBase, *, full: bool, progress: Callable[[int, int], None]
    ) -> SyncResult:
        progress(1, 3)
        self.token.run_sync_soon(self.begun.set)
        while not self.go_on.wait(0.001):
            progress(2, 3)
        if self.fail is not None:
            raise self.fail
        progress(3, 3)
        return SyncResult(kb.name)


class Clock:
    """Each look at it is a minute later."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 60
        return self.now


@pytest.fixture
def node(tmp_path: Path) -> Any:
    node = FakeNode(tmp_path)
    node.add_kb("notes")
    node.add_kb("wiki")
    yield node
    node.close()


def jobs_of(node: FakeNode, sync: Any) -> Jobs:
    return Jobs(node.storage, node.kbs, sync, node.run_sync, clock=Clock(), wrote=node.wrote)


async def test_a_job_goes_from_running_to_done(node: FakeNode) -> None:
    sync = HeldSync()
    jobs = jobs_of(node, sync)
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        job, new = await jobs.start_sync("notes")
        assert new
        await sync.begun.wait()
        running = await jobs.job(job.job_id)
        assert (running.state, running.total) == ("running", 3)
        assert running.done >= 1
        sync.go_on.set()
        done = await ended(jobs, job)
        assert (done.state, done.done, done.total, done.error) == ("done", 3, 3, None)
        assert '"kb":"notes"' in (done.result or "")
        assert node.writes == 1
        nursery.cancel_scope.cancel()


async def ended(jobs: Jobs, job: JobRow) -> JobRow:
    """The job when it runs no more."""
    with trio.fail_after(10):
        while (found := await jobs.job(job.job_id)).state == "running":
            await trio.lowlevel.checkpoint()
    return found


async def test_one_for_as_much_is_not_run_twice(node: FakeNode) -> None:
    sync = HeldSync()
    jobs = jobs_of(node, sync)
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        first, _ = await jobs.start_sync("notes")
        again, new = await jobs.start_sync("notes")
        assert (again.job_id, new) == (first.job_id, False)
        other, new = await jobs.start_sync("wiki")
        assert (other.kb, new) == ("wiki", True)
        everything, new = await jobs.start_sync()
        assert (everything.kb, new) == (None, True)
        sync.go_on.set()
        assert (await ended(jobs, first)).state == "done"
        later, new = await jobs.start_sync("notes")
        assert new
        assert later.job_id != first.job_id
        assert (await jobs.jobs())[0].job_id == later.job_id
        nursery.cancel_scope.cancel()


async def test_a_stop_ends_it_between_two_batches(node: FakeNode) -> None:
    sync = HeldSync()
    jobs = jobs_of(node, sync)
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        job, _ = await jobs.start_sync()
        await sync.begun.wait()
        nursery.cancel_scope.cancel()
    stopped = await jobs.job(job.job_id)
    assert (stopped.state, stopped.error) == ("failed", "the server was stopped")


async def test_a_missing_folder_fails_the_job_of_one_and_is_noted_in_that_of_all(
    node: FakeNode,
) -> None:
    (node.home.parent / "notes").rmdir()
    jobs = jobs_of(node, node.sync)
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        one = await ended(jobs, (await jobs.start_sync("notes"))[0])
        assert one.state == "failed"
        assert "'notes' is not there" in (one.error or "")
        every = await ended(jobs, (await jobs.start_sync())[0])
        assert every.state == "done"
        assert "'notes' is not there" in (every.result or "")
        assert str(node.home.parent) not in f"{one.error} {every.result}"
        nursery.cancel_scope.cancel()


async def test_a_bug_is_noted_and_ends_the_run(node: FakeNode) -> None:
    sync = HeldSync()
    sync.fail = ZeroDivisionError("oh")
    sync.go_on.set()
    jobs = jobs_of(node, sync)
    job, _ = await jobs.start_sync("notes")
    with pytest.raises(BaseExceptionGroup) as raised:
        await jobs.run()
    assert raised.group_contains(ZeroDivisionError)
    failed = await jobs.job(job.job_id)
    assert (failed.state, failed.error) == ("failed", "the server failed")


class LockedTwice:
    """A sync that finds the database locked twice, and its progress kept in between."""

    def __init__(self) -> None:
        self.tries = 0

    def sync(
        self, kb: KnowledgeBase, *, full: bool, progress: Callable[[int, int], None]
    ) -> SyncResult:
        self.tries += 1
        progress(self.tries, 3)
        if self.tries < 3:
            raise StorageUnavailableError("database is locked")
        return SyncResult(kb.name)


async def test_a_job_that_finds_the_database_locked_begins_again(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "STORAGE_PATIENCE", retry.Patience(0.001, 0.001))
    sync = LockedTwice()
    jobs = jobs_of(node, sync)
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        job, _ = await jobs.start_sync("notes")
        assert (await ended(jobs, job)).state == "done"
        nursery.cancel_scope.cancel()
    assert sync.tries == 3


async def test_what_a_dead_process_left_has_failed(node: FakeNode) -> None:
    jobs = jobs_of(node, HeldSync())
    job, _ = await jobs.start_sync("notes")
    # No process has this number: the kernel's numbers end far below.
    node.storage.put_job(replace(job, pid=2**30))
    left = await jobs.job(job.job_id)
    assert (left.state, left.error) == ("failed", "the process that did it has ended")
    _, new = await jobs.start_sync("notes")
    assert new


async def test_what_is_not_there_is_said(node: FakeNode) -> None:
    jobs = jobs_of(node, HeldSync())
    with pytest.raises(NotFoundError):
        await jobs.job("0")
    with pytest.raises(NotFoundError):
        await jobs.start_sync("no")
    assert await jobs.jobs() == []
