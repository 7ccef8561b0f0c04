"""One process at a time has the right to embed, and it passes on when that one goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from pyrite.embedding.leaders import Standing, present_leader, standing
from pyrite.embedding.leadership import LOOK_S, Leadership
from pyrite.embedding.process import identity
from pyrite.storage.records import Leader
from pyrite.storage.sqlite.store import SqliteStorage
from tests.fakes.database import temporary_storage

T = TypeVar("T")

LEASE_S = 9.0


async def inline(function: Callable[..., T], *args: Any, abandon_on_cancel: bool = False) -> T:
    await trio.lowlevel.checkpoint()
    return function(*args)


def leader(worker_id: str = "them", *, expires_at: float = 10.0, **changes: Any) -> Leader:
    me = identity()
    made = Leader(worker_id, me.pid, me.host, me.process_started, 0.0, expires_at)
    return replace(made, **changes)


def dead_pid() -> int:
    """The pid of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def storage() -> SqliteStorage:
    return temporary_storage()


def candidate(storage: SqliteStorage) -> Leadership:
    return Leadership(storage, LEASE_S, trio.current_time, run_sync=inline)


# The decision


@pytest.mark.parametrize(
    ("held", "dead", "expected"),
    [
        (None, False, Standing.FREE),
        (leader("me"), False, Standing.MINE),
        (leader("me", expires_at=1.0), False, Standing.MINE),
        (leader(), False, Standing.TAKEN),
        (leader(), True, Standing.FREE),
        (leader(expires_at=5.0), False, Standing.FREE),
    ],
)
def test_how_the_right_stands(held: Leader | None, dead: bool, expected: Standing) -> None:
    assert standing(held, "me", 5.0, dead=dead) is expected


def test_who_leads_now(storage: SqliteStorage) -> None:
    assert present_leader(storage, 0.0) is None
    held = storage.lead(leader())
    assert present_leader(storage, 9.0) == held
    assert present_leader(storage, 10.0) is None
    storage.resign("them")
    storage.lead(leader(pid=dead_pid()))
    assert present_leader(storage, 0.0) is None


# Taking and keeping it


async def test_the_first_has_it_and_the_second_waits(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    first, second = candidate(storage), candidate(storage)
    await first.acquire()
    assert first.leads
    with trio.move_on_after(5 * LOOK_S) as waiting:
        await second.acquire()
    assert waiting.cancelled_caught
    assert not second.leads
    assert second.leader is not None
    assert second.leader.worker_id == first.me.worker_id


async def test_what_is_given_back_is_taken_within_a_second(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    first, second = candidate(storage), candidate(storage)
    await first.acquire()
    resigned_at = 0.0

    async def work() -> str:
        nonlocal resigned_at
        await trio.sleep(2.5)
        resigned_at = trio.current_time()
        return "done"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.acquire)
        assert await first.hold(work, pytest.fail) == "done"
        assert not first.leads
    assert second.leads
    assert trio.current_time() - resigned_at <= LOOK_S


async def test_who_is_woken_looks_at_once(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    storage.lead(leader(expires_at=100.0))
    me = candidate(storage)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(me.acquire)
        await trio.sleep(0.5)
        storage.resign("them")
        me.wake()
    assert trio.current_time() == 0.5


async def test_it_is_kept_for_as_long_as_the_work_takes(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    first, second = candidate(storage), candidate(storage)
    await first.acquire()
    taken: list[float] = []

    async def covet() -> None:
        await second.acquire()
        taken.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(covet)
        await first.hold(partial(trio.sleep, 20 * LEASE_S), pytest.fail)
        assert not taken
    held = storage.leader()
    assert held is not None
    assert held.since == taken[0] >= 20 * LEASE_S


async def test_what_lapses_is_taken(storage: SqliteStorage, autojump_clock: MockClock) -> None:
    storage.lead(leader(expires_at=LEASE_S))
    me = candidate(storage)
    await me.acquire()
    assert LEASE_S <= trio.current_time() <= LEASE_S + LOOK_S


async def test_a_dead_process_loses_it_at_once(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    storage.lead(leader(pid=dead_pid(), expires_at=1e9))
    me = candidate(storage)
    await me.look()
    assert me.leads
    assert trio.current_time() == 0.0
    assert os.getpid() == me.me.pid


# Losing it


async def test_who_loses_it_is_told_to_stop_and_may_try_again(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    me = candidate(storage)
    await me.acquire()
    stopped = trio.Event()

    async def work() -> float:
        # As if this process had been suspended for longer than the lease.
        storage.resign(me.me.worker_id)
        storage.lead(leader(expires_at=30.0))
        await stopped.wait()
        return trio.current_time()

    assert await me.hold(work, stopped.set) == LEASE_S / 3
    assert (me.leads, me.lost) == (False, 1)
    held = storage.leader()
    assert held is not None
    assert held.worker_id == "them"
    await me.acquire()
    assert 30.0 <= trio.current_time() <= 30.0 + LOOK_S


async def test_it_is_given_back_when_the_work_fails(storage: SqliteStorage) -> None:
    me = candidate(storage)
    await me.acquire()

    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await me.hold(work, pytest.fail)
    assert storage.leader() is None


async def test_it_is_given_back_when_the_work_is_cancelled(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    me = candidate(storage)
    await me.acquire()
    with trio.move_on_after(1) as limit:
        await me.hold(trio.sleep_forever, pytest.fail)
    assert limit.cancelled_caught
    assert storage.leader() is None


async def test_a_renewal_that_fails_ends_the_work(
    storage: SqliteStorage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = candidate(storage)
    await me.acquire()

    def broken(*_: object, **__: object) -> Leader:
        raise OSError("the disk is full")

    monkeypatch.setattr(storage, "lead", broken)
    with pytest.raises(ExceptionGroup) as found:
        await me.hold(trio.sleep_forever, pytest.fail)
    assert found.group_contains(OSError, match="the disk is full")
    assert storage.leader() is None
