"""SQLite's errors told apart: what passes by itself, what the cause is, and what to do about it.

Of the errors that SQLite raises, those of a database that is busy, full, gone or damaged are
nobody's bug. To those who know nothing of SQLite they are
:class:`~actors.ports.StorageUnavailableError`, and :func:`fault_of` names their cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from actors.ports import StorageUnavailableError
from pyrite.storage.sqlite.driver import sqlite3

#: What to do about a database that is damaged, and about no other.
MAKE_ANEW = (
    "stop what uses the database, move it away with its log, and put a backup in its place (the "
    "handbook's operations/backup), or make it anew from the folders: `pyrite kb add`, `pyrite "
    "index sync`"
)

_NOTHING_LOST = "; nothing that was written is lost"


class Fault(Enum):
    """The cause of an error: in words for anybody, and what whoever runs the computer can do."""

    BUSY = (
        "another process keeps the database locked",
        "run the command again once that process has finished: a `pyrite compact`, a large import "
        "or a backup program takes a while" + _NOTHING_LOST,
    )
    FULL = (
        "there is no space left on the database's disk",
        "make room and run the command again" + _NOTHING_LOST,
    )
    READ_ONLY = (
        "the database can only be read",
        "give whoever runs this the right to write the file and its folder",
    )
    IO = (
        "the disk of the database does not read or write",
        "look at the disk, its mount and the system's log; the database itself may be sound",
    )
    UNREACHABLE = (
        "the database file, or its log, cannot be opened",
        "look at the permissions of the file and its folder, and whether its disk is there",
    )
    REPLACED = (
        "the database file is not the one that it was",
        "put the file back; or, to use what is there now, restart whatever uses the database",
    )
    DAMAGED = ("the database is damaged, or is none", MAKE_ANEW)

    def __init__(self, text: str, action: str) -> None:
        self.text = text
        self.action = action


#: By SQLite's primary result codes. Errors of all other codes are bugs, such as a statement that
#: names no table.
_FAULTS = {
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_PROTOCOL: Fault.BUSY,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.READ_ONLY,
    sqlite3.SQLITE_IOERR: Fault.IO,
    sqlite3.SQLITE_CANTOPEN: Fault.UNREACHABLE,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
}


class DatabaseUnavailableError(sqlite3.OperationalError, StorageUnavailableError):
    """SQLite's own error, told to those who know nothing of SQLite as well."""


class ReadOnlyDatabaseError(DatabaseUnavailableError):
    """The database can only be read here."""


class DatabaseReplacedError(DatabaseUnavailableError):
    """The file of an open database has been deleted, replaced, emptied or overwritten."""


def fault_of(error: BaseException | None) -> Fault | None:
    """The cause of an error, or of what it was raised from; None where SQLite names none."""
    while error is not None:
        if isinstance(error, DatabaseReplacedError):
            return Fault.REPLACED
        if isinstance(error, ReadOnlyDatabaseError):
            return Fault.READ_ONLY
        # The low byte is the primary code. What was not raised by SQLite itself has none.
        found = _FAULTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if found is not None:
            return found
        error = error.__cause__
    return None


@contextmanager
def unavailable_told() -> Iterator[None]:
    """Raise what has a cause as :class:`DatabaseUnavailableError`, and bugs as they are."""
    try:
        yield
    except DatabaseUnavailableError:
        raise
    except sqlite3.DatabaseError as error:
        if fault_of(error) is None:
            raise
        told = DatabaseUnavailableError(*error.args)
        told.sqlite_errorcode = error.sqlite_errorcode
        told.sqlite_errorname = error.sqlite_errorname
        raise told from error
