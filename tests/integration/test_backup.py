"""A copy of the database is made while others write, and can be started from."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from pyrite.auth.tokens import Tier, TokenService
from pyrite.errors import BackupError, StorageError
from pyrite.storage.records import WordQuery
from pyrite.storage.sqlite import backup, connection, space
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from tests.conformance.hands import write
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, LONG, Product
from tests.integration.shell import Shell


@pytest.fixture
def embedded(product: Product) -> Product:
    product.fill({f"n{n:02}": f"text {n}" for n in range(30)})
    product.drain()
    return product


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_PAGES", 2)


def only(target: Path) -> None:
    """Nothing but the copy is there: neither a log nor a half."""
    assert list(target.parent.iterdir()) == [target]


@pytest.fixture
def restored(embedded: Product, target: Path, tmp_path: Path) -> Iterator[Product]:
    """Another home that was started from a copy, over the same folder."""
    shown = TokenService(embedded.storage).create("a", Tier.READ)
    embedded.storage.backup(target)
    embedded.kbs.create_entry(KB, Draft("Since", body="since"))
    home = tmp_path / "restored"
    home.mkdir()
    target.rename(home / "pyrite.db")
    made = Product(home, embedded.folder, replace(embedded.settings, home=home))
    with made.opened:
        assert TokenService(made.storage).verify(shown)
        yield made
        assert made.storage.problems() == {}


def test_a_copy_is_all_there_is(embedded: Product, target: Path) -> None:
    size = embedded.storage.backup(target)

    only(target)
    assert size == target.stat().st_size
    with closing(SqliteStorage(target)) as copy:
        assert copy.problems() == {}
        assert copy.entries() == embedded.storage.entries()
        assert copy.counts() == embedded.storage.counts()
        assert copy.kbs() == embedded.storage.kbs()
        assert copy.events(0, 999) == embedded.storage.events(0, 999)
        assert copy.models() == embedded.storage.models()
        for name in embedded.ids():
            assert copy.entry(KB, name) == embedded.storage.entry(KB, name)
            assert copy.embeddings(KB, name) == embedded.storage.embeddings(KB, name)


def test_a_copy_can_be_read_without_a_log(embedded: Product, target: Path) -> None:
    """From a folder that cannot be written to, for example."""
    embedded.storage.backup(target)
    target.chmod(0o400)
    target.parent.chmod(0o500)
    with closing(sqlite3.connect(f"{target.as_uri()}?mode=ro", uri=True)) as conn:
        assert conn.execute("SELECT count(*) FROM entries").fetchone() == (30,)
    target.parent.chmod(0o700)


def test_one_can_start_from_a_copy(restored: Product) -> None:
    assert len(restored.ids()) == 30
    assert all(restored.is_embedded(name) for name in restored.ids())
    assert [hit.entry_id for hit in restored.storage.with_words(WordQuery(("7",)), limit=9)] == [
        "n07"
    ]
    # What was written since the copy is still in the folder.
    assert restored.folders.sync(restored.kb).created == ["since"]
    encoder = FakeEncoder()
    restored.drain(encoder)
    assert sum(map(len, encoder.calls)) == 1
    assert restored.is_embedded("since")


def test_a_copy_is_another_database(embedded: Product, target: Path) -> None:
    """Numbers are handed out anew in each: what was built for one must not serve the other."""
    embedded.storage.backup(target)
    with closing(SqliteStorage(target)) as copy:
        mine, theirs = embedded.storage.embedding_state(1), copy.embedding_state(1)

    assert mine.database_id != theirs.database_id
    assert len(mine.database_id) == len(theirs.database_id)
    assert replace(mine, database_id="") == replace(theirs, database_id="")


def test_others_write_meanwhile(embedded: Product, target: Path, small_steps: None) -> None:
    """Between any two steps another instance commits, and the copy is still of one moment."""
    told: list[tuple[int, int]] = []
    with closing(SqliteStorage(embedded.settings.database_path)) as another:

        def interfere(done: int, of: int) -> None:
            for storage in (another, embedded.storage):
                write(storage, KB, f"new {len(told)} {id(storage)}", "new text " * 200)
                write(storage, KB, "n00", f"edited {len(told)}")
            told.append((done, of))

        embedded.storage.backup(target, interfere)

    assert len(told) > 20
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {of for _, of in told} == {told[-1][0]} == {target.stat().st_size}
    only(target)
    with closing(SqliteStorage(target)) as copy:
        assert copy.problems() == {}
        assert [stored.entry.id for stored in copy.entries()] == [f"n{n:02}" for n in range(30)]
        first = copy.entry(KB, "n00")
        assert first is not None
        assert first.entry.body.strip() == "text 0"
    assert len(embedded.ids()) == 30 + 2 * len(told)
    assert embedded.storage.problems() == {}


def test_a_thread_writes_meanwhile(embedded: Product, target: Path, small_steps: None) -> None:
    begun, stop = Event(), Event()
    written: list[int] = []

    def work() -> None:
        while not stop.is_set():
            written.append(write(embedded.storage, KB, f"t{len(written) % 20}", "t " * 50))
            begun.set()

    thread = Thread(target=work)
    thread.start()
    assert begun.wait(LONG)
    try:
        embedded.storage.backup(target)
    finally:
        stop.set()
        thread.join()

    with closing(SqliteStorage(target)) as copy:
        assert copy.problems() == {}
        assert len(copy.entries()) >= 31
    assert embedded.storage.problems() == {}


# What is empty


@pytest.fixture
def sparse(embedded: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A database much of which is empty, since a knowledge base was removed."""
    # A statement is looked at between as small steps as there are.
    monkeypatch.setattr(space, "_STEPS", 50)
    embedded.storage.add_kb("large", "/large", now=0.0)
    for n in range(60):
        write(embedded.storage, "large", f"l{n}", f"some words of number {n}, again " * 200)
    embedded.storage.remove_kb("large", now=0.0)
    found = embedded.storage.space()
    assert found.empty > found.size / 2
    return embedded


