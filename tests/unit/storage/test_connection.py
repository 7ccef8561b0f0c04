"""Connections: durable, concurrent, and clear about what cannot be opened."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from operator import attrgetter
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest

from pyrite.errors import PyriteError, StorageError
from pyrite.storage.sqlite import connection
from pyrite.storage.sqlite.connection import Connections, connect
from pyrite.storage.sqlite.driver import WAL_RESET_FIXED, sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import Worker, delete, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pyrite.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(path)) as opened:
        opened.add_kb("kb", "/kb", now=0.0)
        yield opened


@pytest.mark.parametrize("which", ["_writer", "_reader", "_watcher.connection"])
@pytest.mark.parametrize(
    ("pragma", "value"),
    [("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)],
)
def test_every_connection_is_durable(
    storage: SqliteStorage, which: str, pragma: str, value: int | str
) -> None:
    conn = attrgetter(which)(storage._db)

    assert conn.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_the_driver_is_without_the_log_bug() -> None:
    assert sqlite3.sqlite_version_info >= WAL_RESET_FIXED


def not_a_database(path: Path) -> Path:
    path.write_bytes(b"These are my notes, and no database.\n" * 100)
    return path


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("a file")
    return path / "pyrite.db"


def damaged(path: Path) -> Path:
    SqliteStorage(path).close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(3000))
    return path


def in_no_folder(path: Path) -> Path:
    return Path("/proc/self/pyrite.db")


@pytest.mark.parametrize("spoil", [not_a_database, a_folder, below_a_file, damaged, in_no_folder])
def test_what_cannot_be_opened_is_said_clearly(path: Path, spoil: Callable[[Path], Path]) -> None:
    spoiled = spoil(path)

    with pytest.raises(
        StorageError, match=r"cannot be opened: .*(pyrite doctor|another place)"
    ) as caught:
        SqliteStorage(spoiled)

    assert str(spoiled) in str(caught.value)
    assert isinstance(caught.value, PyriteError)
    assert isinstance(caught.value.__cause__, (sqlite3.Error, OSError))


def test_a_notebook_is_not_overwritten_by_mistake(path: Path) -> None:
    not_a_database(path)
    before = path.read_bytes()
    with pytest.raises(StorageError):
        SqliteStorage(path)

    assert path.read_bytes() == before


def test_what_failed_to_open_keeps_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []

    def connect_twice(path: Path) -> sqlite3.Connection:
        if len(opened) == 2:
            raise sqlite3.OperationalError("no more")
        opened.append(connect(path))
        return opened[-1]

    monkeypatch.setattr(connection, "connect", connect_twice)
    with pytest.raises(StorageError):
        Connections(path)

    for conn in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            conn.execute("SELECT 1")


def test_opening_waits_for_another_that_sets_up_the_database(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        path.touch()
        hasty = sqlite3.connect(path)
        with closing(hasty), pytest.raises(sqlite3.OperationalError, match="locked"):
            hasty.execute("PRAGMA journal_mode = WAL")
        waited = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                another.execute("COMMIT")

        monkeypatch.setattr(connection.time, "sleep", wait)
        with closing(connect(path)) as conn:
            assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert len(waited) == 3


def test_opening_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStorage(path).close()
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("PRAGMA journal_mode = DELETE")
        another.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="database is locked: another process keeps"):
            SqliteStorage(path)


def test_a_writer_waits_for_30_seconds_in_slices_and_the_others_at_once(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = (storage._db._writer, storage._db._reader, storage._db._watcher.connection)
    waits = [conn.execute("PRAGMA busy_timeout").fetchone()[0] for conn in connections]
    assert waits == [500, 30_000, 30_000]
    storage._db._writer.execute("PRAGMA busy_timeout = 0")
    now = itertools.count(step=0.5)  # each look is a slice later
    with closing(connect(storage.path)) as another:
        another.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(connection.time, "monotonic", lambda: next(now))
        with pytest.raises(sqlite3.OperationalError, match="locked"), storage._db.write():
            pass
    assert next(now) == 31


def test_who_is_told_to_hurry_waits_no_longer_for_another_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SLICE_S", 0.001)
    with closing(Connections(path)) as db, closing(connect(path)) as another:
        another.execute("BEGIN IMMEDIATE")
        looks = []

        def monotonic() -> float:
            looks.append(0.0)
            if len(looks) == 4:
                db.hurry()
            return 0.0

        monkeypatch.setattr(connection.time, "monotonic", monotonic)
        with pytest.raises(sqlite3.OperationalError, match="locked"), db.write():
            pass
    assert len(looks) == 4


# Transactions


def test_a_failed_commit_is_rolled_back(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(conn: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(storage._db, "commit", refuse)
        with pytest.raises(sqlite3.OperationalError):
            write(storage, "kb", "a")

    assert storage.entry("kb", "a") is None
    write(storage, "kb", "a")
    assert storage.entry("kb", "a") is not None


def test_an_entry_needs_a_knowledge_base(storage: SqliteStorage) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        write(storage, "nowhere", "a")

    assert storage.problems() == {}


def test_a_reader_sees_one_state_throughout(storage: SqliteStorage) -> None:
    with storage._db.read() as conn:
        before = conn.execute("SELECT count(*) FROM entries").fetchone()
        write(storage, "kb", "a")
        assert conn.execute("SELECT count(*) FROM entries").fetchone() == before
    assert storage.counts().pending == 1


def test_reading_does_not_wait_for_a_writer(storage: SqliteStorage, path: Path) -> None:
    with closing(SqliteStorage(path)) as another, another.writing() as writing:
        assert writing.file("kb", "a") is None
        assert storage.entries() == []
        assert storage.counts().total == 0


def test_a_writer_waits_for_another(storage: SqliteStorage, path: Path) -> None:
    begun, finished = Event(), Event()

    def second() -> None:
        with closing(SqliteStorage(path)) as another:
            begun.set()
            write(another, "kb", "second")
            finished.set()

    thread = Thread(target=second)
    with storage.writing() as writing:
        thread.start()
        assert begun.wait(10)
        assert not finished.wait(0.05)
        assert writing.delete("kb", ["none"], now=0.0) == 0
    thread.join()

    assert finished.is_set()
    assert storage.entry("kb", "second") is not None


@pytest.mark.parametrize("shared", [True, False], ids=["one store", "two stores"])
def test_writing_at_once_loses_nothing(storage: SqliteStorage, path: Path, shared: bool) -> None:
    each, count = 40, 4
    barrier = Barrier(count)
    errors: list[Exception] = []
    revisions: list[int] = []

    def work(number: int) -> None:
        mine = storage if shared else SqliteStorage(path)
        worker = Worker(mine, str(number))
        barrier.wait()
        try:
            for turn in range(each):
                revisions.append(write(mine, "kb", f"{number}-{turn}", f"text {turn % 7}"))
                revisions.append(write(mine, "kb", "common", f"{number} {turn}"))
                if turn % 4 == 3:
                    delete(mine, "kb", f"{number}-{turn}")
                claims = worker.claim(limit=3)
                settled = worker.finish(*claims)
                assert len(settled.events) + len(settled.lost) == len(claims)
                assert mine.counts().total >= 1
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)
        finally:
            if not shared:
                mine.close()

    threads = [Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(set(revisions)) == len(revisions) == each * count * 2
    assert len(storage.entries()) == each * count * 3 // 4 + 1
    Worker(storage).embed_all()
    counts = storage.counts()
    assert counts.done == counts.total == each * count * 3 // 4 + 1
    seqs = [event.seq for event in storage.events(0, 10_000)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert storage.problems() == {}
