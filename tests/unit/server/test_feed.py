"""Status messages: now and then, and once after the last change; and gaps as messages."""

import json
from itertools import pairwise

import pytest
import trio

from actors.fanout import Fanout
from actors.messages import Gap
from actors.retry import StorageRetry
from pyrite.server.feed.messages import rendered
from pyrite.server.feed.status import announce_status
from tests.unit.actors.test_fanout import Log, watch


@pytest.fixture
def log():
    return Log()


async def run_sync(function, *args):
    """As through a thread, but inline; time passes for others."""
    await trio.lowlevel.checkpoint()
    return function(*args)


@pytest.fixture
def make(log, nursery):
    async def made(snapshot):
        fanout = Fanout(log, run_sync, rendered, watch=watch)
        await nursery.start(fanout.run)
        nursery.start_soon(announce_status, fanout, run_sync, snapshot, StorageRetry())
        return fanout

    return made


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
    make, log, autojump_clock
):
    standing, told = Standing(), []
    feed = await make(standing)

    async def listen(listener):
        while True:
            for message in await listener.take():
                body = json.loads(message.text)
                if body["type"] == "status":
                    told.append((trio.current_time(), body["pending"]))

    async with trio.open_nursery() as nursery:
        with feed.subscribe() as listener:
            nursery.start_soon(listen, listener)
            for _ in range(35):  # over three and a half seconds
                standing.pending += 1
                log.commit()
                await trio.sleep(0.1)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    times = [at for at, _ in told]
    assert len(told) == 5
    assert min(b - a for a, b in pairwise(times)) >= 1
    assert told[-1][1] == 35


async def test_no_status_where_nothing_changed_or_nobody_listens(make, log, autojump_clock):
    standing = Standing()
    feed = await make(standing)
    log.commit()
    await trio.sleep(3)
    assert standing.asked == []
    with feed.subscribe() as listener:
        listener.position = feed.last
        await trio.sleep(3)
        assert len(standing.asked) == 1
        (message,) = await listener.take()
        assert message.type == "status"
        for _ in range(5):  # as a worker's heartbeats, which change nothing
            log.commit(0)
            await trio.sleep(2)
        assert len(standing.asked) == 6
        with trio.move_on_after(5) as waiting:
            await listener.take()
        assert waiting.cancelled_caught


def test_a_gap_is_a_message():
    assert rendered(Gap(4, 9)).text == ('{"type":"gap","seq":9,"from":4,"to":9,"reason":"pruned"}')
