"""Log lines written by a thread of their own, so that nobody who logs waits for a reader.

A write to a pipe blocks once the pipe is full, and stays blocked as long as whoever is to read
it does not: a supervisor that hangs, a terminal that was stopped. On the event loop that would
stop the whole service, its health check and its reaction to signals included. So a line is put
into a bounded queue; where that is full it is dropped, counted, and said once there is room again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from contextlib import suppress
from typing import TextIO

#: Lines that wait to be written; some megabytes at most.
CAPACITY = 10_000

#: For how long the end of a process waits for what is not yet written, in seconds.
_LAST_LINES_S = 1.0


class LogWriter(logging.Handler):
    """A handler that formats records where they are made and has a thread write them.

    Args:
        stream: where to.
        capacity: how many lines may wait.
    """

    def __init__(self, stream: TextIO, *, capacity: int = CAPACITY) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(capacity)
        self._dropped = 0
        # Not the handler's own: that one is held by whoever waits for the last lines.
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record, and leave it to the thread; never blocks."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a record that is wrong must end nobody's work
            line = "".join(traceback.format_exception(error)).rstrip()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            with self._counting:
                self._dropped += 1

    def flush(self) -> None:
        """Wait until what was logged is written, but no longer than a second."""
        until = time.monotonic() + _LAST_LINES_S
        with self._lines.all_tasks_done:
            while self._lines.unfinished_tasks and (left := until - time.monotonic()) > 0:
                self._lines.all_tasks_done.wait(left)

    def stop(self) -> None:
        """Let the thread end once it has written what waits; nothing may be logged any more.

        Not a part of :meth:`close`, which whoever configures logging anew calls for handlers that
        go on being used, as Hypercorn does in its workers.
        """
        # Where there is no room it ends with the process: nobody reads what it would write before.
        with suppress(queue.Full):
            self._lines.put_nowait(None)

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                if dropped := self._take_dropped():
                    self._write(self._said(dropped))
                self._write(line)
            finally:
                self._lines.task_done()
        self._lines.task_done()

    def _take_dropped(self) -> int:
        with self._counting:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def _said(self, dropped: int) -> str:
        text = "lines of the log were dropped: nobody has read it for too long"
        record = logging.makeLogRecord(
            {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
        )
        record.lines = dropped
        return self.format(record)

    def _write(self, line: str) -> None:
        # Whoever was to read it may have gone, and there is nowhere else to say so.
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()
