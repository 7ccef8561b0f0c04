"""The feed follows the database: nothing skipped, nothing twice, and a status now and then."""

import json
from contextlib import closing
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pyrite.server.feed import follow as module
from pyrite.server.feed.follow import Feed
from pyrite.storage.records import WorkerRow
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.storage.sqlite.tables import feed as events
from tests.fakes.database import temporary_storage


@pytest.fixture
def storage():
    return temporary_storage()


@pytest.fixture
def theirs(storage):
    """The same database, as another process has it."""
    with closing(SqliteStorage(storage.path)) as opened:
        yield opened


async def run_sync(function, *args):
    """As through a thread, but inline; time passes for others."""
    await trio.lowlevel.checkpoint()
    return function(*args)


@pytest.fixture
def make(storage, nursery):
    async def made(**options):
        feed = Feed(storage, run_sync, buffer=100, **options)
        await nursery.start(feed.run)
        return feed

    return made


def commit(theirs, number=1, kind="entry_updated"):
    """So many events in one transaction, by another process."""
    with theirs._db.write() as conn:
        events.append_bare(conn, [(kind, "notes", "a", 1, 0.0)] * number)


async def heard(feed, listener):
    """All that there is to take, as what came to be known."""
    seqs = []
    while listener.position < feed.last:
        for message in await feed.take(listener):
            body = json.loads(message.text)
            seqs.append((body["from"], body["to"]) if body["type"] == "gap" else body["seq"])
    return seqs


async def test_what_is_committed_by_anyone_is_published(make, theirs, autojump_clock):
    commit(theirs, 3)
    feed = await make()
    assert feed.last == 3  # nobody listened to those
    with feed.listening() as listener:
        assert feed.statistics().subscribers == 1
        commit(theirs, 2)
        assert [m.seq for m in await feed.take(listener)] == [4, 5]
    assert feed.statistics().subscribers == 0


async def test_it_looks_a_hundred_times_a_second_or_when_told(make, theirs, mock_clock):
    feed = await make()
    await wait_all_tasks_blocked()
    commit(theirs)
    await wait_all_tasks_blocked()
    assert feed.last == 0
    feed.wake()
    await wait_all_tasks_blocked()
    assert feed.last == 1  # at once
    commit(theirs)
    mock_clock.jump(0.01)
    await wait_all_tasks_blocked()
    assert feed.last == 2


async def test_a_burst_of_many_pages_is_heard_in_order(make, theirs, autojump_clock):
    feed = await make()
    with feed.listening() as listener:
        commit(theirs, module.PAGE * 3 + 7)
        await trio.sleep(1)
        assert await heard(feed, listener) == list(range(1, feed.last + 1))
    assert feed.last == module.PAGE * 3 + 7


async def test_a_listener_far_behind_reads_from_the_database(
    make, theirs, autojump_clock, monkeypatch
):
    monkeypatch.setattr(module, "KEPT", 10)
    feed = await make()
    with feed.listening() as listener:
        for number in (3, 50, 1, 600, 4):
            commit(theirs, number)
            await trio.sleep(1)
        assert feed.left_behind(listener)
        assert await heard(feed, listener) == list(range(1, 659))
        assert not feed.left_behind(listener)


async def test_what_was_pruned_before_it_was_seen_is_said(make, theirs, storage, autojump_clock):
    feed = await make()
    with feed.listening() as listener:
        commit(theirs, 2)
        await trio.sleep(1)
        commit(theirs, 5)
        storage.prune_events(2)  # in the same moment
        await trio.sleep(1)
        assert await heard(feed, listener) == [(1, 5), 6, 7]
        commit(theirs)
        await trio.sleep(1)
        assert await heard(feed, listener) == [8]


async def test_a_listener_may_stand_ahead_of_what_is_published(make, theirs, autojump_clock):
    """As one does that comes from a process which has looked more recently."""
    feed = await make()
    with feed.listening(2) as listener:
        with trio.move_on_after(1) as waiting:
            await feed.take(listener)
        assert waiting.cancelled_caught
        commit(theirs, 2)
        await trio.sleep(1)
        commit(theirs)
        await trio.sleep(1)
        assert await heard(feed, listener) == [3]


async def test_from_the_beginning(make, theirs, storage, autojump_clock):
    commit(theirs, 9)
    storage.prune_events(6)
    feed = await make()
    with feed.listening(0) as listener:
        assert await heard(feed, listener) == [(1, 3), 4, 5, 6, 7, 8, 9]
    assert await feed.newest() == 9


class Standing:
    """Where embedding stands, as a test says."""

    def __init__(self):
        self.pending = 0
        self.asked = []

    def __call__(self):
        self.asked.append(trio.current_time())
        worker = {"state": "idle", "heartbeat_at": trio.current_time()}
        age = trio.current_time()
        return {"pending": self.pending, "oldest_pending_age_s": age, "worker": worker}


async def test_status_at_most_once_a_second_and_once_after_the_last_change(
    make, theirs, autojump_clock
):
    standing, told = Standing(), []
    feed = await make(snapshot=standing)

    async def listen(listener):
        while True:
            for message in await feed.take(listener):
                body = json.loads(message.text)
                if body["type"] == "status":
                    told.append((trio.current_time(), body["pending"]))

    async with trio.open_nursery() as nursery:
        with feed.listening() as listener:
            nursery.start_soon(listen, listener)
            for _ in range(35):  # over three and a half seconds
                standing.pending += 1
                commit(theirs)
                await trio.sleep(0.1)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    times = [at for at, _ in told]
    assert len(told) == 5
    assert min(b - a for a, b in pairwise(times)) >= 1
    assert told[-1][1] == 35


async def test_no_status_where_nothing_changed_or_nobody_listens(make, theirs, autojump_clock):
    standing = Standing()
    feed = await make(snapshot=standing)
    commit(theirs)
    await trio.sleep(3)
    assert standing.asked == []
    with feed.listening() as listener:
        listener.position = feed.last
        await trio.sleep(3)
        assert len(standing.asked) == 1
        (message,) = await feed.take(listener)
        assert message.type == "status"
        for _ in range(5):  # heartbeats change nothing
            worker = WorkerRow("w", 1, "here", None, 0.0, trio.current_time(), "idle", None, "m")
            theirs.beat(worker)
            await trio.sleep(2)
        assert len(standing.asked) == 6
        with trio.move_on_after(5) as waiting:
            await feed.take(listener)
        assert waiting.cancelled_caught


async def test_dropped_ones_are_counted(make):
    feed = await make()
    feed.drop()
    assert feed.statistics().dropped == 1


async def test_a_database_that_cannot_be_read_ends_it(theirs, storage, autojump_clock):
    feed = Feed(storage, run_sync, buffer=1)
    storage.events = lambda *_: 1 / 0
    with pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            await nursery.start(feed.run)
            commit(theirs)
