"""Migration of a database to the present schema."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyrite.errors import NewerDatabaseError, StorageError
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrations import MIGRATIONS, REWRITING

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(
    conn: sqlite3.Connection,
    path: Path,
    migrations: Mapping[str, Callable[[Database], None]] = MIGRATIONS,
    rewriting: Collection[str] = REWRITING,
) -> None:
    """Apply the migrations that the database lacks, all in one transaction.

    Raises:
        NewerDatabaseError: the database was made by a later version of Pyrite.
    """
    if applied_count(conn) == len(migrations):
        return
    # Imported only here: it takes longer than most commands that find nothing to migrate.
    from sqlite_utils import Database  # noqa: PLC0415
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415

    numbered = Migrations("pyrite")
    for name, function in migrations.items():
        numbered(name=name)(function)
    conn.execute("BEGIN IMMEDIATE")
    try:
        applied = applied_count(conn)
        _check_known(path, applied, len(migrations))
        due = list(migrations)[applied:]
        if applied and any(name in rewriting for name in due):
            back_up(conn, path, applied)
        numbered.apply(Database(conn))
        conn.execute(f"PRAGMA user_version = {len(migrations)}")
        conn.execute("COMMIT")
    except BaseException:
        conn.execute("ROLLBACK")
        raise


def check_readable(conn: sqlite3.Connection, path: Path, known: int = len(MIGRATIONS)) -> None:
    """See that a database that cannot be written is of the present schema.

    Raises:
        NewerDatabaseError: it was made by a later version of Pyrite.
        StorageError: it is of an earlier schema, which is migrated where it can be written.
    """
    applied = applied_count(conn)
    _check_known(path, applied, known)
    if applied < known:
        raise StorageError(
            f"the database {path} is of schema {applied}, this Pyrite needs {known}, and it can "
            "only be read here: open it once where it can be written"
        )


def _check_known(path: Path, applied: int, known: int) -> None:
    if applied > known:
        raise NewerDatabaseError(
            f"the database {path} is of schema {applied}, and this Pyrite knows only {known}: "
            "it was made by a later version; upgrade Pyrite to open it"
        )


def applied_count(conn: sqlite3.Connection) -> int:
    """How many migrations the database has seen."""
    count: int = conn.execute("PRAGMA user_version").fetchone()[0]
    return count


def back_up(conn: sqlite3.Connection, path: Path, applied: int) -> Path:
    """Copy the database beside itself, from within the transaction that will rewrite it."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = path.with_name(f"{path.name}.schema-{applied}.{stamp}.backup")
    # A second connection reads the last committed state, which the write lock keeps as it is.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    source = sqlite3.connect(path)
    copy = sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()
    return target
