"""Waiting for a write: until it can be found by meaning, or never will be, or time is over.

The write's status is looked at once, and again only after an event that may have changed it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import outcome
import trio

from actors.fanout import Fanout, Subscription, unchanged
from actors.lifecycle import Status
from actors.ports import EventLog
from pyrite.search.freshness import Outcome, Waited, check_revision


class Notice(Protocol):
    """What the fan-out gives for an event or a gap, as far as who waits has to know it."""

    @property
    def type(self) -> str:
        """Its type."""
        ...

    @property
    def revision(self) -> int:
        """The write that it is about."""
        ...


N = TypeVar("N", bound=Notice)

#: After these a write may have been superseded that has another number, or none.
_ENDS_OTHERS = frozenset({"entry_created", "entry_updated", "entry_deleted", "kb_removed", "gap"})

_OUTCOMES: dict[Status | None, Outcome] = {
    Status.DONE: Outcome.EMBEDDED,
    Status.FAILED: Outcome.FAILED,
    # The queue does not know it any more.
    None: Outcome.SUPERSEDED,
}


async def wait_embedded(
    fanout: Fanout[N],
    look: Callable[[], Awaitable[Status | None]],
    revision: int,
    timeout_s: float,
) -> Waited:
    """Wait for a write; holds no thread.

    Args:
        fanout: one that runs.
        look: finds the status of the write, None where it has been superseded.
        revision: the write's number.
        timeout_s: how long to wait; 0 only looks.

    Raises:
        NotFoundError: there has been no such write.
    """
    check_revision(revision)
    started = trio.current_time()
    # Subscribed before the first look: nothing happens unseen between the two.
    with fanout.subscribe() as subscription:
        status = await look()
        with trio.move_on_at(started + timeout_s) as limit:
            while status not in _OUTCOMES:
                await _concerned(subscription, revision)
                status = await look()
        if limit.cancelled_caught and timeout_s > 0:
            # Of another process the commit may be there, and its notice still to come.
            status = await look()
    ended = _OUTCOMES.get(status, Outcome.TIMED_OUT)
    return Waited(revision, ended, trio.current_time() - started)


async def wait_alone(
    log: EventLog, look: Callable[[], Awaitable[Status | None]], revision: int, timeout_s: float
) -> Waited:
    """Wait for a write in a process in which no fan-out runs but for this.

    Raises:
        NotFoundError: there has been no such write.
    """
    fanout = Fanout(log, trio.to_thread.run_sync, unchanged)
    async with trio.open_nursery() as nursery:
        await nursery.start(fanout.run)
        # Unwrapped out of the nursery, which would put what went wrong into a group.
        ended = await outcome.acapture(wait_embedded, fanout, look, revision, timeout_s)
        nursery.cancel_scope.cancel()
    return ended.unwrap()


def wait(
    log: EventLog, status: Callable[[], Status | None], revision: int, timeout_s: float
) -> Waited:
    """Wait for a write where no event loop runs.

    Raises:
        NotFoundError: there has been no such write.
    """
    look = partial(trio.to_thread.run_sync, status)
    return trio.run(wait_alone, log, look, revision, timeout_s)


async def _concerned(subscription: Subscription[N], revision: int) -> None:
    """Return after an event that may have changed the write's status."""
    while True:
        taken = await subscription.take()
        if any(each.revision == revision or each.type in _ENDS_OTHERS for each in taken):
            return
