"""Waiting for a write ends with what became of it, and never later than agreed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest
import trio

from actors.fanout import Fanout, unchanged
from actors.lifecycle import Status
from actors.messages import Event
from pyrite.errors import NotFoundError
from pyrite.search.freshness import Outcome, Waited
from pyrite.search.waiting import wait, wait_embedded
from pyrite.storage.sqlite.tables import feed as events
from tests.fakes.database import temporary_storage

PENDING, PROCESSING, DONE, FAILED = Status
REVISION = 7


async def run_sync(function: Any, *args: Any) -> Any:
    return function(*args)


class Waiting:
    """Somebody who waits for a write; each look may find it further."""

    def __init__(self, *statuses: Status | None) -> None:
        self._statuses: Iterator[Status | None] = chain(statuses, repeat(statuses[-1]))
        self.fanout = Fanout(temporary_storage(), run_sync, unchanged)
        #: When it looked.
        self.looks: list[float] = []

    async def look(self) -> Status | None:
        await trio.lowlevel.checkpoint()
        self.looks.append(trio.current_time())
        return next(self._statuses)

    async def wait(self, timeout_s: float = 10.0) -> Waited:
        return await wait_embedded(self.fanout, self.look, REVISION, timeout_s)

    async def tell(self, *events: tuple[str, int]) -> None:
        """A second later so many events are published: type and revision."""
        await trio.sleep(1)
        begin = self.fanout.last + 1
        self.fanout.publish(
            [
                Event(seq, kind, "notes", "a", revision, 0.0)
                for seq, (kind, revision) in enumerate(events, begin)
            ]
        )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(DONE, Outcome.EMBEDDED), (FAILED, Outcome.FAILED), (None, Outcome.SUPERSEDED)],
)
@pytest.mark.parametrize("timeout_s", [0.0, 1.0])
async def test_what_has_ended_is_not_waited_for(
    status: Status | None, outcome: Outcome, timeout_s: float, autojump_clock: object
) -> None:
    waiting = Waiting(status)
    assert await waiting.wait(timeout_s) == Waited(REVISION, outcome, 0.0)
    assert len(waiting.looks) == 1


@pytest.mark.parametrize(
    ("event", "last"),
    [
        (("embed_complete", REVISION), DONE),
        (("embed_failed", REVISION), FAILED),
        (("entry_updated", REVISION + 1), None),
        (("entry_deleted", 3), None),
        (("kb_removed", 0), None),
    ],
)
async def test_it_looks_once_and_again_when_it_is_told(
    event: tuple[str, int], last: Status | None, nursery: trio.Nursery, autojump_clock: object
) -> None:
    waiting = Waiting(PENDING, last)
    nursery.start_soon(waiting.tell, event)
    waited = await waiting.wait()
    begun, told = waiting.looks
    assert told - begun == waited.seconds == pytest.approx(1)
    assert waited.outcome is not Outcome.TIMED_OUT


async def test_what_others_become_is_no_reason_to_look(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    waiting = Waiting(PENDING)
    nursery.start_soon(waiting.tell, *[("embed_complete", n) for n in range(20) if n != REVISION])
    assert (await waiting.wait()).outcome is Outcome.TIMED_OUT
    assert len(waiting.looks) == 2  # at the beginning and in the end


async def test_an_event_between_the_look_and_its_answer_is_heard(autojump_clock: object) -> None:
    waiting = Waiting(PENDING, DONE)

    async def look() -> Status | None:
        status = await waiting.look()
        if status is PENDING:
            await waiting.tell(("embed_complete", REVISION))
        return status

    waited = await wait_embedded(waiting.fanout, look, REVISION, math.inf)
    assert waited.outcome is Outcome.EMBEDDED


@pytest.mark.parametrize("status", [PENDING, PROCESSING])
async def test_nobody_waits_longer_than_agreed(status: Status, autojump_clock: object) -> None:
    waited = await Waiting(status).wait(timeout_s=0.035)
    assert waited == Waited(REVISION, Outcome.TIMED_OUT, pytest.approx(0.035))
    waiting = Waiting(status)
    assert (await waiting.wait(timeout_s=0.0)).outcome is Outcome.TIMED_OUT
    assert len(waiting.looks) == 1


async def test_what_ends_at_the_last_moment_has_ended(autojump_clock: object) -> None:
    """As does what another process has committed without this one having noticed."""
    waited = await Waiting(PENDING, DONE).wait(timeout_s=0.001)
    assert waited.outcome is Outcome.EMBEDDED


def test_where_no_event_loop_runs_it_watches_by_itself() -> None:
    storage = temporary_storage()
    statuses = iter([PENDING, DONE])

    def status() -> Status | None:
        found = next(statuses)
        if found is PENDING:
            with storage._db.write() as conn:
                events.append_bare(conn, [("embed_complete", "notes", "a", REVISION, 0.0)])
        return found

    assert wait(storage, status, REVISION, 60.0).outcome is Outcome.EMBEDDED


@pytest.mark.parametrize("revision", [2**63, 10**30, -(2**70)])
def test_no_write_has_a_number_that_no_database_holds(revision: int) -> None:
    with pytest.raises(NotFoundError, match=f"there is no revision {revision}"):
        wait(temporary_storage(), lambda: DONE, revision, 1.0)
