"""An event that resets itself when its waiter goes on: how one actor lets another proceed."""

from __future__ import annotations

import trio


class AutoResetEvent:
    """An event for one waiter, who sees it even if it was set before the wait began."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Let the waiter go on, now or when it next waits."""
        self._event.set()

    async def wait(self) -> None:
        """Return as soon as it has been set since the last return."""
        await self._event.wait()
        self._event = trio.Event()
