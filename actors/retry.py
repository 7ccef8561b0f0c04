"""Retries: the one policy for a database that is busy, full or away for a while.

Whoever meets :class:`actors.ports.StorageUnavailableError` outside a request tries the same call
again, after a delay that doubles up to a cap, for as long as it takes. Anything else is a bug,
and is raised. What is called must do no harm when it is done twice: an ending is guarded by
revision and token, and what else is called here reads, or writes the same again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from actors.ports import StorageUnavailableError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How what is unavailable is tried again; the delay doubles up to the cap."""

    base_s: float = 1.0
    cap_s: float = 60.0
    #: Tries before the error is raised instead; infinite for a service.
    tries: float = math.inf

    def delay(self, tried: int) -> float:
        """Seconds to wait after ``tried`` failures."""
        return min(self.cap_s, self.base_s * 2.0 ** min(tried - 1, 64))


#: A lock is often gone in a moment, and a disk that is full may have room at any time.
STORAGE_PATIENCE = Patience(base_s=0.1, cap_s=5.0)


def say_nothing(_: str) -> None:
    """Report to nobody."""


class StorageRetry:
    """Repeats calls that find the database unavailable; used on the Trio thread.

    An outage begins with the first call that fails, and is over when every call that failed has
    succeeded: while only writes are refused, reads say nothing about it. Beginning and end are
    reported, each once.
    """

    def __init__(
        self, report: Callable[[str], None] = say_nothing, patience: Patience | None = None
    ) -> None:
        self._report = report
        self._patience = patience or STORAGE_PATIENCE
        self._failing = 0
        #: Why the database is unavailable; None while no call is known to fail.
        self.reason: str | None = None

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, however often it has to be made.

        Raises:
            StorageUnavailableError: it has failed for as many times as the patience allows.
        """
        tried = 0
        try:
            while True:
                try:
                    result = await call()
                except StorageUnavailableError as error:
                    tried += 1
                    if tried >= self._patience.tries:
                        raise
                    self._note(error, first=tried == 1)
                    await trio.sleep(self._patience.delay(tried))
                else:
                    break
        except BaseException:
            # Given up, or cancelled: whether it would succeed by now is not known.
            self._leave(tried)
            raise
        if self._leave(tried):
            self._report("the database can be used again")
        return result

    def _note(self, error: StorageUnavailableError, *, first: bool) -> None:
        self._failing += first
        if self.reason is None:
            self._report(f"the database is unavailable, and is tried again: {error}")
        self.reason = f"the database is unavailable: {error}"

    def _leave(self, tried: int) -> bool:
        """Forget a call, if it ever failed; whether it was the last of the outage."""
        if not tried or not self._failing:
            return False
        self._failing -= 1
        if not self._failing:
            self.reason = None
        return not self._failing
