"""The threads that encode: as many as there are calls, and less urgent than all others.

Niceness belongs to a thread on Linux, and a pool of threads that a library makes inherits it
from the thread that makes it. So the model is loaded and used in threads of its own, which
have lowered their priority before: encoding then takes what the processors have to spare, and
neither a write nor a search waits for it. Elsewhere the threads are like the others.

Where a search may be the first to need the model, it has it loaded in such a thread as well.
"""

from __future__ import annotations

import math
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

from actors.messages import Vector
from pyrite.encoders.protocol import TextEncoder

T = TypeVar("T")


class EncodingThreads:
    """Runs each call in a thread that has nothing else to do; an :class:`actors.ports.Hop`."""

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        #: As often as there are threads without a call.
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        # Who calls knows how many calls at a time do well; none waits for threads of others.
        self._limiter = trio.CapacityLimiter(math.inf)

    async def __call__(
        self, sync_fn: Callable[..., T], *args: object, abandon_on_cancel: bool = False
    ) -> T:
        """The function's result."""
        return await trio.to_thread.run_sync(
            self.wait_for,
            partial(sync_fn, *args),
            abandon_on_cancel=abandon_on_cancel,
            limiter=self._limiter,
        )

    def close(self) -> None:
        """Let the threads end after the calls that they were given."""
        for _ in self._threads:
            self._calls.put(None)

    def wait_for(self, call: Callable[[], T]) -> T:
        """The function's result, for a caller that may block."""
        ended: queue.SimpleQueue[outcome.Outcome[T]] = queue.SimpleQueue()

        def run() -> None:
            result = outcome.capture(call)
            # Before the result is known: who has it may call again at once.
            self._idle.release()
            ended.put(result)

        if not self._idle.acquire(blocking=False):
            # A daemon: a call that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._run, name="encoding", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._calls.put(run)
        return ended.get().unwrap()

    def _run(self) -> None:
        lower_priority(self._niceness)
        while (call := self._calls.get()) is not None:
            call()


class PoliteQueries:
    """A :class:`pyrite.encoders.protocol.QueryEncoder` that shares its model with a worker.

    The pool of threads that comes with the model is made by whoever loads it. So a query that
    finds it not loaded has that done in a less urgent thread, and only waits for it.
    """

    def __init__(self, encoder: TextEncoder, niceness: int) -> None:
        self._encoder = encoder
        self._niceness = niceness

    @property
    def name(self) -> str:
        """The model's name."""
        return self._encoder.name

    def fingerprint(self) -> str:
        """What tells this model's embeddings from any other's."""
        return self._encoder.fingerprint()

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query; raises as the encoder does."""
        if not self._encoder.ready:
            threads = EncodingThreads(self._niceness)
            try:
                threads.wait_for(self._encoder.load)
            finally:
                threads.close()
        return self._encoder.encode_query(text)


def lower_priority(niceness: int) -> None:
    """Make the calling thread less urgent, where the system lets one."""
    if sys.platform == "linux":
        # A thread that is nicer already may not be allowed back, and is left as it is.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
