"""A Trio run in a thread of its own, for what several blocking calls share.

Unlike :func:`trio.from_thread.run` and AnyIO's portal, which refuse to be called on any thread that
runs Trio, it can be told to stop from anywhere. That matters where the collector of garbage does
it, which runs on whatever thread there is and must neither wait nor fail.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

import trio

T = TypeVar("T")


class StoppedError(Exception):
    """The thread has been told to stop; what was asked for has not been done."""


class TrioThread:
    """The thread; a daemon, so that it keeps no process from ending."""

    def __init__(self, name: str, at_end: Callable[[], Awaitable[object]]) -> None:
        """Start it.

        Args:
            name: the thread's.
            at_end: called on it when it stops, after all else was cancelled.
        """
        self._at_end = at_end
        self._stopping = trio.Event()
        started: Future[tuple[trio.lowlevel.TrioToken, trio.Nursery]] = Future()
        self._thread = threading.Thread(
            target=trio.run, args=(self._main, started), name=name, daemon=True
        )
        self._thread.start()
        self._token, self._nursery = started.result()

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function there, and wait for its result; to be called in any other thread.

        Raises:
            StoppedError: the thread has stopped, or did meanwhile.
        """
        future: Future[T] = Future()
        scope = trio.CancelScope()

        def start() -> None:
            if self._stopping.is_set():
                future.set_exception(StoppedError())
            else:
                self._nursery.start_soon(_settle, function, future, scope)

        try:
            self._token.run_sync_soon(start)
        except trio.RunFinishedError:
            raise StoppedError from None
        try:
            return future.result()
        except BaseException:
            # Whoever waits may be interrupted; nobody would want the result then.
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(scope.cancel)
            raise

    def stop(self) -> None:
        """Have it cancel what it does, and end; does not wait."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._stopping.set)

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    async def _main(self, started: Future[tuple[trio.lowlevel.TrioToken, trio.Nursery]]) -> None:
        async with trio.open_nursery() as nursery:
            started.set_result((trio.lowlevel.current_trio_token(), nursery))
            await self._stopping.wait()
            nursery.cancel_scope.cancel()
        await self._at_end()


async def _settle(
    function: Callable[[], Awaitable[T]], future: Future[T], scope: trio.CancelScope
) -> None:
    """Put what becomes of the function into the future."""
    try:
        with scope:
            future.set_result(await function())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever waits
        future.set_exception(error)
    finally:
        if not future.done():
            future.set_exception(StoppedError())
