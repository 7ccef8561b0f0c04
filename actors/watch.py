"""Watching for the commits of all processes, at next to no cost while there are none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import outcome
import trio

from actors.ports import CommitWatcher


async def watch_in_thread(
    watcher: CommitWatcher, told: Callable[[], None], interval_s: float
) -> None:
    """Call ``told`` on the Trio thread after commits, until cancelled.

    The looks are made in a thread, for one may wait behind a lock, and in the same one
    throughout: a way there and back for each, four times a second, cost an idle server more
    than all else that it does together (0.3 percent of a core; so it is half of that).

    Raises:
        StorageUnavailableError: a look failed; this can be called again with the same watcher.
    """
    stop, token = threading.Event(), trio.lowlevel.current_trio_token()

    def look() -> None:
        while not stop.wait(interval_s):
            if watcher.changed():
                token.run_sync_soon(told)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_set_when_cancelled, stop)
        # It ends when it is told to, and is waited for, so that the watcher can be closed.
        with trio.CancelScope(shield=True):
            # Unwrapped out of the nursery, which would put what went wrong into a group.
            limiter = trio.CapacityLimiter(1)
            ended = await outcome.acapture(partial(trio.to_thread.run_sync, look, limiter=limiter))
        nursery.cancel_scope.cancel()
    await trio.lowlevel.checkpoint_if_cancelled()
    ended.unwrap()


async def _set_when_cancelled(stop: threading.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stop.set()
