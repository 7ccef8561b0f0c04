"""The policy for a database that is unavailable: when it is tried again, and what is said."""

import pytest
import trio

from actors.ports import StorageUnavailableError
from actors.retry import STORAGE_PATIENCE, Patience, StorageRetry


class Locked:
    """A call that finds the database locked until a time; notes when it was made."""

    def __init__(self, until, why="database is locked"):
        self.until = until
        self.why = why
        self.calls = []

    async def __call__(self):
        await trio.lowlevel.checkpoint()
        self.calls.append(round(trio.current_time(), 3))
        if trio.current_time() < self.until:
            raise StorageUnavailableError(self.why)
        return "done"


async def test_the_delay_doubles_up_to_a_cap(autojump_clock):
    said, call = [], Locked(until=20)
    retry = StorageRetry(said.append)
    assert await retry(call) == "done"
    assert call.calls == [0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3, 16.3, 21.3]
    assert said == [
        "the database is unavailable, and is tried again: database is locked",
        "the database can be used again",
    ]
    assert retry.reason is None


async def test_an_outage_is_one_however_many_meet_it(nursery, autojump_clock):
    said = []
    retry = StorageRetry(said.append)
    for until in (1, 2, 4):
        nursery.start_soon(retry, Locked(until))
    await trio.sleep(3)
    assert retry.reason == "the database is unavailable: database is locked"
    assert await retry(Locked(0)) == "done"  # of another, which did not meet it
    assert retry.reason is not None
    await trio.sleep(10)
    assert retry.reason is None
    assert len(said) == 2


async def test_the_reason_is_the_newest(nursery, autojump_clock):
    call = Locked(10)
    retry = StorageRetry()
    nursery.start_soon(retry, call)
    await trio.sleep(1)
    call.why = "database or disk is full"
    await trio.sleep(1)
    assert retry.reason == "the database is unavailable: database or disk is full"


async def test_what_is_cancelled_in_an_outage_does_not_say_that_it_is_over(autojump_clock):
    said = []
    retry = StorageRetry(said.append)
    with trio.move_on_after(3) as limit:
        await retry(Locked(100))
    assert limit.cancelled_caught
    assert trio.current_time() == 3
    assert retry.reason is None
    assert len(said) == 1


async def test_a_bug_is_raised(autojump_clock):
    async def bug():
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await StorageRetry()(bug)
    assert trio.current_time() == 0


async def test_who_has_no_patience_is_told_at_once(autojump_clock):
    said, call = [], Locked(100)
    retry = StorageRetry(said.append, Patience(tries=1))
    with pytest.raises(StorageUnavailableError, match="locked"):
        await retry(call)
    assert (call.calls, said, retry.reason) == ([0], [], None)


def test_the_policy_is_the_one_that_is_promised():
    assert (STORAGE_PATIENCE.base_s, STORAGE_PATIENCE.cap_s) == (0.1, 5.0)