def test_a_copy_has_no_empty_space(sparse: Product, target: Path) -> None:
    told: list[tuple[int, int]] = []
    found = sparse.storage.space()
    size = sparse.storage.backup(target, lambda done, of: told.append((done, of)))

    assert size <= found.size - found.empty
    assert told == sorted(told)
    assert told[-1][0] <= told[-1][1] == found.size - found.empty
    only(target)
    with closing(SqliteStorage(target)) as copy:
        assert copy.problems() == {}
        assert copy.entries() == sparse.storage.entries()
        assert copy.embedding_state(1).count == sparse.storage.embedding_state(1).count
        assert copy.embeddings(KB, "n07") == sparse.storage.embeddings(KB, "n07")
        assert copy.embedding_state(1).database_id != sparse.storage.embedding_state(1).database_id


def test_others_write_while_a_copy_without_empty_space_is_made(
    sparse: Product, target: Path
) -> None:
    written: list[int] = []
    with closing(SqliteStorage(sparse.settings.database_path)) as another:

        def interfere(done: int, of: int) -> None:
            if len(written) < 20:
                written.append(write(another, KB, f"new {len(written)}", "new text"))

        sparse.storage.backup(target, interfere)

    assert len(written) > 2
    with closing(SqliteStorage(target)) as copy:
        assert copy.problems() == {}
        assert [stored.entry.id for stored in copy.entries()] == [f"n{n:02}" for n in range(30)]
    assert sparse.storage.problems() == {}


def test_an_interrupted_copy_without_empty_space_leaves_nothing(
    sparse: Product, target: Path
) -> None:
    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sparse.storage.backup(target, interrupt)
    assert list(target.parent.iterdir()) == []


def test_compacting_gives_back_what_is_empty(sparse: Product) -> None:
    path = sparse.settings.database_path
    before = sparse.storage.entries()
    vectors = sparse.storage.embeddings(KB, "n07")
    size = path.stat().st_size
    with closing(SqliteStorage(path)) as another:
        found = sparse.storage.compact()
        assert found.empty == 0
        assert found.size == path.stat().st_size < size / 2
        assert another.entries() == before
        write(another, KB, "after", "after all")
    assert sparse.storage.embeddings(KB, "n07") == vectors
    assert sparse.storage.with_words(WordQuery(("after",)), limit=9)
    assert sparse.storage.problems() == {}


