"""A new database: made whole under another name, and put in its place by one call.

So a file of no bytes is never a database that is being made: it is one that has been emptied, and
to make a new one of it would hide the loss. Nor is one made beside the log of another, whose
pages SQLite would take for its own.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyrite.errors import StorageError


def create_if_missing(path: Path, make: Callable[[Path], None]) -> None:
    """Have a database at a path, unless there is one; another process may do the same.

    Args:
        path: where it is to be.
        make: makes one of an empty file, closed and with all of it in that file.

    Raises:
        StorageError: what is there is a file of no bytes, or the log of a file that is gone.
        OSError: it cannot be written.
    """
    path = Path(os.path.realpath(path))  # behind a link, that is where it is made
    if path.exists():
        _refuse_empty(path)
        return
    for log in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if log.exists() and not path.exists():
            raise StorageError(
                f"{path} is gone, and {log.name} is still there: the database was deleted or "
                "moved away while it was in use. Stop what uses it; then put the file back, or, "
                "to begin with an empty database, delete what is left of it as well"
            )
    _make_folder(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        make(partial)
        put_in_place(partial, path)
    except FileExistsError:
        pass  # another process was faster
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                partial.with_name(partial.name + suffix).unlink()


def keep_private(path: Path) -> None:
    """Take from everybody else the right to read a database and its log, if they have it.

    A file that was made under a usual umask can be read by all. One that only its group can read
    besides its owner has been made so on purpose, and is left as it is.
    """
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):  # it is not there, or is somebody else's
            file = path.with_name(path.name + suffix)
            if stat.S_IMODE(file.stat().st_mode) & 0o007:
                file.chmod(0o600)


def put_in_place(partial: Path, target: Path) -> None:
    """Give a file its name, on disk too; it replaces nothing.

    Raises:
        FileExistsError: something has that name.
    """
    flush(partial)
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links.
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        partial.rename(target)
    if hasattr(os, "O_DIRECTORY"):
        flush(target.parent)


def flush(path: Path) -> None:
    """Have the content of a file or folder on disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_empty(path: Path) -> None:
    if path.is_file() and not path.stat().st_size:
        raise StorageError(
            f"{path} has no bytes: a database has been emptied, or another program has made the "
            "file. Put a backup there; or delete the file, and a new database is made: `pyrite "
            "kb add` and `pyrite index sync` fill it from the folders"
        )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be opened: its folder cannot be made: {error.strerror}; "
            "the setting `database`, or PYRITE_HOME, names another place"
        ) from error
