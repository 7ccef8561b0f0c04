"""Limits of time: how long a thread may read before SQLite breaks off what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyrite.errors import TimeLimitError
from pyrite.storage.sqlite.driver import sqlite3

#: Steps of SQLite's machine, a millisecond's or so, between two looks at the clock: each look
#: waits for the interpreter's lock.
_STEPS = 20_000


class TimeLimit(threading.local):
    """The time at which the reading of each thread is broken off."""

    #: On the monotonic clock; None: never.
    deadline: float | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Break off this thread's reading after so long, until the context is left."""
        self.deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self.deadline = None

    @contextmanager
    def kept_by(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Have a connection keep to the limit.

        Raises:
            TimeLimitError: it was reached.
        """
        deadline = self.deadline
        if deadline is None:
            yield
            return
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_INTERRUPT:
                raise
            limit = "the search took longer than the setting search_limit_s"
            raise TimeLimitError(limit) from error
        finally:
            connection.set_progress_handler(None, 0)