def test_compacting_stops_at_ctrl_c_and_leaves_all_as_it_was(
    sparse: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    interruptible = space._interruptible
    monkeypatch.setattr(
        space, "_interruptible", lambda conn, tell: interruptible(conn, interrupted)
    )
    before = sparse.storage.space()
    with pytest.raises(KeyboardInterrupt):
        sparse.storage.compact()
    assert sparse.storage.space() == before
    assert sparse.storage.problems() == {}


def test_a_database_that_others_hold_is_not_compacted(
    sparse: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.0)
    with (
        closing(SqliteStorage(sparse.settings.database_path)) as another,
        another.writing(),
        pytest.raises(StorageError, match="cannot be compacted: database is locked; nothing"),
    ):
        sparse.storage.compact()


def test_the_words_of_a_larger_part_go_with_it(sparse: Product) -> None:
    """Else the index of words would keep its size, and no copy would be the smaller for it."""
    (blocks,) = sparse.query("SELECT sum(length(block)) FROM entry_words_data")[0]
    assert blocks < 5_000


# What is refused


def refused(product: Product, target: Path) -> str:
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
    with pytest.raises(BackupError) as caught:
        product.storage.backup(target)
    assert sorted(target.parent.iterdir() if target.parent.is_dir() else []) == before
    return str(caught.value)


def test_nothing_is_replaced(embedded: Product, target: Path) -> None:
    target.write_text("a letter")
    assert f"{target} exists already" in refused(embedded, target)
    assert target.read_text() == "a letter"
    target.unlink()
    target.symlink_to("nowhere")
    assert "exists already" in refused(embedded, target)
    assert "exists already" in refused(embedded, embedded.settings.database_path)


def test_what_comes_there_meanwhile_is_not_replaced(embedded: Product, target: Path) -> None:
    with pytest.raises(BackupError, match="exists already"):
        embedded.storage.backup(target, lambda done, of: target.write_text("a letter") and None)

    assert target.read_text() == "a letter"
    only(target)


def test_without_hard_links_a_copy_is_made_as_well(
    embedded: Product, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(backup.os, "link", refuse)
    embedded.storage.backup(target)
    only(target)
    with pytest.raises(BackupError, match="exists already"):
        embedded.storage.backup(target)
    other = target.with_name("other.db")
    with pytest.raises(BackupError, match="exists already"):
        embedded.storage.backup(other, lambda done, of: other.write_text("a letter") and None)
    assert other.read_text() == "a letter"


def test_a_place_that_cannot_be_written_is_named(embedded: Product, target: Path) -> None:
    assert "cannot be written: No such file" in refused(embedded, target / "none" / "copy.db")
    (target.parent / "file").touch()
    assert "cannot be written: Not a directory" in refused(
        embedded, target.parent / "file" / "copy.db"
    )
    assert "cannot be written: File name too long" in refused(embedded, target.with_name("x" * 300))


def test_an_interrupted_copy_leaves_nothing(
    embedded: Product, target: Path, small_steps: None
) -> None:
    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded.storage.backup(target, interrupt)

    assert list(target.parent.iterdir()) == []
    embedded.storage.backup(target)


def test_a_full_disk_is_said(
    embedded: Product, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = backup._open

    def small(path: Path) -> sqlite3.Connection:
        conn = opened(path)
        conn.execute("PRAGMA max_page_count = 5")
        return conn

    monkeypatch.setattr(backup, "_open", small)
    assert "cannot be copied" in refused(embedded, target)


def test_a_damaged_copy_is_none(
    embedded: Product, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is damaged in the original is damaged in its copy; that is said, and not kept."""
    copy = backup._copy

    def spoil(source: Path, target: Path, progress: backup.Progress) -> None:
        copy(source, target, progress)
        with closing(sqlite3.connect(target)) as conn:
            (size,) = conn.execute("PRAGMA page_size").fetchone()
            (root,) = conn.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = 'events'"
            ).fetchone()
        with target.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)

    monkeypatch.setattr(backup, "_copy", spoil)
    assert "not sound" in refused(embedded, target)


def test_a_copy_is_as_private_as_the_original(embedded: Product, target: Path) -> None:
    embedded.settings.database_path.chmod(0o640)
    modes = []

    def look(done: int, of: int) -> None:
        (partial,) = target.parent.glob(".copy.db.*.partial")
        modes.append(stat.S_IMODE(partial.stat().st_mode))

    embedded.storage.backup(target, look)

    assert set(modes) == {0o600}
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


# The command


def test_the_command_copies(shell: Shell, target: Path) -> None:
    shell.ok("kb", "add", "notes", str(shell.folder))
    ran = shell.ok("backup", str(target))

    assert str(target) in ran.out
    assert ran.out.endswith(" MB\n")
    assert ran.err == ""
    with closing(SqliteStorage(target)) as copy:
        assert [kb.name for kb in copy.kbs()] == ["notes"]
    said = shell.refused("backup", str(target))
    assert said == (
        f"pyrite: {target} exists already, and a backup replaces nothing; choose another name\n"
    )
    other = target.with_name("other.db")
    assert shell.ok("backup", str(other), "--json").json == {
        "file": str(other),
        "bytes": other.stat().st_size,
    }


def test_the_command_copies_no_database_that_is_not_there(shell: Shell, target: Path) -> None:
    assert "there is no database" in shell.refused("backup", str(target))
    assert not target.exists()
    assert not (shell.home / "pyrite.db").exists()


def test_the_command_compacts(shell: Shell) -> None:
    assert "there is no database" in shell.refused("compact")
    assert not shell.home.exists()
    shell.ok("kb", "add", KB, str(shell.folder))
    path = shell.home / "pyrite.db"
    before = path.stat().st_size
    assert re.fullmatch(rf"{path} had \d\.\d MB and has \d\.\d MB\n", shell.ok("compact").out)
    assert shell.ok("compact", "--json").json == {
        "database": str(path),
        "bytes_before": path.stat().st_size,
        "bytes": path.stat().st_size,
    }
    assert path.stat().st_size <= before
