"""The thread that encodes: one, always the same, and less urgent than all others.

Niceness belongs to a thread on Linux, and a pool of threads that a library makes inherits it
from the thread that makes it. So the model is loaded and used in a thread of its own, which
has lowered its priority before: encoding then takes what the processors have to spare, and
neither a write nor a search waits for it. Elsewhere the thread is one like the others.

Where a search may be the first to need the model, it has it loaded in such a thread as well.
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

from actors.messages import Vector
from pyrite.encoders.protocol import TextEncoder

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
            ended: list[outcome.Outcome[None]] = []

            def load() -> None:
                lower_priority(self._niceness)
                ended.append(outcome.capture(self._encoder.load))

            thread = threading.Thread(target=load, name="loading", daemon=True)
            thread.start()
            thread.join()
            ended[0].unwrap()
        return self._encoder.encode_query(text)


def lower_priority(niceness: int) -> None:
    """Make the calling thread less urgent, where the system lets one."""
    if sys.platform == "linux":
        # A thread that is nicer already may not be allowed back, and is left as it is.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
