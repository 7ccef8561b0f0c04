"""The poller: takes due entries from the queue, and sleeps until there may be more.

It waits for whichever comes first: a wake, which whoever notices a commit gives it, or the time
at which the next entry falls due. While the batcher has enough, it claims only what
somebody waits for: an edit does not stand in line behind what was claimed in bulk. While the
pipeline is paused, it claims nothing; what it claimed before is finished.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from actors.auto_reset_event import AutoResetEvent
from actors.in_flight import InFlight
from actors.messages import Claim, Report, StateChange, WorkerState
from actors.ports import Claimed, Queue, RunSync
from actors.retry import StorageRetry


async def poller(
    claims: trio.MemorySendChannel[tuple[Claim, ...]],
    states: trio.MemorySendChannel[Report | StateChange],
    *,
    queue: Queue,
    run_sync: RunSync,
    retry: StorageRetry,
    in_flight: InFlight,
    wake: AutoResetEvent,
    has_room: Callable[[], bool],
    paused: Callable[[], bool],
    limit: int,
    drain: bool,
) -> None:
    """Claim due entries and send them on; in a drain, return once nothing is unfinished.

    ``has_room`` says whether the batcher can take more than what is urgent; ``paused``, whether
    nothing may be claimed. Whoever makes room, resumes, ends a claim or notices a commit sets
    the event.
    """

    async def look() -> tuple[bool, Claimed] | None:
        # An outage may have lasted into a pause.
        if paused():
            return None
        urgent = not has_room()
        # A call in a thread cannot be cut in two: when a stop arrives meanwhile, its result is
        # still returned, and the claims are known to be in flight before the stop is felt.
        return urgent, await run_sync(queue.claim, limit, urgent)

    with claims, states:
        while True:
            await wait_resumed(paused, in_flight, wake, states)
            looked = await retry(look)
            if looked is None:
                continue
            urgent, found = looked
            if found.claims:
                in_flight.enter(found.claims)
                await claims.send(found.claims)
            elif drain and not urgent and not found.unfinished:
                return
            else:
                # Without room, what falls due will be taken when there is some, and not before.
                waits = urgent or found.next_due_s is None
                with trio.move_on_after(math.inf if waits else max(0.0, found.next_due_s or 0.0)):
                    await wake.wait()


async def wait_resumed(
    paused: Callable[[], bool],
    in_flight: InFlight,
    wake: AutoResetEvent,
    states: trio.MemorySendChannel[Report | StateChange],
) -> None:
    """Return when claiming is allowed; say so when there is a pause and nothing is in flight."""
    said = False
    while paused():
        if not said and not in_flight:
            await states.send(StateChange(WorkerState.PAUSED))
            said = True
        else:
            await wake.wait()
    if said:
        await states.send(StateChange(WorkerState.IDLE))
