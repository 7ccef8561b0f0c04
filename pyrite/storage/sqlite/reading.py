"""A database that can only be read here: its disk is mounted so, or its owner is somebody else.

Reading a database with a write-ahead log takes an index of that log beside it. Where that is not
there and cannot be made, and there is no log either, all that was ever written is in the file
itself, and SQLite is told that nobody changes it (`immutable`). Should somebody do so who may, the
file is opened anew for the next read. A log that cannot be read is never passed over in silence:
it holds the latest writes.
"""

from __future__ import annotations

import os
from pathlib import Path

from pyrite.errors import StorageError
from pyrite.storage.sqlite.database_file import address
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrate import check_readable


def is_writable(path: Path) -> bool:
    """Whether this process can write a database: the file, and the log beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


class ReadOnlyConnection:
    """A connection to a database that cannot be written; used by one thread at a time."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Open it.

        Raises:
            StorageError: its latest writes cannot be read, or its schema is another.
            sqlite3.Error: it is none.
        """
        self._path = path
        self._timeout_s = timeout_s
        self._state = _state(path)
        self._connection = self._open()

    def current(self) -> sqlite3.Connection:
        """The connection, which is another one once the file has changed under it."""
        state = _state(self._path)
        if state != self._state:
            fresh = self._open()
            self._connection.close()
            self._connection, self._state = fresh, state
        return self._connection

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connected("mode=ro")
        except sqlite3.OperationalError as error:
            log = _log(self._path)
            if log.exists() and log.stat().st_size:
                raise StorageError(
                    f"{self._path} can only be read here, and what was written to it last not "
                    f"even that: it is in {log.name}, and reading that takes writing beside it. "
                    "Copy both files to where you may write, or have whoever writes them stop"
                ) from error
        return self._connected("mode=ro&immutable=1")

    def _connected(self, parameters: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            address(self._path, parameters),
            uri=True,
            timeout=self._timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            check_readable(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _state(path: Path) -> tuple[int, ...]:
    """What is another once the file has been replaced or, if nobody keeps a log, written."""
    found = path.stat()
    log = _log(path)
    if log.exists():
        # Whoever reads the log sees what is written.
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
