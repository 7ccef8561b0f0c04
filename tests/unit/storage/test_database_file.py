"""The file of a database that is open, and how it may be lost: nothing is written to another."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actors.ports import StorageUnavailableError
from pyrite.errors import StorageError
from pyrite.storage.sqlite import connection, database_file, reading
from pyrite.storage.sqlite.faults import DatabaseReplacedError, Fault, fault_of
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import write
from tests.fakes.database import new_database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return new_database(tmp_path / "pyrite.db")


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(path)) as opened:
        opened.add_kb("kb", "/kb", now=0.0)
        yield opened


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other.db")
    SqliteStorage(other).close()
    other.replace(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("lose", "said"),
    [(delete, "deleted or moved"), (replace, "replaced by another"), (empty, "emptied")],
)
def test_a_file_that_is_lost_is_noticed_and_nothing_is_written(
    storage: SqliteStorage, path: Path, lose: Callable[[Path], None], said: str
) -> None:
    with closing(storage.watcher()) as watcher:
        lose(path)
        with pytest.raises(DatabaseReplacedError, match=f"has been {said}.*in use") as refused:
            write(storage, "kb", "a")
        with pytest.raises(DatabaseReplacedError, match=said):
            watcher.changed()
        with pytest.raises(StorageUnavailableError, match=said):
            storage.watcher()
    assert fault_of(refused.value) is Fault.REPLACED


def test_it_is_not_made_anew_by_whoever_looks_for_it(storage: SqliteStorage, path: Path) -> None:
    path.unlink()
    with pytest.raises(StorageUnavailableError):
        storage.watcher()
    with pytest.raises(StorageError, match=r"is gone, and pyrite\.db-wal is still there"):
        SqliteStorage(path)
    assert not path.exists()


def test_writing_goes_on_once_the_file_is_back(storage: SqliteStorage, path: Path) -> None:
    away = path.with_name("away.db")
    path.rename(away)
    with pytest.raises(DatabaseReplacedError):
        write(storage, "kb", "a")
    away.rename(path)
    write(storage, "kb", "a")
    assert storage.entry("kb", "a") is not None


def test_what_is_lost_during_a_transaction_is_not_acknowledged(
    storage: SqliteStorage, path: Path
) -> None:
    with pytest.raises(DatabaseReplacedError), storage.writing():
        path.rename(path.with_name("away.db"))
    path.with_name("away.db").rename(path)
    write(storage, "kb", "a")


@pytest.mark.parametrize("older", [True, False], ids=["older copy", "another database"])
def test_a_copy_over_the_same_file_is_noticed(
    storage: SqliteStorage, path: Path, older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "LOOK_EVERY_S", 0.0)
    copy = path.with_name("copy.db")
    if older:
        shutil.copyfile(path, copy)
    else:
        SqliteStorage(copy).close()
    write(storage, "kb", "a")
    with closing(connection.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint (FULL)")
    write(storage, "kb", "b")  # the log is copied back, and the file is the same
    with path.open("r+b") as file:
        file.write(copy.read_bytes())
    seen = []
    for number in range(3):
        try:
            write(storage, "kb", f"late-{number}")
        except DatabaseReplacedError as error:
            seen.append(str(error))
    assert "overwritten" in seen[-1]


def test_a_log_that_is_copied_back_raises_no_alarm(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "LOOK_EVERY_S", 0.0)
    for number in range(20):
        write(storage, "kb", f"entry-{number}")
        with closing(connection.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint (FULL)")
    storage.compact()
    write(storage, "kb", "last")
    assert len(storage.entries()) == 21


# Making one


def test_a_file_of_no_bytes_is_no_new_database(tmp_path: Path) -> None:
    path = tmp_path / "pyrite.db"
    path.touch()
    with pytest.raises(StorageError, match=r"has no bytes.*delete the file"):
        SqliteStorage(path)
    assert path.read_bytes() == b""


def test_what_an_interrupted_creation_leaves_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pyrite.db"

    def interrupted(made: Path) -> None:
        assert made.stat().st_mode & 0o777 == 0o600
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(connection, "_make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            SqliteStorage(path)
    assert list(tmp_path.iterdir()) == []
    SqliteStorage(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_database_is_made_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    SqliteStorage(tmp_path / "link.db").close()
    assert (tmp_path / "real.db").is_file()


# Reading only


def _filled(path: Path) -> None:
    with closing(SqliteStorage(path)) as storage:
        storage.add_kb("kb", "/kb", now=0.0)
        write(storage, "kb", "a")


def test_what_can_only_be_read_is_read_and_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _filled(path)
    monkeypatch.setattr(connection, "is_writable", lambda _: False)
    with closing(SqliteStorage(path)) as storage:
        assert storage.is_read_only
        assert [stored.entry.id for stored in storage.entries()] == ["a"]
        assert not storage.changed()
        assert storage.problems() == {}
        storage.backup(path.with_name("copy.db"))
        with pytest.raises(StorageUnavailableError, match="can only be read here") as refused:
            write(storage, "kb", "b")
        assert fault_of(refused.value) is Fault.READ_ONLY
    with closing(SqliteStorage(path.with_name("copy.db"))) as copy:
        assert len(copy.entries()) == 1


def test_where_no_log_can_be_made_the_file_itself_is_read_and_read_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _filled(path)
    real = reading.ReadOnlyConnection._connected

    def refuse(self: reading.ReadOnlyConnection, parameters: str) -> object:
        if "immutable" not in parameters:
            raise connection.sqlite3.OperationalError("unable to open database file")
        return real(self, parameters)

    monkeypatch.setattr(reading.ReadOnlyConnection, "_connected", refuse)
    with monkeypatch.context() as patched:
        patched.setattr(connection, "is_writable", lambda _: False)
        storage = SqliteStorage(path)
    with closing(storage):
        assert len(storage.entries()) == 1
        with closing(SqliteStorage(path)) as owner:
            write(owner, "kb", "b")
        assert storage.changed()
        assert len(storage.entries()) == 2
        with closing(SqliteStorage(path)) as owner:
            write(owner, "kb", "c")
            monkeypatch.setattr(connection, "is_writable", lambda _: False)
            with pytest.raises(StorageError, match="what was written to it last"):
                SqliteStorage(path)


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o640, 0o640), (0o600, 0o600)])
def test_what_everybody_could_read_is_made_private(path: Path, before: int, after: int) -> None:
    path.chmod(before)
    with closing(SqliteStorage(path)):
        for each in (path, path.with_name("pyrite.db-wal"), path.with_name("pyrite.db-shm")):
            assert each.stat().st_mode & 0o777 == after


def test_the_folder_that_is_made_for_it_is_private(tmp_path: Path) -> None:
    SqliteStorage(tmp_path / "home" / "pyrite.db").close()
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
