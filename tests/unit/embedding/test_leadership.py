"""One process at a time has the right to embed, and it passes on when that one goes."""

from __future__ import annotations

import math
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

from pyrite.embedding.leadership import RETRY_S, Leadership
from pyrite.embedding.process import identity
from pyrite.storage.queue_records import Leader
from pyrite.storage.sqlite.driver import sqlite3
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


def candidate(storage: SqliteStorage, report: Callable[[str], None] = pytest.fail) -> Leadership:
    return Leadership(storage, LEASE_S, trio.current_time, report=report, run_sync=inline)


# Taking and keeping it


async def test_the_first_has_it_and_the_second_waits(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    first, second = candidate(storage), candidate(storage)
    await first.acquire()
    assert first.leads
    with trio.move_on_after(5 * RETRY_S) as waiting:
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
    assert trio.current_time() - resigned_at <= RETRY_S


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
    assert LEASE_S <= trio.current_time() <= LEASE_S + RETRY_S


async def test_a_dead_process_loses_it_at_once(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    storage.lead(leader(pid=dead_pid(), expires_at=1e9))
    me = candidate(storage)
    await me.try_acquire()
    assert me.leads
    assert trio.current_time() == 0.0
    assert os.getpid() == me.me.pid


async def test_a_suspended_computer_leaves_it_where_it_was(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    """Trio's clock stands still meanwhile, and whoever asks first finds the lease over."""
    slept = 0.0

    def clock() -> float:
        return trio.current_time() + slept

    first, second = (
        Leadership(storage, LEASE_S, clock, report=pytest.fail, run_sync=inline) for _ in range(2)
    )
    await first.acquire()

    async def work() -> None:
        nonlocal slept
        for _ in range(3):
            await trio.sleep(10 * LEASE_S + 0.5)
            slept += 3600.0
        await trio.sleep(10 * LEASE_S)
        assert not second.leads

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.acquire)
        await first.hold(work, pytest.fail)
    assert second.leads
    assert first.lost == 0


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
        storage.lead(leader(expires_at=11.0))
        await stopped.wait()
        return trio.current_time()

    assert await me.hold(work, stopped.set) == LEASE_S / 3
    assert (me.leads, me.lost) == (False, 1)
    held = storage.leader()
    assert held is not None
    assert held.worker_id == "them"
    await me.acquire()
    assert 11.0 <= trio.current_time() <= 11.0 + RETRY_S


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


# A database that is away for a while


class Away:
    """Makes a storage fail from one time until another."""

    def __init__(self, storage: SqliteStorage, patch: pytest.MonkeyPatch) -> None:
        self.until = self.since = math.inf
        for name in ("lead", "resign", "leader"):
            patch.setattr(storage, name, partial(self._call, getattr(storage, name)))

    def _call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if self.since <= trio.current_time() < self.until:
            raise sqlite3.OperationalError("database is locked")
        return function(*args, **kwargs)


@pytest.fixture
def away(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(storage, monkeypatch)


async def test_renewals_that_fail_for_a_while_end_nothing(
    storage: SqliteStorage, autojump_clock: MockClock, away: Away
) -> None:
    said: list[str] = []
    me = candidate(storage, said.append)
    await me.acquire()
    away.since, away.until = 1.0, LEASE_S - 1

    async def work() -> bool:
        await trio.sleep(3 * LEASE_S)
        return me.leads

    assert await me.hold(work, pytest.fail)
    assert me.lost == 0
    assert said == ["the right to embed cannot be asked for or renewed: database is locked"]


async def test_who_cannot_renew_it_stops_when_it_has_run_out(
    storage: SqliteStorage, autojump_clock: MockClock, away: Away
) -> None:
    said: list[str] = []
    me = candidate(storage, said.append)
    await me.acquire()
    away.since = 1.0
    stopped = trio.Event()

    async def work() -> float:
        await stopped.wait()
        return trio.current_time()

    assert LEASE_S <= await me.hold(work, stopped.set) <= LEASE_S + RETRY_S
    assert (me.leads, me.lost) == (False, 1)
    # One line for all renewals, and one for giving it back.
    assert len(said) == 2


async def test_who_waits_for_it_goes_on_waiting(
    storage: SqliteStorage, autojump_clock: MockClock, away: Away
) -> None:
    said: list[str] = []
    away.since, away.until = 0.0, 20.0
    me = candidate(storage, said.append)
    await me.acquire()
    assert 20.0 <= trio.current_time() <= 20.0 + RETRY_S
    assert len(said) == 1


async def test_a_bug_is_none_of_these(
    storage: SqliteStorage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = candidate(storage)
    await me.acquire()

    def broken(*_: object, **__: object) -> Leader:
        raise ZeroDivisionError

    monkeypatch.setattr(storage, "lead", broken)
    with pytest.raises(ExceptionGroup) as found:
        await me.hold(trio.sleep_forever, pytest.fail)
    assert found.group_contains(ZeroDivisionError)
    assert storage.leader() is None


async def test_a_clock_set_back_does_not_leave_the_right_with_the_dead(
    storage: SqliteStorage, autojump_clock: MockClock
) -> None:
    """A leader of another computer that has gone cannot be known for dead: its lease has to end."""
    storage.lead(leader(expires_at=86_400.0, since=86_400.0 - LEASE_S, host="elsewhere"))
    me = candidate(storage)
    await me.acquire()
    assert LEASE_S <= trio.current_time() <= LEASE_S + RETRY_S
