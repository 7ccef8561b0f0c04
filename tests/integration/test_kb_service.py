"""Every write is a durable file, an index row and a queue row together, or none of them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.lifecycle import Status
from pyrite.errors import (
    ConflictError,
    InvalidEntryError,
    InvalidQueryError,
    NotFoundError,
    PyriteError,
    UnreadableFileError,
    WriteError,
)
from pyrite.knowledge.service import KBService
from pyrite.storage.records import Filters
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault import prepared_file
from pyrite.vault.entry_files import Draft, Edit
from pyrite.vault.prepared_file import PreparedFile
from tests.integration.hands import KB, Product, set_back

# Creating


def test_a_new_entry_is_a_file_an_index_row_and_a_queue_row(product: Product) -> None:
    draft = Draft(
        "Backups & Co",
        type="decision",
        summary="How long",
        tags=("ops", "b"),
        body="We keep 30 days.",
        fields={"reviewed": True, "by": ["ann", "bo"]},
    )
    result = product.kbs.create_entry(KB, draft)
    assert (result.kb, result.id, result.changed) == (KB, "backups-co", True)
    assert result.embedding is Status.PENDING
    assert result.path == product.folder / "backups-co.md"
    stored = product.kbs.get_entry(KB, "backups-co")
    assert stored.revision == result.revision
    assert stored.entry.title == "Backups & Co"
    assert stored.entry.tags == ("ops", "b")
    assert stored.entry.body == "We keep 30 days.\n"
    assert stored.entry.fields == {"reviewed": True, "by": ["ann", "bo"]}
    rows = product.query("SELECT entry_id, revision, status, priority, attempts FROM embed_queue")
    assert rows == [("backups-co", result.revision, "pending", 0, 0)]
    assert [p.name for p in product.folder.iterdir()] == ["backups-co.md"]
    assert product.folders.sync(product.kb).unchanged == 1
    assert product.revisions() == {"backups-co": result.revision}


def test_folders_in_an_id_are_made(product: Product) -> None:
    result = product.kbs.create_entry(KB, Draft("Monday", id="log/2026/Montag früh"))
    assert result.path.read_text() == "---\ntitle: Monday\ntype: note\n---\n"
    assert product.ids() == ["log/2026/Montag früh"]


def test_an_id_that_is_taken_is_refused(product: Product) -> None:
    first = product.kbs.create_entry(KB, Draft("A", body="first"))
    with pytest.raises(ConflictError, match="the entry 'a' exists already in 'notes'"):
        product.kbs.create_entry(KB, Draft("A", body="second"))
    assert first.path.read_text().endswith("first\n")
    assert product.revisions() == {"a": first.revision}
    assert [p.name for p in product.folder.iterdir()] == ["a.md"]


@pytest.mark.parametrize("name", ["a.md", "a.markdown"])
def test_a_file_that_is_not_indexed_yet_is_never_overwritten(product: Product, name: str) -> None:
    path = product.write(name, "mine")
    with pytest.raises(ConflictError, match="exists already; choose another id"):
        product.kbs.create_entry(KB, Draft("A"))
    assert path.read_text() == "mine"
    assert product.ids() == []
    assert [p.name for p in product.folder.iterdir()] == [name]


def test_of_two_who_create_the_same_entry_one_does(product: Product) -> None:
    barrier = threading.Barrier(2)

    def create(storage: SqliteStorage) -> bool:
        barrier.wait()
        try:
            KBService(storage, product.settings).create_entry(KB, Draft("A"))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(create, [product.storage, product.open()])) == [False, True]
    assert product.ids() == ["a"]


@pytest.mark.parametrize(
    "entry_id",
    [
        *("..", "../x", "a/../../x", "/etc/x", "//x", "a//x", "a/", "", ".", "./x", ".hidden"),
        *(
            "a/.git/x",
            "a\\x",
            "a\0b",
            "a\nb",
            "a.md",
            "a.MARKDOWN",
            " a",
            "a ",
            "\udcff",
            "é" * 101,
        ),
    ],
)
def test_an_id_cannot_leave_the_folder_nor_be_odd(product: Product, entry_id: str) -> None:
    with pytest.raises(InvalidEntryError, match="cannot be an entry's id"):
        product.kbs.create_entry(KB, Draft("T", id=entry_id))
    for act in (
        lambda: product.kbs.get_entry(KB, entry_id),
        lambda: product.kbs.delete_entry(KB, entry_id),
        lambda: product.kbs.update_entry(KB, entry_id, Edit(body="x")),
    ):
        with pytest.raises(InvalidEntryError, match="cannot be an entry's id"):
            act()
    assert list(product.folder.parent.rglob("*.md")) == []


def test_a_linked_folder_is_no_way_out(product: Product, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (product.folder / "out").symlink_to(outside)
    with pytest.raises(InvalidEntryError, match="leads through the link 'out'"):
        product.kbs.create_entry(KB, Draft("T", id="out/x"))
    (outside / "x.md").write_text("theirs")
    (product.folder / "x.md").symlink_to(outside / "x.md")
    with pytest.raises(InvalidEntryError, match="is a link"):
        product.kbs.create_entry(KB, Draft("T", id="x"))
    assert (outside / "x.md").read_text() == "theirs"
    assert [p.name for p in outside.iterdir()] == ["x.md"]


def test_an_entry_whose_folder_became_a_link_is_left_alone(
    product: Product, tmp_path: Path
) -> None:
    product.kbs.create_entry(KB, Draft("T", id="sub/x", body="in"))
    (product.folder / "sub").rename(tmp_path / "outside")
    (product.folder / "sub").symlink_to(tmp_path / "outside")
    before = (tmp_path / "outside/x.md").read_bytes()
    with pytest.raises(UnreadableFileError, match="its folder 'sub' is a link"):
        product.kbs.update_entry(KB, "sub/x", Edit(body="out"))
    with pytest.raises(InvalidEntryError, match="through the link"):
        product.kbs.delete_entry(KB, "sub/x")
    assert (tmp_path / "outside/x.md").read_bytes() == before
    assert product.ids() == ["sub/x"]


@pytest.mark.parametrize(
    "draft",
    [
        Draft("T", body="a\0b"),
        Draft("T", body="\udc80"),
        Draft("a\0b"),
        Draft("T", fields={"title": "other"}),
        Draft("T", fields={"x": "\0"}),
        Draft("T", body="x" * 2000),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(product: Product, draft: Draft) -> None:
    service = KBService(product.storage, product.tuned(max_file_bytes=1000))
    with pytest.raises(InvalidEntryError):
        service.create_entry(KB, draft)
    assert (product.ids(), list(product.folder.iterdir())) == ([], [])


def test_without_title_and_id_there_is_no_entry(product: Product) -> None:
    with pytest.raises(InvalidEntryError, match="needs a title"):
        product.kbs.create_entry(KB, Draft(" \n"))
    assert product.kbs.create_entry(KB, Draft("", id="named")).id == "named"


def test_a_title_is_enough_for_an_id_whatever_it_is(product: Product) -> None:
    made = [
        product.kbs.create_entry(KB, Draft(t)).id for t in ("!", "Ünïcode: 日本 語!", "x" * 400)
    ]
    assert made == ["entry", "ünïcode-日本-語", "x" * 80]


# Updating


def test_an_edit_keeps_what_it_does_not_name(product: Product) -> None:
    path = product.write(
        "a.md",
        "---\r\n# about\r\nzeta: \"quoted\"  # why\r\ntitle: 'T'\r\ntags: [a, b]\r\n"
        "empty:\r\n---\r\n\r\nBody\r\n",
    )
    path.chmod(0o640)
    product.folders.sync(product.kb)
    before = product.entry("a").revision
    result = product.kbs.update_entry(KB, "a", Edit({"title": "New", "extra": 1}))
    assert path.read_bytes() == (
        b"---\r\n# about\r\nzeta: \"quoted\"  # why\r\ntitle: 'New'\r\ntags: [a, b]\r\n"
        b"empty:\r\nextra: 1\r\n---\r\n\r\nBody\r\n"
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert result.revision > before
    assert product.entry("a").entry.title == "New"
    assert product.query("SELECT revision, status, priority FROM embed_queue") == [
        (result.revision, "pending", 0)
    ]


@pytest.mark.parametrize(
    "edit",
    [Edit(), Edit({"title": "T"}), Edit(body="Body\n"), Edit(removals=["none"]), Edit(tags=["a"])],
)
def test_an_edit_that_changes_nothing_writes_nothing(product: Product, edit: Edit) -> None:
    path = product.write("a.md", "---\ntitle:   T # so\ntags: a b\n---\nBody\n")
    product.folders.sync(product.kb)
    product.embed()
    before, stamp = product.entry("a"), path.stat()
    woken: list[int] = []
    service = KBService(product.storage, product.settings, wake=lambda: woken.append(1))
    watcher = product.open()
    result = service.update_entry(KB, "a", edit)
    assert (result.changed, result.revision) == (False, before.revision)
    assert result.embedding is Status.DONE
    assert product.entry("a") == before
    assert path.stat() == stamp
    assert not watcher.changed()
    assert woken == []


def test_tags_are_added_to_those_in_the_file_and_taken_from_them(product: Product) -> None:
    path = product.write("a.md", "---\ntags: [one, two]\n---\n")
    product.folders.sync(product.kb)
    # An editor was here since: what it wrote is not lost.
    path.write_text("---\ntags: [one, two, three]\n---\n")
    product.kbs.update_entry(KB, "a", Edit(tags=["#four", "one"], untags=["two"]))
    assert product.entry("a").entry.tags == ("one", "three", "four")
    product.kbs.update_entry(KB, "a", Edit({"tags": "x y"}, tags=["z"], untags=["#y", "none"]))
    assert product.entry("a").entry.tags == ("x", "z")
    product.kbs.update_entry(KB, "a", Edit(untags=["x", "z"]))
    assert product.entry("a").entry.tags == ()


def test_an_edit_takes_up_what_an_editor_wrote_meanwhile(product: Product) -> None:
    result = product.kbs.create_entry(KB, Draft("A", body="old"))
    result.path.write_text(result.path.read_text() + "by hand\n")
    product.kbs.update_entry(KB, "a", Edit({"summary": "S"}))
    assert product.entry("a").entry.body == "old\nby hand\n"
    assert product.folders.sync(product.kb).unchanged == 1


def test_an_edit_indexes_an_editors_change_even_if_it_changes_nothing_itself(
    product: Product,
) -> None:
    result = product.kbs.create_entry(KB, Draft("A", body="old"))
    result.path.write_text("by hand\n")
    edited = product.kbs.update_entry(KB, "a", Edit(body="by hand\n"))
    assert edited.changed
    assert edited.revision > result.revision
    assert product.entry("a").entry.body == "by hand\n"


def test_an_expected_revision_must_be_the_present_one(product: Product) -> None:
    first = product.kbs.create_entry(KB, Draft("A"))
    second = product.kbs.update_entry(KB, "a", Edit(body="b"), expected_revision=first.revision)
    with pytest.raises(ConflictError, match=f"at revision {second.revision}, not {first.revision}"):
        product.kbs.update_entry(KB, "a", Edit(body="c"), expected_revision=first.revision)
    with pytest.raises(ConflictError, match=f"at revision {second.revision}, not {first.revision}"):
        product.kbs.delete_entry(KB, "a", expected_revision=first.revision)
    assert product.entry("a").entry.body == "b"
    product.kbs.delete_entry(KB, "a", expected_revision=second.revision)
    assert product.ids() == []


def test_an_expected_revision_is_of_the_file_too(product: Product) -> None:
    result = product.kbs.create_entry(KB, Draft("A"))
    set_back(result.path, lambda: result.path.write_text("by hand"))
    with pytest.raises(ConflictError, match=r"changed outside Pyrite .* `pyrite index sync`"):
        product.kbs.update_entry(KB, "a", Edit(body="c"), expected_revision=result.revision)
    with pytest.raises(ConflictError, match=r"changed outside Pyrite .* `pyrite index sync`"):
        product.kbs.delete_entry(KB, "a", expected_revision=result.revision)
    assert result.path.read_text() == "by hand"
    product.folders.sync(product.kb)
    product.kbs.delete_entry(KB, "a", expected_revision=product.entry("a").revision)
    assert not result.path.exists()


def edits_meanwhile(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], times: int
) -> None:
    """Have an editor change the file just before Pyrite's own edit would take its place."""
    real, left = prepared_file.prepare, [times]

    def prepare(path: Path, *arguments: object, **options: object) -> PreparedFile:
        prepared = real(path, *arguments, **options)  # type: ignore[arg-type]
        if left[0]:
            left[0] -= 1
            change(path)
        return prepared

    monkeypatch.setattr("pyrite.knowledge.service.prepare", prepare)


