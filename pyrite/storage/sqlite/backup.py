"""Backup of a database that is in use.

It is done with SQLite's online backup or, where much of the database is empty, with VACUUM INTO,
which leaves that out. The copy is of one moment: a transaction holds that state for as long as it
takes, while others go on writing into the log. It is made under a hidden name, is checked, and
gets its own name once it is whole and on disk.

It is a database of its own from then on, with another identity. What was built beside the
original (graphs of neighbours) names embeddings by numbers that the two hand out anew.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pyrite.errors import BackupError
from pyrite.storage.sqlite.connection import connect_to_read
from pyrite.storage.sqlite.creation import put_in_place
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.space import copy_without_empty, space

#: Told how many bytes of how many have been copied.
Progress = Callable[[int, int], None]

#: Where more of the database than this is empty, that is left out of the copy; finding out what
#: to leave out takes longer than to copy a little.
_MUCH_EMPTY = 0.1

#: Pages copied at a time: a few milliseconds' work.
_PAGES = 1_000


def no_progress(done: int, of: int) -> None:
    """Ignore the progress."""


def back_up(source: Path, target: Path, progress: Progress = no_progress) -> int:
    """Copy a database into a new file; returns the file's size in bytes.

    Raises:
        BackupError: something is there already, or the copy cannot be made or is not sound.
    """
    if os.path.lexists(target):
        raise _exists(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with _partial_file(partial, target):
        _copy(source, partial, progress)
        _seal(partial)
        # As private as the original: it holds all that the original does.
        partial.chmod(stat.S_IMODE(source.stat().st_mode))
        size = partial.stat().st_size
        try:
            put_in_place(partial, target)
        except FileExistsError as error:
            raise _exists(target) from error
    return size


def _copy(source: Path, target: Path, progress: Progress) -> None:
    with closing(connect_to_read(source)) as original:
        found = space(original)
        if found.empty > found.size * _MUCH_EMPTY:
            full = found.size - found.empty
            copy_without_empty(
                original, target, lambda: progress(min(target.stat().st_size, full), full)
            )
        else:
            _copy_pages(original, target, progress)


def _copy_pages(original: sqlite3.Connection, target: Path, progress: Progress) -> None:
    with closing(_open(target)) as copy:
        original.execute("BEGIN")
        # Only a read begins to hold the state; without that, each write would start us anew.
        (size,) = original.execute("PRAGMA page_size").fetchone()
        original.execute("SELECT count(*) FROM sqlite_master").fetchone()

        def tell(status: int, remaining: int, total: int) -> None:
            progress((total - remaining) * size, total * size)

        original.backup(copy, pages=_PAGES, progress=tell)


def _seal(path: Path) -> None:
    """Make the copy one sound file without a log beside it, and a database of its own."""
    with closing(_open(path)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("UPDATE identity SET database_id = lower(hex(randomblob(16)))")
        finding = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        raise BackupError(
            f"the copy is not sound: {finding}; `pyrite doctor` says whether the database is"
        )


def _open(path: Path) -> sqlite3.Connection:
    copy = sqlite3.connect(path, isolation_level=None)
    copy.execute("PRAGMA synchronous = OFF")  # it is flushed as a whole in the end
    return copy


@contextmanager
def _partial_file(partial: Path, target: Path) -> Iterator[None]:
    """A new file for the copy, gone afterwards whatever happens; errors name the target."""
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(OSError):
                    partial.with_name(partial.name + suffix).unlink()
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be copied to {target}: {error}") from error


def _exists(target: Path) -> BackupError:
    return BackupError(
        f"{target} exists already, and a backup replaces nothing; choose another name"
    )
