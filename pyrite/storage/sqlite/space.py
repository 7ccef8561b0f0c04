"""The disk space of a database, and its compaction.

SQLite keeps pages that hold nothing any more for what will be written next, so that a file never
shrinks by itself. It is rebuilt without them either as a copy, which keeps nobody waiting, or in
its own place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pyrite.errors import StorageError
from pyrite.storage.records import Space
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.driver import sqlite3

#: How often a long statement looks up, in steps of SQLite's machine: some milliseconds' work.
_STEPS = 100_000


def space(conn: sqlite3.Connection) -> Space:
    """How large the database is, and how much of that is empty."""
    pages, empty, size = (
        conn.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return Space(pages * size, empty * size)


def copy_without_empty(conn: sqlite3.Connection, target: Path, tell: Callable[[], None]) -> None:
    """Write what one state of the database holds into an empty file.

    It takes a read transaction, as any other look into the database does: others go on writing.

    Args:
        conn: a connection that is in no transaction.
        target: a file of no bytes.
        tell: called again and again meanwhile.
    """
    with _interruptible(conn, tell):
        conn.execute("VACUUM INTO ?", (str(target),))


def compact(path: Path) -> Space:
    """Rebuild the database in its place, its index of words in one piece; how large it is then.

    Others can read meanwhile. Whoever wants to write waits for it, and gives up after
    :data:`~pyrite.storage.sqlite.connection.BUSY_TIMEOUT_S`.

    Raises:
        StorageError: it cannot be done; the database is as it was.
    """
    try:
        with closing(connect(path)) as conn, _interruptible(conn, lambda: None):
            conn.execute("INSERT INTO entry_words (entry_words) VALUES ('optimize')")
            conn.execute("VACUUM")
            conn.execute("PRAGMA wal_checkpoint (TRUNCATE)")
            return space(conn)
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be compacted: {error}; nothing in it is lost") from error


@contextmanager
def _interruptible(conn: sqlite3.Connection, tell: Callable[[], None]) -> Iterator[None]:
    """Call a function now and then during long statements, so that Ctrl-C gets its turn."""
    raised: list[BaseException] = []

    def look() -> int:
        try:
            tell()
        except BaseException as error:  # noqa: BLE001 - it would be lost in SQLite's C code
            raised.append(error)
        return len(raised)

    conn.set_progress_handler(look, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        # What the signal handler raised may have been lost on its way into `look`.
        raise (raised[0] if raised else KeyboardInterrupt()) from error
    finally:
        conn.set_progress_handler(None, 0)