def test_a_file_that_changes_between_read_and_write_is_not_overwritten(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = product.kbs.create_entry(KB, Draft("A", body="1\n2")).path
    swap = path.read_text().replace("1\n2", "1\n3")
    # Same size, same date: only the inode's own date tells.
    edits_meanwhile(monkeypatch, lambda p: set_back(p, lambda: p.write_text(swap)), 1)
    product.kbs.update_entry(KB, "a", Edit({"summary": "S"}))
    assert product.entry("a").entry.body == "1\n3\n"
    assert product.entry("a").entry.summary == "S"
    assert [p.name for p in product.folder.iterdir()] == ["a.md"]


def test_a_file_that_keeps_changing_is_given_up_on(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    before = product.entry("a")
    edits_meanwhile(monkeypatch, lambda p: p.write_text(p.read_text() + "more\n"), 99)
    with pytest.raises(ConflictError, match="keeps being changed by another writer"):
        product.kbs.update_entry(KB, "a", Edit({"summary": "S"}))
    assert product.entry("a") == before
    assert (product.folder / "a.md").read_text().endswith("more\n" * 5)


def test_a_file_that_goes_between_read_and_write_is_not_brought_back(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    edits_meanwhile(monkeypatch, lambda p: p.unlink(), 1)
    with pytest.raises(NotFoundError, match="is gone; `pyrite index sync`"):
        product.kbs.update_entry(KB, "a", Edit(body="new"))
    assert list(product.folder.iterdir()) == []


def test_an_entry_that_is_deleted_between_read_and_write_stays_deleted(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    edits_meanwhile(monkeypatch, lambda _: product.kbs.delete_entry(KB, "a"), 1)
    with pytest.raises(NotFoundError, match="there is no entry 'a'"):
        product.kbs.update_entry(KB, "a", Edit(body="new"))
    assert list(product.folder.iterdir()) == []


@pytest.mark.parametrize("shared", [True, False], ids=["one storage", "two storages"])
def test_no_edit_is_lost_among_many_writers(product: Product, shared: bool) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    barrier = threading.Barrier(2)

    def edit(worker: int) -> list[str]:
        storage = product.storage if shared else product.open()
        service = KBService(storage, product.settings)
        written = []
        barrier.wait()
        for number in range(12):
            name = f"f{worker}-{number}"
            try:
                service.update_entry(KB, "a", Edit({name: number}))
            except ConflictError:
                continue
            written.append(name)
        return written

    with ThreadPoolExecutor(2) as threads:
        written = [name for names in threads.map(edit, range(2)) for name in names]
    assert written
    assert set(product.entry("a").entry.fields) == set(written)
    check = product.folders.sync(product.kb, full=True)
    assert (check.updated, check.unchanged) == ([], 1)
    assert [p.name for p in product.folder.iterdir()] == ["a.md"]


@pytest.mark.parametrize(
    ("raw", "line"),
    [(b"---\na: [\n---\n", 2), (b"x\n\xff\n", 2), (b"---\na: 1\nc: *b\n---\n", 3)],
)
def test_a_file_that_became_unreadable_is_not_edited(
    product: Product, raw: bytes, line: int
) -> None:
    path = product.kbs.create_entry(KB, Draft("A")).path
    path.write_bytes(raw)
    with pytest.raises(UnreadableFileError, match=f"a.md:{line}: ") as caught:
        product.kbs.update_entry(KB, "a", Edit({"title": "B"}))
    assert (caught.value.path, caught.value.line) == ("a.md", line)
    with pytest.raises(UnreadableFileError, match=f"a.md:{line}: "):
        product.kbs.update_entry(KB, "a", Edit(tags=["t"]))
    assert path.read_bytes() == raw


def test_what_is_gone_says_so(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A")).path.unlink()
    with pytest.raises(NotFoundError, match=r"the file a\.md of 'a' is gone; `pyrite index sync`"):
        product.kbs.update_entry(KB, "a", Edit(body="x"))
    for act in (
        lambda: product.kbs.update_entry(KB, "none", Edit(body="x")),
        lambda: product.kbs.get_entry(KB, "none"),
        lambda: product.kbs.delete_entry(KB, "none"),
    ):
        with pytest.raises(
            NotFoundError, match="no entry 'none' in 'notes'; `pyrite list --kb not"
        ):
            act()


def test_a_folder_that_is_gone_says_so(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    product.folder.rename(product.folder.with_name("moved"))
    for act in (
        lambda: product.kbs.create_entry(KB, Draft("B")),
        lambda: product.kbs.update_entry(KB, "a", Edit(body="x")),
        lambda: product.kbs.delete_entry(KB, "a"),
    ):
        with pytest.raises(NotFoundError, match="is not there; mount it, or `pyrite kb remove"):
            act()
    assert not product.folder.exists()
    assert product.ids() == ["a"]


# What the file system refuses


def test_a_file_where_a_folder_is_needed_is_a_write_error(product: Product) -> None:
    product.write("sub", "a file")
    with pytest.raises((WriteError, InvalidEntryError), match="Not a directory"):
        product.kbs.create_entry(KB, Draft("T", id="sub/x"))
    assert product.ids() == []


@pytest.mark.parametrize("call", ["link", "fsync", "open"])
def test_a_full_disk_leaves_file_index_and_queue_as_they_were(
    product: Product, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(WriteError, match=r"a\.md cannot be written: No space left on device"):
            product.kbs.create_entry(KB, Draft("A"))
    assert list(product.folder.iterdir()) == []
    assert (product.ids(), product.storage.counts().total) == ([], 0)
    product.kbs.create_entry(KB, Draft("A"))


def test_a_refused_replacement_leaves_all_as_it_was(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = product.kbs.create_entry(KB, Draft("A")).path
    before, raw = product.entry("a"), path.read_bytes()

    def refuse(*_: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(WriteError, match=r"a\.md cannot be written: Permission denied"):
            product.kbs.delete_entry(KB, "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(WriteError, match=r"a\.md cannot be written: Permission denied"):
            product.kbs.update_entry(KB, "a", Edit(body="new"))
    assert (product.entry("a"), path.read_bytes()) == (before, raw)
    assert [p.name for p in product.folder.iterdir()] == ["a.md"]


def test_an_entry_may_not_grow_too_large(product: Product) -> None:
    service = KBService(product.storage, product.tuned(max_file_bytes=100))
    path = service.create_entry(KB, Draft("A")).path
    raw = path.read_bytes()
    with pytest.raises(InvalidEntryError, match=r"would have 1,\d+ bytes, more than max_file_byt"):
        service.update_entry(KB, "a", Edit(body="x" * 1000))
    assert path.read_bytes() == raw
    path.write_text("x" * 101)
    with pytest.raises(UnreadableFileError, match=r"101 bytes are more than max_file_bytes"):
        service.update_entry(KB, "a", Edit(body="x"))


# Deleting


def test_deleting_takes_file_rows_chunks_and_tells_of_it(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="a"))
    kept = product.kbs.create_entry(KB, Draft("B", body="b"))
    product.embed()
    revision = product.entry("a").revision
    assert product.query("SELECT count(*) FROM chunks") == [(2,)]
    before = product.storage.events(0, 99)[-1].seq
    product.kbs.delete_entry(KB, "a")
    assert not (product.folder / "a.md").exists()
    assert product.ids() == ["b"]
    assert product.query("SELECT entry_id FROM embed_queue") == [("b",)]
    assert product.query("SELECT entry_id FROM chunks") == [("b",)]
    (event,) = product.storage.events(before, 99)
    assert (event.type, event.kb, event.entry_id) == ("entry_deleted", KB, "a")
    assert event.revision == revision
    assert product.folders.sync(product.kb).deleted == []
    assert product.entry("b").revision == kept.revision


@pytest.mark.parametrize("what", ["file", "folder"])
def test_deleting_what_is_gone_already_tidies_up(product: Product, what: str) -> None:
    path = product.kbs.create_entry(KB, Draft("A", id="sub/a")).path
    path.unlink()
    if what == "folder":
        path.parent.rmdir()
    product.kbs.delete_entry(KB, "sub/a")
    assert product.ids() == []


def test_a_deleted_entry_may_come_back(product: Product) -> None:
    first = product.kbs.create_entry(KB, Draft("A", body="same"))
    product.embed()
    product.kbs.delete_entry(KB, "a")
    again = product.kbs.create_entry(KB, Draft("A", body="same"))
    assert again.revision > first.revision
    assert product.status("a") is Status.PENDING
    product.embed()
    assert product.is_embedded("a")


def test_every_write_wakes_whoever_embeds(product: Product) -> None:
    woken: list[int] = []
    service = KBService(
        product.storage, product.settings, wake=lambda: woken.append(product.storage.counts().total)
    )
    service.create_entry(KB, Draft("A"))
    service.update_entry(KB, "a", Edit(body="x"))
    assert woken == [1, 1]  # after the commit, not before
    with pytest.raises(PyriteError):
        service.create_entry(KB, Draft("A"))
    assert woken == [1, 1]


# Knowledge bases


def test_a_folder_is_registered_once(product: Product, tmp_path: Path) -> None:
    assert product.kbs.add_kb(KB, product.folder / ".." / "notes") == product.kb
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ConflictError, match="'notes' is registered already"):
        product.kbs.add_kb(KB, other)
    with pytest.raises(ConflictError, match="'notes' is registered already"):
        product.kbs.add_kb("again", product.folder)
    product.kbs.add_kb("other", other)
    assert [kb.name for kb in product.kbs.kbs()] == [KB, "other"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "it is empty"),
        ("a/b", "no slash"),
        ("bad/../n", "no slash"),
        ("a\\b", "no backslash"),
        ("..", "begin with a dot"),
        (".x", "begin with a dot"),
        (" a", "white space"),
        ("a\0", "U\\+0000"),
        ("x.md", "ending"),
        ("e\u0301", "NFC"),
    ],
)
def test_a_knowledge_base_has_a_plain_name(product: Product, name: str, problem: str) -> None:
    with pytest.raises(InvalidEntryError, match=f"cannot name a knowledge base: .*{problem}"):
        product.kbs.add_kb(name, product.folder)
    product.kbs.add_kb("my notes", product.folder.parent)


def test_a_knowledge_base_is_a_folder(product: Product, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.mkdir()
    for path, reason in (
        (tmp_path / "none", "is not there: No such file"),
        (tmp_path / "file", "is a file; a knowledge base is a folder"),
        (tmp_path / "file" / "x", "is not there: Not a directory"),
        (tmp_path / "loop", "cannot be used: Symlink loop"),
        (odd, "cannot be used: .*surrogates"),
        (Path("~nobody-has-this-name"), "cannot be used: Could not determine home"),
    ):
        with pytest.raises(InvalidEntryError, match=reason):
            product.kbs.add_kb("x", path)


def test_forgetting_a_knowledge_base_keeps_its_files(product: Product) -> None:
    path = product.kbs.create_entry(KB, Draft("A")).path
    product.embed()
    product.kbs.remove_kb(KB)
    assert path.exists()
    assert product.kbs.kbs() == []
    assert product.storage.counts().total == 0
    for act in (
        lambda: product.kbs.remove_kb(KB),
        lambda: product.kbs.list_entries(Filters(kbs=(KB,))),
        lambda: product.kbs.check_filters(Filters(kbs=(KB,))),
        lambda: product.kbs.get_entry(KB, "a"),
        lambda: product.kbs.create_entry(KB, Draft("B")),
    ):
        with pytest.raises(NotFoundError, match="there is no knowledge base 'notes'; `pyrite kb"):
            act()


def test_entries_are_listed_by_type_tag_and_part(product: Product) -> None:
    for title, kind, tags in (("A", "note", ("x",)), ("B", "log", ("x", "y")), ("C", "log", ())):
        product.kbs.create_entry(KB, Draft(title, type=kind, tags=tags, body="text"))

    def listed(limit: int | None = None, offset: int = 0, **filters: object) -> list[str]:
        wanted = Filters(**filters)  # type: ignore[arg-type]
        found = product.kbs.list_entries(wanted, limit=limit, offset=offset)
        assert {stored.entry.body for stored in found} <= {""}
        return [stored.entry.id for stored in found]

    assert listed() == ["a", "b", "c"]
    assert listed(types=("log",)) == ["b", "c"]
    assert listed(types=("log", "note")) == ["a", "b", "c"]
    assert listed(tags=("x",)) == ["a", "b"]
    assert listed(tags=("x", "y")) == ["b"]
    assert listed(tags=("y",), types=("log",)) == ["b"]
    assert listed(limit=1, offset=1) == ["b"]
    assert listed(limit=1, offset=1, types=("log",)) == ["c"]
    assert listed(tags=("none",)) == []


def test_entries_are_listed_by_knowledge_base_day_and_field(product: Product) -> None:
    folder = product.add_kb("other")
    for title, fields in (
        ("A", {"date": "2031-05-01", "author": "Kim", "year": 2031}),
        ("B", {"date": "2031-05-02", "authors": ["Kim", "Ann"]}),
        ("C", {"year": "2031"}),
    ):
        product.kbs.create_entry(KB, Draft(title, fields=fields))
    (folder / "d.md").write_text("---\nauthor: Kim\n---\n")
    product.folders.sync(product.kbs.kb("other"))

    def listed(**filters: object) -> list[str]:
        found = product.kbs.list_entries(Filters(**filters))  # type: ignore[arg-type]
        return [stored.entry.id for stored in found]

    assert listed() == ["a", "b", "c", "d"]
    assert listed(kbs=(KB,)) == ["a", "b", "c"]
    assert listed(kbs=("other", KB)) == ["a", "b", "c", "d"]
    assert listed(since="2031-05-02") == ["b"]
    assert listed(since="2031-05-01", until="2031-05-01") == ["a"]
    assert listed(fields={"author": "Kim"}) == ["a", "d"]
    assert listed(fields={"authors": "Ann"}) == ["b"]
    assert listed(fields={"year": "2031"}) == ["a", "c"]
    with pytest.raises(NotFoundError, match="there is no knowledge base 'none'"):
        listed(kbs=(KB, "none"))
    for filters in ({"since": "2031"}, {"until": ""}, {"fields": {"title": "A"}}):
        with pytest.raises(InvalidQueryError):
            listed(**filters)


# A write that is refused, and one whose folder is taken away


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A database that refuses every transaction as it is to be committed."""

    def refuse(_: Connections, connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "commit", refuse)
        yield patch


def test_a_refused_creation_leaves_no_file(product: Product, refusing: pytest.MonkeyPatch) -> None:
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        product.kbs.create_entry(KB, Draft("A", body="text"))
    assert list(product.folder.iterdir()) == []
    refusing.undo()
    product.kbs.create_entry(KB, Draft("A", body="text"))
    assert product.entry("a").entry.body.strip() == "text"


def test_a_refused_edit_leaves_the_file_as_it_was(
    product: Product, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    made = product.kbs.create_entry(KB, Draft("A", body="text"))
    before = made.path.read_bytes()
    refusing = request.getfixturevalue("refusing")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        product.kbs.update_entry(KB, "a", Edit(body="new"), expected_revision=made.revision)
    assert made.path.read_bytes() == before
    assert list(product.folder.iterdir()) == [made.path]
    refusing.undo()
    product.kbs.update_entry(KB, "a", Edit(body="new"), expected_revision=made.revision)
    assert product.entry("a").entry.body.strip() == "new"


def test_what_another_has_written_since_is_not_taken_back(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = product.kbs.create_entry(KB, Draft("A", body="text"))

    def refuse(_: Connections, connection: sqlite3.Connection) -> None:
        made.path.unlink()
        made.path.write_text("by hand")
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "commit", refuse)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            product.kbs.update_entry(KB, "a", Edit(body="new"))
    assert made.path.read_text() == "by hand"
    assert list(product.folder.iterdir()) == [made.path]


@pytest.mark.parametrize("step", ["prepared", "named"])
@pytest.mark.parametrize("write", ["create", "update", "bulk"])
def test_a_folder_swapped_for_a_link_takes_no_file_outside(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str, step: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    product.kbs.create_entry(KB, Draft("Old", id="sub/old", body="old"))
    sub = product.folder / "sub"
    swapped: list[bool] = []

    def swap() -> None:
        if not swapped:
            swapped.append(True)
            sub.rename(product.folder / "away")
            sub.symlink_to(outside)

    def before(method: str) -> None:
        original = getattr(PreparedFile, method)

        def swapping(*given: object, **options: object) -> object:
            swap()
            return original(*given, **options)

        monkeypatch.setattr(PreparedFile, method, swapping)

    # As soon as the path was checked; and after the last look, as the file gets its name.
    for method in ("__init__",) if step == "prepared" else ("_link", "_rename"):
        before(method)
    created = Draft("New", id="sub/new")
    if write == "update":
        act = lambda: product.kbs.update_entry(KB, "sub/old", Edit(body="new"))  # noqa: E731
    elif write == "create":
        act = lambda: product.kbs.create_entry(KB, created)  # noqa: E731
    else:
        act = lambda: product.kbs.create_entries(KB, [created])  # noqa: E731
    if step == "prepared" and write != "bulk":
        with pytest.raises(WriteError, match="cannot be written"):
            act()
    else:
        act()
    assert swapped
    assert list(outside.iterdir()) == []
    assert not list((product.folder / "away").glob(".*"))
