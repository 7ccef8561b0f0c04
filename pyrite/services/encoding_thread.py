"""The thread that encodes: one, always the same, and less urgent than all others.

Niceness belongs to a thread on Linux, and a pool of threads that a library makes inherits it
from the thread that makes it. So the model is loaded and used in a thread of its own, which
has lowered its priority before: encoding then takes what the processors have to spare, and
neither a write nor a search waits for it. Elsewhere the thread is one like the others.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import outcome
import trio

T = TypeVar("T")


class EncodingThread:
    """Runs calls one after another in a thread of its own; an :class:`actors.ports.Hop`."""

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._limiter = trio.CapacityLimiter(1)
        # A daemon: a call that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="encoding", daemon=True)
        self._thread.start()

    async def __call__(
        self, sync_fn: Callable[..., T], *args: object, abandon_on_cancel: bool = False
    ) -> T:
        """The function's result."""
        return await trio.to_thread.run_sync(
            self._wait_for,
            partial(sync_fn, *args),
            abandon_on_cancel=abandon_on_cancel,
            limiter=self._limiter,
        )

    def close(self) -> None:
        """Let the thread end after the calls that it was given."""
        self._calls.put(None)

    def _wait_for(self, call: Callable[[], T]) -> T:
        ended: queue.SimpleQueue[outcome.Outcome[T]] = queue.SimpleQueue()
        self._calls.put(lambda: ended.put(outcome.capture(call)))
        return ended.get().unwrap()

    def _run(self) -> None:
        lower_priority(self._niceness)
        while (call := self._calls.get()) is not None:
            call()


def lower_priority(niceness: int) -> None:
    """Make the calling thread less urgent, where the system lets one."""
    if sys.platform == "linux":
        # A thread that is nicer already may not be allowed back, and is left as it is.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
