"""The threads in which a server's blocking calls run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Calls that run at a time; more wait.
_THREADS = 40


class Threads:
    """Runs blocking calls off the event loop, a bounded number at a time."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_THREADS)
        self._searching = trio.CapacityLimiter(1)

    async def run_sync(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The result of a function that blocks; it runs to its end, whatever is cancelled."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def run_search(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """As :meth:`run_sync`, one at a time: the search service keeps state between searches."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._searching)
