"""Connections: one that writes, one that reads, one that only watches for commits.

All writes of a process go through one connection under a lock, in transactions that take
the database's write lock at their beginning. Readers never wait for them (WAL).

Where the file or its folder cannot be written, there is one that reads and one that watches; see
:mod:`pyrite.storage.sqlite.reading`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pyrite.errors import StorageError
from pyrite.storage.sqlite.creation import create_if_missing, keep_private
from pyrite.storage.sqlite.database_file import (
    DatabaseFile,
    Identity,
    address,
    identity_in,
    identity_of,
)
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.faults import (
    Fault,
    ReadOnlyDatabaseError,
    fault_of,
    unavailable_told,
)
from pyrite.storage.sqlite.migrate import migrate
from pyrite.storage.sqlite.reading import ReadOnlyConnection, is_writable
from pyrite.storage.sqlite.time_limit import TimeLimit

#: How long to wait for another process's transaction, in seconds.
BUSY_TIMEOUT_S = 30.0

#: How long a writer waits between two looks at whether it is still to wait, in seconds; and how
#: long once the process is about to end.
_SLICE_S = 0.5

#: What the message of a database that cannot be opened ends in.
ASK_DOCTOR = "; `pyrite doctor` says what to do"


class CommitWatcher:
    """A connection that only looks for commits; see :class:`pyrite.storage.protocol.Watcher`.

    It also looks whether the file is still the one that was opened: this is done several times a
    second for as long as anything runs.
    """

    def __init__(self, path: Path, file: DatabaseFile | None = None) -> None:
        """Watch a database.

        Args:
            path: its file.
            file: the file as it was opened; None where it can only be read.
        """
        self._file = file
        self._read_only = None
        with unavailable_told():
            if file is None:
                self._read_only = ReadOnlyConnection(path, BUSY_TIMEOUT_S)
                self.connection = self._read_only.current()
            else:
                file.check()
                self.connection = connect(path)
            self._version = self._data_version()

    def changed(self) -> bool:
        """Whether another connection has committed since the last call; takes microseconds.

        Raises:
            DatabaseUnavailableError: it cannot be told, or the file is not the same any more.
        """
        former = self.connection
        with unavailable_told():
            if self._file is not None:
                self._file.check()
            if self._read_only is not None:
                self.connection = self._read_only.current()
            version = self._data_version()
        changed, self._version = version != self._version, version
        return changed or self.connection is not former

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _data_version(self) -> int:
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version


class Connections:
    """The connections of one process to one database file."""

    #: The file as it was opened; None where it can only be read.
    _file: DatabaseFile | None = None
    _read_only: ReadOnlyConnection | None = None
    _writer: sqlite3.Connection | None = None

    def __init__(self, path: Path) -> None:
        """Open a database, and make it where there is none.

        Raises:
            StorageError: it cannot be opened; the message says why, and what to do.
        """
        self.path = path
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()
        self.time_limit = TimeLimit()
        self._hurries = False
        with ExitStack() as opened:  # if one step fails, what came before is closed
            try:
                create_if_missing(path, _make)
                if is_writable(path):
                    self._open(opened)
                else:
                    self._read_only = ReadOnlyConnection(path, BUSY_TIMEOUT_S)
                    self._reader = opened.enter_context(closing(self._read_only.current()))
                self._watcher = opened.enter_context(closing(CommitWatcher(path, self._file)))
            except (sqlite3.Error, OSError) as error:
                raise StorageError(_cannot_open(path, error)) from error
            opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        path = self.path
        keep_private(path)
        self._writer = opened.enter_context(closing(connect(path)))
        migrate(self._writer, path)
        self._file = DatabaseFile(path, _identity_on_disk(self._writer, path))
        slice_ms = int(min(_SLICE_S, BUSY_TIMEOUT_S) * 1000)
        self._writer.execute(f"PRAGMA busy_timeout = {slice_ms}")
        self._reader = opened.enter_context(closing(connect(path)))

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written, for want of the right or because of the disk."""
        return self._file is None

    def close(self) -> None:
        """Close all there are, after transactions in progress."""
        with self._write_lock, self._read_lock:
            for connection in (self._watcher, self._reader, self._writer):
                if connection is not None:
                    connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction with the write lock held: committed at the end, or rolled back."""
        writer, file = self._writer, self._file
        if writer is None or file is None:
            raise ReadOnlyDatabaseError(
                f"the database {self.path} can only be read here, and nothing is written"
            )
        with unavailable_told(), self._write_lock:
            file.check()
            self._begin(writer)
            try:
                yield writer
                # Once more: what is committed to a file that nobody can open is lost.
                file.check()
                self.commit(writer)
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise

    def hurry(self) -> None:
        """From now on wait for another process's transaction only for a moment."""
        self._hurries = True

    def _begin(self, writer: sqlite3.Connection) -> None:
        """Take the write lock, which another process may have."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                writer.execute("BEGIN IMMEDIATE")
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
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the database throughout."""
        with unavailable_told(), self._read_lock:
            if self._read_only is not None:
                self._reader = self._read_only.current()
            self._reader.execute("BEGIN")
            try:
                with self.time_limit.kept_by(self._reader):
                    yield self._reader
            finally:
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")

    def changed(self) -> bool:
        """Whether another connection has committed since the last call; takes microseconds."""
        return self._watcher.changed()

    def watcher(self) -> CommitWatcher:
        """One more that looks for commits, for its user to close."""
        return CommitWatcher(self.path, self._file)


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the settings that durability and concurrency need; makes no file."""
    connection = sqlite3.connect(
        address(path, "mode=rw"),
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
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


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, where a database can be written and where it cannot."""
    if is_writable(path):
        return connect(path)
    return ReadOnlyConnection(path, BUSY_TIMEOUT_S).current()


def _make(path: Path) -> None:
    """Make a database of an empty file, and leave all of it in that file."""
    with closing(connect(path)) as connection:
        migrate(connection, path)


def _identity_on_disk(connection: sqlite3.Connection, path: Path) -> Identity:
    """The identity that the file itself holds, once what made it is no longer in the log alone."""
    named = identity_of(connection)
    found = identity_in(path)
    if found is None or found.database_id != named.database_id:
        connection.execute("PRAGMA wal_checkpoint (PASSIVE)")
        found = identity_in(path)
    # Others may be in the midst of copying the log back; how far the file is shows later.
    return found or Identity(named.database_id, 0)


def _cannot_open(path: Path, error: Exception) -> str:
    """What to say of a database that cannot be opened, and what to do."""
    fault = fault_of(error)
    if fault in {None, Fault.DAMAGED, Fault.UNREACHABLE}:
        return f"{path} cannot be opened: {error}{ASK_DOCTOR}"
    return f"{path} cannot be opened: {error}: {fault.text}; {fault.action}"


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
