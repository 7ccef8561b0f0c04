"""New databases for tests, copied from one: to migrate each anew takes ten times as long."""

from __future__ import annotations

import weakref
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pyrite.storage.sqlite import connection
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage


@cache
def _template() -> bytes:
    """A database with nothing in it, of the present schema."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pyrite.db"
        SqliteStorage(path).close()
        return path.read_bytes()


def new_database(path: Path) -> Path:
    """Put an empty database at a path where nothing is."""
    with path.open("xb") as file:
        file.write(_template())
    return path


def temporary_storage() -> SqliteStorage:
    """A storage of its own, whose file goes with the object."""
    folder = TemporaryDirectory()
    storage = SqliteStorage(new_database(Path(folder.name) / "pyrite.db"))
    weakref.finalize(storage, _discard, storage._db, folder)
    return storage


def _discard(db: Connections, folder: TemporaryDirectory[str]) -> None:
    db.close()
    folder.cleanup()


def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite not wait until its bytes are safe, where no power is going to be lost."""
    real = connection.connect

    def connect(path: Path) -> sqlite3.Connection:
        connected = real(path)
        connected.execute("PRAGMA synchronous = OFF")
        return connected

    monkeypatch.setattr(connection, "connect", connect)
