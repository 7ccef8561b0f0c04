"""The poller: takes due entries from the queue, and sleeps until there may be more.

It waits for whichever comes first: a wake in this process, another connection's commit, or
the time at which the next entry falls due. Back-pressure reaches it through its channel:
while the batcher has enough, it claims nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from actors.in_flight import InFlight
from actors.messages import Claim
from actors.ports import Hop, Queue


class Wake:
    """A bell that the one who waits hears even if it rang before."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Let the waiter go on, now or when it next waits."""
        self._event.set()

    async def wait_rung(self) -> None:
        """Return as soon as the bell has been rung since the last return."""
        await self._event.wait()
        self._event = trio.Event()


async def poller(
    claims: trio.MemorySendChannel[tuple[Claim, ...]],
    *,
    queue: Queue,
    hop: Hop,
    in_flight: InFlight,
    wake: Wake,
    changed: Callable[[], bool],
    limit: int,
    poll_interval_s: float,
    drain: bool,
) -> None:
    """Claim due entries and send them on; in a drain, return once nothing is unfinished.

    ``changed`` says, without blocking, whether another connection has committed since it was
    last asked.
    """
    with claims:
        while True:
            # A hop cannot be cut in two: when a stop arrives meanwhile, its result is still
            # returned, and the claims are known to be in flight before the stop is felt.
            found = await hop(queue.claim, limit)
            if found.claims:
                in_flight.enter(found.claims)
                await claims.send(found.claims)
            elif drain and not found.unfinished:
                return
            else:
                due = math.inf if found.next_due_s is None else max(0.0, found.next_due_s)
                await wait_work_possible(wake, changed, due, poll_interval_s)


async def wait_work_possible(
    wake: Wake, changed: Callable[[], bool], due_s: float, poll_interval_s: float
) -> None:
    """Return on a wake, on a foreign commit, or after ``due_s`` seconds."""
    deadline = trio.current_time() + due_s
    while trio.current_time() < deadline and not changed():
        with trio.move_on_at(min(deadline, trio.current_time() + poll_interval_s)):
            await wake.wait_rung()
            return
