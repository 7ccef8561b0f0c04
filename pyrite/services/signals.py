"""The signals that ask a process to stop.

A shell's ``timeout``, a terminal and a supervisor may each signal a process and the group it is
in: what was meant once arrives twice. So what comes within half a second of a signal is the same
one, and the second signal, which ends a process at once, is one that a person has sent on purpose.
"""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import trio

#: Signals that arrive within so many seconds are one.
TOGETHER_S = 0.5

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def open_stop_signals() -> Iterator[AsyncIterator[int]]:
    """Receive SIGINT and SIGTERM, those that belong together once; in the main thread.

    What has arrived and was not waited for is forgotten at the end, when Trio would deliver it
    again to a process that is stopping already.
    """
    with ExitStack() as restored:
        for number in _NUMBERS:
            restored.callback(signal.signal, number, signal.signal(number, signal.SIG_IGN))
        with trio.open_signal_receiver(*_NUMBERS) as received:
            yield _Apart(received)


class _Apart:
    """Signals as they are received, without those that belong to one before them.

    No generator, for a watcher that has seen enough would leave it open.
    """

    def __init__(self, received: AsyncIterator[int]) -> None:
        self._received = received
        self._last = -math.inf

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        while True:
            number = await anext(self._received)
            now = trio.current_time()
            if now - self._last >= TOGETHER_S:
                self._last = now
                return number
