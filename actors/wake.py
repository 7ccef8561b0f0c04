"""A bell by which one actor lets another go on."""

from __future__ import annotations

import trio


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
