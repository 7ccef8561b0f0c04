"""Migrations: once, whole, and never without a copy of what they rewrite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest

from pyrite.errors import StorageError
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.migrate import applied_count, migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS
from pyrite.storage.sqlite.store import SqliteStorage

if TYPE_CHECKING:
    from sqlite_utils import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pyrite.db"


@pytest.fixture
def conn(path: Path) -> Iterator[sqlite3.Connection]:
    path.touch()
    with closing(connect(path)) as connection:
        yield connection


def first(db: Database) -> None:
    db.execute("CREATE TABLE things (name TEXT)")
    db.execute("INSERT INTO things VALUES ('old')")


def second(db: Database) -> None:
    db.execute("UPDATE things SET name = 'new'")


def broken(db: Database) -> None:
    db.execute("UPDATE things SET name = 'half'")
    db.execute("CREATE TABLE more (name TEXT)")
    raise ZeroDivisionError


def things(conn: sqlite3.Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT name FROM things")]


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.backup"))


def test_a_new_database_gets_the_present_schema(path: Path) -> None:
    with closing(SqliteStorage(path)) as storage:
        assert storage.problems() == {}
        assert storage.kbs() == []
    with closing(sqlite3.connect(path)) as conn:
        assert applied_count(conn) == len(MIGRATIONS)
    assert backups(path) == []


def test_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "pyrite.db"
    SqliteStorage(path).close()

    assert path.is_file()


def test_opening_again_finds_what_was_there(path: Path) -> None:
    with closing(SqliteStorage(path)) as storage:
        storage.add_kb("kb", "/kb", now=1.0)
    for _ in range(2):
        with closing(SqliteStorage(path)) as storage:
            assert [kb.name for kb in storage.kbs()] == ["kb"]


def test_what_is_up_to_date_is_not_touched(conn: sqlite3.Connection, path: Path) -> None:
    migrate(conn, path, {"1": first}, ())
    before = conn.total_changes
    migrate(conn, path, {"1": broken}, ())

    assert conn.total_changes == before
    assert things(conn) == ["old"]


@pytest.mark.parametrize("turn", range(5))
def test_many_that_open_at_once_migrate_once(path: Path, turn: int) -> None:
    count = 6
    barrier = Barrier(count)
    outcomes: list[object] = []

    def open_it() -> None:
        barrier.wait()
        try:
            storage = SqliteStorage(path)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            outcomes.append(error)
        else:
            outcomes.append(storage.kbs())
            storage.close()

    threads = [Thread(target=open_it) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes == [[]] * count
    with closing(SqliteStorage(path)) as storage:
        assert storage.problems() == {}
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT count(*) FROM _sqlite_migrations").fetchone() == (
            len(MIGRATIONS),
        )


def test_a_later_versions_database_is_refused_and_left_alone(path: Path) -> None:
    SqliteStorage(path).close()
    later = len(MIGRATIONS) + 1
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(f"PRAGMA user_version = {later}")

    with pytest.raises(StorageError, match=f"is of schema {later}.*upgrade Pyrite") as caught:
        SqliteStorage(path)

    assert str(path) in str(caught.value)
    with closing(sqlite3.connect(path)) as conn:
        assert applied_count(conn) == later
        conn.execute("BEGIN EXCLUSIVE")  # nobody has kept a lock


def test_only_what_is_missing_is_applied(conn: sqlite3.Connection, path: Path) -> None:
    migrate(conn, path, {"1": first}, ())
    migrate(conn, path, {"1": first, "2": second}, ())

    assert things(conn) == ["new"]
    assert applied_count(conn) == 2


def test_before_data_are_rewritten_they_are_copied(conn: sqlite3.Connection, path: Path) -> None:
    migrate(conn, path, {"1": first}, ())
    migrate(conn, path, {"1": first, "2": second}, {"2"})

    assert things(conn) == ["new"]
    (backup,) = backups(path)
    assert backup.name.startswith("pyrite.db.schema-1.")
    with closing(sqlite3.connect(backup)) as old:
        assert things(old) == ["old"]
        assert applied_count(old) == 1
        assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_copy_has_what_is_only_in_the_log(conn: sqlite3.Connection, path: Path) -> None:
    migrate(conn, path, {"1": first}, ())
    with closing(connect(path)) as other:
        other.execute("UPDATE things SET name = 'newest'")
        migrate(conn, path, {"1": first, "2": second}, {"2"})

    (backup,) = backups(path)
    with closing(sqlite3.connect(backup)) as old:
        assert things(old) == ["newest"]


def test_a_new_database_needs_no_copy(conn: sqlite3.Connection, path: Path) -> None:
    migrate(conn, path, {"1": first, "2": second}, {"2"})

    assert backups(path) == []
    assert things(conn) == ["new"]


@pytest.mark.parametrize("rewriting", [(), ("3",)])
def test_a_migration_that_fails_changes_nothing(
    conn: sqlite3.Connection, path: Path, rewriting: tuple[str, ...]
) -> None:
    migrate(conn, path, {"1": first}, ())

    with pytest.raises(ZeroDivisionError):
        migrate(conn, path, {"1": first, "2": second, "3": broken}, rewriting)

    assert not conn.in_transaction
    assert things(conn) == ["old"]
    assert applied_count(conn) == 1
    tables = {row[0] for row in conn.execute("SELECT name FROM sqlite_master")}
    assert "more" not in tables
    migrate(conn, path, {"1": first, "2": second}, ())
    assert things(conn) == ["new"]


def test_a_first_migration_that_fails_leaves_an_empty_database(
    conn: sqlite3.Connection, path: Path
) -> None:
    with pytest.raises(ZeroDivisionError):
        migrate(conn, path, {"1": first, "2": broken}, ())

    assert conn.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert applied_count(conn) == 0
