"""Whether the file of an open database is still the one that was opened.

A file can be deleted, replaced, emptied or overwritten by a copy while it is open. SQLite then
goes on writing to what nobody will ever open again, or mixes its log with another database's
pages. So whoever writes looks first: at the file's device, inode and length, which takes
microseconds, and, when the file has changed, at the identity that the database itself holds.

The file itself is read only through SQLite: a file that this process opened and closed on its own
would take along the locks that SQLite holds on it (POSIX locks are a process's, not a file's).
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.faults import DatabaseReplacedError

#: The content is looked at so seldom, in seconds, however often the file changes.
LOOK_EVERY_S = 0.5


class Identity(NamedTuple):
    """Which database it is, and how far it has come."""

    #: Given to each database when it is made, and to each backup.
    database_id: str
    #: The number of its newest event, which never goes back.
    last_event: int


class _State(NamedTuple):
    """What changes with the content of a file."""

    modified_ns: int
    size: int


def address(path: Path, parameters: str) -> str:
    """The URI under which SQLite opens a file."""
    return f"{path.absolute().as_uri()}?{parameters}"


def identity_in(path: Path) -> Identity | None:
    """The identity that the file itself holds, whatever its log says; None where it has none.

    While a log is being copied back, the file may for a moment look like nothing at all.
    """
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(address(path, "mode=ro&immutable=1"), uri=True)) as conn,
    ):
        return identity_of(conn)
    return None


def identity_of(conn: sqlite3.Connection) -> Identity:
    """The identity of the database that a connection has open."""
    found = conn.execute(
        """SELECT (SELECT database_id FROM identity),
                  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"""
    ).fetchone()
    return Identity(*found)


class DatabaseFile:
    """The file of an open database; may be used by several threads."""

    def __init__(self, path: Path, identity: Identity) -> None:
        """Note the file that is there now, which has just been opened.

        Args:
            path: where it is.
            identity: what the file itself holds.
        """
        found = path.stat()
        self.path = path
        self._place = (found.st_dev, found.st_ino)
        self._identity = identity
        self._known: _State | None = _state(found)
        #: When the content was wrong, which state the file had.
        self._suspected: _State | None = None
        self._is_other = False
        self._next_look = 0.0
        self._looking = threading.Lock()

    def check(self) -> None:
        """See that the file is the one that was opened; takes microseconds as a rule.

        Raises:
            DatabaseReplacedError: it is not; the message says what has happened.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise self._replaced("has been deleted or moved away") from None
        except OSError as error:
            raise self._replaced(f"cannot be reached: {error.strerror}") from error
        if (found.st_dev, found.st_ino) != self._place:
            raise self._replaced("has been replaced by another file")
        if not found.st_size:
            raise self._replaced("has been emptied")
        if self._holds_another(_state(found)):
            log = self.path.name
            raise self._replaced(
                f"has been overwritten with another database or an older copy; stop what uses it, "
                f"delete {log}-wal and {log}-shm, which belong to the former one, and put the copy "
                "there once more"
            )

    def _replaced(self, what: str) -> DatabaseReplacedError:
        return DatabaseReplacedError(
            f"{self.path} {what} while it was in use: nothing is written until it is back"
        )

    def _holds_another(self, state: _State) -> bool:
        """Whether the content has become another database's, and has stayed so for a moment."""
        if state == self._known:
            self._is_other = False
            return False
        with self._looking:
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + LOOK_EVERY_S
                self._look(state)
            return self._is_other

    def _look(self, state: _State) -> None:
        found = identity_in(self.path)
        if (
            found is not None
            and found.database_id == self._identity.database_id
            and found.last_event >= self._identity.last_event
        ):
            self._identity, self._known = found, state
            self._suspected, self._is_other = None, False
        else:
            # A log that is being copied back goes on changing the file; a copy is there at once.
            self._is_other = self._is_other or state == self._suspected
            self._suspected = state


def _state(found: os.stat_result) -> _State:
    return _State(found.st_mtime_ns, found.st_size)
