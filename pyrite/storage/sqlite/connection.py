"""Connections: one that writes, one that reads, one that only watches for commits.

All writes of a process go through one connection under a lock, in transactions that take
the database's write lock at their beginning. Readers never wait for them (WAL).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from actors.ports import StorageUnavailableError
from pyrite.errors import StorageError, TimeLimitError
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrate import migrate

#: How long to wait for another process's transaction, in seconds.
BUSY_TIMEOUT_S = 30.0

#: How long a writer waits between two looks at whether it is still to wait, in seconds; and how
#: long once the process is about to end.
_SLICE_S = 0.5


#: Steps of SQLite's machine, a millisecond's or so, between two looks at the clock: each look
#: waits for the interpreter's lock.
_STEPS = 20_000

#: What the message of a database that cannot be opened ends in.
ASK_DOCTOR = "; `pyrite doctor` says what to do"


#: What passes by itself, or once somebody has made room: SQLite's primary result codes. Of the
#: errors of the same class, the others are bugs, such as a statement that names no table.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


class DatabaseUnavailableError(sqlite3.OperationalError, StorageUnavailableError):
    """SQLite's own error, told to those who know nothing of SQLite as well."""


@contextmanager
def unavailable_told() -> Iterator[None]:
    """Raise what passes as :class:`DatabaseUnavailableError`, and the rest as it is."""
    try:
        yield
    except DatabaseUnavailableError:
        raise
    except sqlite3.OperationalError as error:
        # The low byte is the primary code. What was not raised by SQLite itself has none.
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF not in _PASSING:
            raise
        told = DatabaseUnavailableError(*error.args)
        told.sqlite_errorcode, told.sqlite_errorname = code, error.sqlite_errorname
        raise told from error


@contextmanager
def interrupting(connection: sqlite3.Connection, deadline: float | None) -> Iterator[None]:
    """Break off what a connection does once the monotonic clock is past a deadline."""
    if deadline is None:
        yield
        return
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_INTERRUPT:
            raise
        raise TimeLimitError("the search took longer than the setting search_limit_s") from error
    finally:
        connection.set_progress_handler(None, 0)


class CommitWatcher:
    """A connection that only looks for commits; see :class:`pyrite.storage.protocol.Watcher`."""

    def __init__(self, path: Path) -> None:
        with unavailable_told():
            self.connection = connect(path)
            self._version = self._data_version()

    def changed(self) -> bool:
        """Whether another connection has committed since the last call; takes microseconds."""
        with unavailable_told():
            version = self._data_version()
        changed, self._version = version != self._version, version
        return changed

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _data_version(self) -> int:
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version


class Connections:
    """The connections of one process to one database file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self._limits = threading.local()
        self._hurries = False
        with ExitStack() as opened:  # if one step fails, what came before is closed
            try:
                _make_folder(path)
                self._writer = opened.enter_context(closing(connect(path)))
                migrate(self._writer, path)
                slice_ms = int(min(_SLICE_S, BUSY_TIMEOUT_S) * 1000)
                self._writer.execute(f"PRAGMA busy_timeout = {slice_ms}")
                self._reader = opened.enter_context(closing(connect(path)))
                self._watcher = opened.enter_context(closing(CommitWatcher(path)))
            except (sqlite3.Error, OSError) as error:
                raise StorageError(f"{path} cannot be opened: {error}{ASK_DOCTOR}") from error
            opened.pop_all()

    def close(self) -> None:
        """Close all three, after transactions in progress."""
        with self._write_lock, self._read_lock:
            for connection in (self._watcher, self._reader, self._writer):
                connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction with the write lock held: committed at the end, or rolled back."""
        with unavailable_told(), self._write_lock:
            self._begin()
            try:
                yield self._writer
                self.commit(self._writer)
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def hurry(self) -> None:
        """From now on wait for another process's transaction only for a moment."""
        self._hurries = True

    def _begin(self) -> None:
        """Take the write lock, which another process may have."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or self._hurries or time.monotonic() > deadline:
                    raise
            else:
                return

    def commit(self, connection: sqlite3.Connection) -> None:
        """The one place where a transaction becomes durable."""
        connection.execute("COMMIT")

    @contextmanager
    def time_limit(self, seconds: float) -> Iterator[None]:
        """For this thread, have reading for longer than that broken off."""
        self._limits.deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._limits.deadline = None

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the database throughout."""
        deadline = getattr(self._limits, "deadline", None)
        with unavailable_told(), self._read_lock:
            self._reader.execute("BEGIN")
            try:
                with interrupting(self._reader, deadline):
                    yield self._reader
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")

    def changed(self) -> bool:
        """Whether another connection has committed since the last call; takes microseconds."""
        return self._watcher.changed()

    def watcher(self) -> CommitWatcher:
        """One more that looks for commits, for its user to close."""
        return CommitWatcher(self.path)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be opened: its folder cannot be made: {error.strerror}; "
            "the setting `database`, or PYRITE_HOME, names another place"
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the settings that durability and concurrency need."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    _keep_log(connection)
    # FULL: a commit is on disk when it returns, whatever happens to the power.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # A million entries have more index pages than SQLite's usual 2 MB hold; in KiB, negated.
    connection.execute(f"PRAGMA cache_size = -{64 * 2**10}")
    # Once the log has been copied back, keep no more of it on disk than this many bytes.
    connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
    return connection


def _keep_log(connection: sqlite3.Connection) -> None:
    """Have the database kept with a write-ahead log.

    Two connections that switch a new database over at the same time would wait for each other
    for ever: SQLite therefore refuses one of them at once, whatever its timeout.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
