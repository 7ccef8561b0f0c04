"""The feed follows the database: nothing skipped, nothing twice, and a status now and then."""

import json
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pyrite.server.feed import follow as module
from pyrite.server.feed.follow import Feed
from tests.fakes.memory_storage import Memory, MemoryStorage


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def storage(memory):
    return MemoryStorage(memory)


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


def commit(memory, number=1, kind="entry_updated"):
    """So many events in one transaction, by another process."""
    with MemoryStorage(memory)._write() as state:
        for _ in range(number):
            state.tell(kind, ("notes", "a"), 1, 0.0)


async def heard(feed, listener):
    """All that there is to take, as what came to be known."""
    seqs = []
    while listener.position < feed.last:
        for message in await feed.take(listener):
            body = json.loads(message.text)
            seqs.append((body["from"], body["to"]) if body["type"] == "gap" else body["seq"])
    return seqs


async def test_what_is_committed_by_anyone_is_published(make, memory, autojump_clock):
    commit(memory, 3)
    feed = await make()
    assert feed.last == 3  # nobody listened to those
    with feed.listening() as listener:
        assert feed.statistics().subscribers == 1
        commit(memory, 2)
        assert [m.seq for m in await feed.take(listener)] == [4, 5]
    assert feed.statistics().subscribers == 0


async def test_it_looks_a_hundred_times_a_second_or_when_told(make, memory, mock_clock):
    feed = await make()
    await wait_all_tasks_blocked()
    commit(memory)
    await wait_all_tasks_blocked()
    assert feed.last == 0
    feed.wake()
    await wait_all_tasks_blocked()
    assert feed.last == 1  # at once
    commit(memory)
    mock_clock.jump(0.01)
    await wait_all_tasks_blocked()
    assert feed.last == 2


async def test_a_burst_of_many_pages_is_heard_in_order(make, memory, autojump_clock):
    feed = await make()
    with feed.listening() as listener:
        commit(memory, module.PAGE * 3 + 7)
        await trio.sleep(1)
        assert await heard(feed, listener) == list(range(1, feed.last + 1))
    assert feed.last == module.PAGE * 3 + 7


async def test_a_listener_far_behind_reads_from_the_database(
    make, memory, autojump_clock, monkeypatch
):
    monkeypatch.setattr(module, "KEPT", 10)
    feed = await make()
    with feed.listening() as listener:
        for number in (3, 50, 1, 600, 4):
            commit(memory, number)
            await trio.sleep(1)
        assert feed.left_behind(listener)
        assert await heard(feed, listener) == list(range(1, 659))
        assert not feed.left_behind(listener)


async def test_what_was_pruned_before_it_was_seen_is_said(make, memory, storage, autojump_clock):
    feed = await make()
    with feed.listening() as listener:
        commit(memory, 2)
        await trio.sleep(1)
        commit(memory, 5)
        storage.prune_events(2)  # in the same moment
        await trio.sleep(1)
        assert await heard(feed, listener) == [(1, 5), 6, 7]
        commit(memory)
        await trio.sleep(1)
        assert await heard(feed, listener) == [8]


async def test_a_listener_may_stand_ahead_of_what_is_published(make, memory, autojump_clock):
    """As one does that comes from a process which has looked more recently."""
    feed = await make()
    with feed.listening(2) as listener:
        with trio.move_on_after(1) as waiting:
            await feed.take(listener)
        assert waiting.cancelled_caught
        commit(memory, 2)
        await trio.sleep(1)
        commit(memory)
        await trio.sleep(1)
        assert await heard(feed, listener) == [3]


async def test_from_the_beginning(make, memory, storage, autojump_clock):
    commit(memory, 9)
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
    make, memory, autojump_clock
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
                commit(memory)
                await trio.sleep(0.1)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    times = [at for at, _ in told]
    assert len(told) == 5
    assert min(b - a for a, b in pairwise(times)) >= 1
    assert told[-1][1] == 35


async def test_no_status_where_nothing_changed_or_nobody_listens(make, memory, autojump_clock):
    standing = Standing()
    feed = await make(snapshot=standing)
    commit(memory)
    await trio.sleep(3)
    assert standing.asked == []
    with feed.listening() as listener:
        listener.position = feed.last
        await trio.sleep(3)
        assert len(standing.asked) == 1
        (message,) = await feed.take(listener)
        assert message.type == "status"
        for _ in range(5):  # as a worker's heartbeats, which change nothing
            memory.commits += 1
            await trio.sleep(2)
        assert len(standing.asked) == 6
        with trio.move_on_after(5) as waiting:
            await feed.take(listener)
        assert waiting.cancelled_caught


async def test_dropped_ones_are_counted(make):
    feed = await make()
    feed.drop()
    assert feed.statistics().dropped == 1


async def test_a_database_that_cannot_be_read_ends_it(memory, storage, autojump_clock):
    feed = Feed(storage, run_sync, buffer=1)
    storage.events = lambda *_: 1 / 0
    with pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            await nursery.start(feed.run)
            commit(memory)
