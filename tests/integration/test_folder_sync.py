"""A sync finds by content what has changed in a folder, and writes nothing where nothing has."""

from __future__ import annotations

import os
import shutil
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from actors.lifecycle import Status
from pyrite.errors import FilesMissingError, FolderMissingError, NotFoundError
from pyrite.vault import comparison, paths
from pyrite.vault import sync as sync_module
from pyrite.vault.entry_files import Draft, Edit
from pyrite.vault.files import ReadFile, read_file
from pyrite.vault.sync import FolderSync, SyncResult
from tests.acceptance.pages import real_pages
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, Product, later, set_back


def sync(product: Product, *, full: bool = False) -> SyncResult:
    return product.folders.sync(product.kb, full=full)


def outcome(result: SyncResult) -> dict[str, object]:
    """What a sync did, without what it did not."""
    parts = {
        "created": result.created,
        "updated": result.updated,
        "renamed": result.renamed,
        "deleted": result.deleted,
        "unchanged": result.unchanged,
        "problems": [problem.path for problem in result.problems],
    }
    return {
        name: sorted(part) if isinstance(part, list) else part
        for name, part in parts.items()
        if part
    }  # type: ignore[type-var]


# What changes


def test_new_changed_and_deleted_files_are_found(product: Product) -> None:
    for name in "abc":
        product.write(f"{name}.md", name)
    assert outcome(sync(product)) == {"created": ["a", "b", "c"]}
    product.embed()
    before = product.revisions()
    product.write("a.md", "new a")
    (product.folder / "b.md").unlink()
    product.write("d.md", "d")
    assert outcome(sync(product)) == {
        "created": ["d"],
        "updated": ["a"],
        "deleted": ["b"],
        "unchanged": 1,
    }
    after = product.revisions()
    assert after["a"] > before["a"]
    assert after["c"] == before["c"]
    assert product.entry("a").entry.body == "new a"
    statuses = {name: product.status(name) for name in "acd"}
    assert statuses == {"a": Status.PENDING, "c": Status.DONE, "d": Status.PENDING}
    assert product.query("SELECT DISTINCT priority FROM embed_queue WHERE status = 'pending'") == [
        (1,)
    ]


def test_a_renamed_file_is_encoded_once(product: Product) -> None:
    product.write("a.md", "# Title\n\nText")
    product.write("keep.md", "other")
    sync(product)
    product.embed()
    (product.folder / "a.md").rename(product.folder / "b.md")
    assert outcome(sync(product)) == {"renamed": [("a", "b")], "unchanged": 1}
    assert product.embed(encoder := FakeEncoder()) is encoder
    assert encoder.calls == []
    assert product.is_embedded("b")
    assert product.ids() == ["b", "keep"]


def test_a_file_moved_between_folders_is_a_rename(product: Product) -> None:
    product.write("one/a.md", "same")
    sync(product)
    (product.folder / "two").mkdir()
    (product.folder / "one/a.md").rename(product.folder / "two/a.md")
    assert outcome(sync(product)) == {"renamed": [("one/a", "two/a")]}


def test_of_many_equal_files_as_many_are_renamed_as_came_and_went(product: Product) -> None:
    for name in "abc":
        product.write(f"{name}.md", "same")
    sync(product)
    shutil.rmtree(product.folder)
    product.write("x.md", "same")
    product.write("y.md", "other")
    result = sync(product)
    assert outcome(result) == {"created": ["y"], "renamed": [("a", "x")], "deleted": ["b", "c"]}


def test_same_names_in_different_folders_are_different_entries(product: Product) -> None:
    for folder in ("", "a/", "a/a/", "b/"):
        product.write(f"{folder}a.md", folder)
    assert outcome(sync(product)) == {"created": ["a", "a/a", "a/a/a", "b/a"]}
    assert product.entry("a/a").entry.body == "a/"


def test_a_file_by_another_ending_is_the_same_entry(product: Product) -> None:
    product.write("a.md", "text")
    sync(product)
    product.embed()
    (product.folder / "a.md").rename(product.folder / "a.markdown")
    sync(product)
    assert product.entry("a").path == "a.markdown"
    watcher = product.open()
    assert outcome(sync(product)) == {"unchanged": 1}
    assert not watcher.changed()
    assert product.embed(FakeEncoder()).calls == []
    product.kbs.update_entry(KB, "a", Edit(body="new"))
    assert [p.name for p in product.folder.iterdir()] == ["a.markdown"]


def test_deep_folders_and_any_letters_will_do(product: Product) -> None:
    deep = "/".join(f"a folder {number}" for number in range(30))
    names = [f"{deep}/deep", "Ünïcode/日本語 - ñ", "emoji 🎉", "a'b\"c;d"]
    for name in names:
        product.write(f"{name}.md", name)
    assert outcome(sync(product)) == {"created": sorted(names)}
    assert product.entry(names[1]).entry.body == names[1]
    product.embed()
    assert all(product.is_embedded(name) for name in names)


def test_a_decomposed_name_is_the_composed_entry(product: Product) -> None:
    name = "Café ño"
    decomposed = unicodedata.normalize("NFD", name)
    assert decomposed != name
    product.write(f"{decomposed}.md", "text")
    assert outcome(sync(product)) == {"created": [name]}
    product.kbs.update_entry(KB, name, Edit(body="new"))
    product.kbs.update_entry(KB, decomposed, Edit(body="newer"))
    assert [p.name for p in product.folder.iterdir()] == [f"{decomposed}.md"]
    assert outcome(sync(product)) == {"unchanged": 1}
    # Copied by a tool that composes names: the same entry at another path.
    (product.folder / f"{decomposed}.md").rename(product.folder / f"{name}.md")
    sync(product)
    assert product.entry(name).path == f"{name}.md"
    product.kbs.delete_entry(KB, name)
    assert list(product.folder.iterdir()) == []


def test_hidden_and_other_files_are_not_entries(product: Product) -> None:
    for name in (".a.md", ".git/b.md", "c.txt", "d", "e.md~", ".pyrite-1.tmp", "md"):
        product.write(name)
    product.write("f.MD")
    assert outcome(sync(product)) == {"created": ["f"]}


# What does not change


def test_where_nothing_changed_nothing_is_written(product: Product) -> None:
    for number in range(5):
        product.write(f"{number}.md", f"text {number}")
    sync(product)
    product.embed()
    before, watcher = product.revisions(), product.open()
    assert outcome(sync(product)) == {"unchanged": 5}
    assert not watcher.changed()
    assert product.revisions() == before
    check = product.folders.check(product.kb)
    assert (check.files, check.changed, check.gone, check.problems) == (5, 0, 0, [])


def test_where_nothing_changed_nothing_is_read(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.write("a.md")
    sync(product)
    read: list[str] = []

    def watched(root: Path, path: str, *, max_bytes: int) -> ReadFile:
        read.append(path)
        return read_file(root, path, max_bytes=max_bytes)

    monkeypatch.setattr(sync_module, "read_file", watched)
    sync(product)
    assert read == []
    assert outcome(sync(product, full=True)) == {"unchanged": 1}
    assert read == ["a.md"]


def test_a_touched_file_queues_nothing(product: Product) -> None:
    path = product.write("a.md")
    sync(product)
    product.embed()
    before = product.revisions()
    os.utime(path, (1, 1))
    assert product.folders.check(product.kb).changed == 0
    assert outcome(sync(product)) == {"unchanged": 1}
    watcher = product.open()
    sync(product)
    assert not watcher.changed()
    assert product.revisions() == before
    assert product.status("a") is Status.DONE


def test_a_file_that_was_rewritten_as_it_was_queues_nothing(product: Product) -> None:
    product.write("a.md", "same")
    sync(product)
    product.embed()
    (product.folder / "a.md").unlink()
    product.write("a.md", "same")
    assert outcome(sync(product)) == {"unchanged": 1}
    assert product.status("a") is Status.DONE


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_other_bytes_of_the_same_length_and_date_are_found(product: Product, how: str) -> None:
    path = product.write("a.md", "one")
    sync(product)

    def change() -> None:
        if how == "replaced":
            path.unlink()
        path.write_text("two")

    set_back(path, change)
    assert outcome(sync(product)) == {"updated": ["a"]}
    assert product.entry("a").entry.body == "two"


def test_a_stat_too_fresh_to_be_trusted_is_not(product: Product) -> None:
    path = product.write("a.md", "one")
    now = FolderSync(product.storage, product.settings, time.time)
    now.sync(product.kb)
    assert product.storage.files(KB)["a"].stamp is None
    stamp = path.stat()
    # A write within the same tick of the file system's clock would look just like this.
    path.write_text("two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert now.sync(product.kb).updated == ["a"]


def test_what_pyrite_wrote_is_in_step_already(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="1"))
    product.kbs.create_entry(KB, Draft("B", body="2"))
    product.kbs.update_entry(KB, "a", Edit(body="3"))
    product.kbs.delete_entry(KB, "b")
    before = product.revisions()
    assert outcome(sync(product)) == {"unchanged": 1}
    assert outcome(sync(product, full=True)) == {"unchanged": 1}
    assert product.revisions() == before


def test_a_real_corpus_is_read_whole_and_then_left_alone(product: Product) -> None:
    shutil.rmtree(product.folder)
    pages = real_pages(product.folder)
    told: list[tuple[int, int]] = []
    result = product.folders.sync(product.kb, progress=lambda *at: told.append(at))
    assert (len(result.created), result.problems) == (pages, [])
    assert told[-1] == (pages, pages)
    assert told == sorted(told)
    watcher = product.open()
    assert outcome(sync(product)) == {"unchanged": pages}
    assert not watcher.changed()
    assert product.storage.counts().pending == pages


# What cannot be read


def link_out(product: Product) -> None:
    outside = product.folder.parent / "outside.md"
    outside.write_text("theirs")
    (product.folder / "bad.md").symlink_to(outside)


#: Each of these stands for nine times as much as the one above it.
BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))

#: How a file is made bad, the line and the reason it is reported with.
BAD: dict[str, tuple[Callable[[Product], object], int | None, str]] = {
    "YAML": (lambda p: p.write("bad.md", "---\ntitle: x\na: b: c\n---\n"), 3, "mapping values"),
    "tab": (lambda p: p.write("bad.md", "---\na:\n\t- b\n---\n"), 3, "indent with spaces"),
    "list": (lambda p: p.write("bad.md", "---\n- a\n---\n"), 2, '"key: value"'),
    "encoding": (lambda p: p.write("bad.md", b"a\nb\n\xe9\n"), 3, "0xE9 is not UTF-8"),
    "UTF-16": (lambda p: p.write("bad.md", "text".encode("utf-16")), 1, "in UTF-16"),
    "NUL": (lambda p: p.write("bad.md", b"a\n\0"), 2, "NUL character"),
    "bomb": (
        lambda p: p.write("bad.md", f"---\na0: &a0 [1, 2]\n{BOMB}---\n"),
        7,
        "aliases stand for more than 262,144 characters",
    ),
    "depth": (lambda p: p.write("bad.md", f"---\na: {'[' * 30}{']' * 30}\n---\n"), 2, "deeper"),
    "size": (lambda p: p.write("bad.md", "x" * 3000), None, "3,000 bytes are more than max_file_b"),
    "link out": (link_out, None, "a link out of the knowledge base"),
    "dead link": (
        lambda p: (p.folder / "bad.md").symlink_to("none.md"),
        None,
        "a link that leads nowhere",
    ),
    "pipe": (lambda p: os.mkfifo(p.folder / "bad.md"), None, "a pipe, socket or device"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_a_file_that_cannot_be_read_is_reported_and_keeps_its_entry(
    product: Product, kind: str, known: bool
) -> None:
    make, line, reason = BAD[kind]
    folders = FolderSync(product.storage, product.tuned(max_file_bytes=2000), later)
    if known:
        path = product.write("bad.md", "good")
        folders.sync(product.kb)
        path.unlink()
    before = product.storage.entry(KB, "bad")
    make(product)
    product.write("good.md")
    for expected in ({"created": ["good"]}, {"unchanged": 1}):
        result = folders.sync(product.kb)
        assert outcome(result) == {**expected, "problems": ["bad.md"]}
        (problem,) = result.problems
        assert (problem.path, problem.line) == ("bad.md", line)
        assert reason in problem.reason
        assert "\n" not in problem.reason
    assert product.storage.entry(KB, "bad") == before
    (product.folder / "bad.md").unlink()
    product.write("bad.md", "mended")
    assert folders.sync(product.kb).problems == []
    assert product.entry("bad").entry.body == "mended"


def test_front_matter_that_is_never_closed_is_text(product: Product) -> None:
    product.write("a.md", "---\ntitle: x\n\nNo end.\n")
    assert outcome(sync(product)) == {"created": ["a"]}
    assert product.entry("a").entry.body.endswith("No end.\n")


def test_a_name_that_cannot_be_an_id_is_reported(product: Product) -> None:
    for name in (" a.md", "b\\c.md", "d\ne.md", os.fsdecode(b"\xff.md")):
        product.write(name)
    result = sync(product)
    reasons = {problem.path: problem.reason for problem in result.problems}
    assert sorted(reasons) == [" a.md", "\\xff.md", "b\\c.md", "d\\ne.md"]
    assert "white space" in reasons[" a.md"]
    assert "not UTF-8" in reasons["\\xff.md"]
    assert "backslash" in reasons["b\\c.md"]
    assert all(str(problem).isprintable() for problem in result.problems)


def test_of_two_files_with_one_id_one_is_reported(product: Product) -> None:
    product.write("a.md", "first")
    sync(product)
    product.write("a.MARKDOWN", "second")
    result = sync(product)
    assert [problem.path for problem in result.problems] == ["a.md"]
    assert "the same id, 'a', as 'a.MARKDOWN'" in result.problems[0].reason
    (product.folder / "a.MARKDOWN").unlink()
    assert outcome(sync(product)) == {"updated": ["a"]}
    assert product.entry("a").entry.body == "first"


# What must not be taken for deleted


def fill(product: Product, number: int) -> None:
    for each in range(number):
        product.write(f"{each}.md", f"text {each}")
    sync(product)


def lose(product: Product, *numbers: int) -> dict[str, bytes]:
    """Take files away; returns what :func:`bring_back` needs."""
    paths = [product.folder / f"{number}.md" for number in numbers]
    lost = {path.name: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
    return lost


def bring_back(product: Product, lost: dict[str, bytes]) -> None:
    for name, raw in lost.items():
        product.write(name, raw)


@pytest.mark.parametrize(
    ("known", "lost", "reason"),
    [
        (1, 1, "its only file is gone"),
        (2, 2, "all of its 2 files are gone"),
        (2, 1, None),
        (19, 18, None),
        (20, 18, None),
        (20, 19, "19 of its 20 files are gone"),
        (30, 30, "all of its 30 files are gone"),
    ],
)
def test_files_that_are_gone_all_at_once_are_kept_until_they_are_back(
    product: Product, known: int, lost: int, reason: str | None
) -> None:
    fill(product, known)
    taken = lose(product, *range(lost))
    if reason is None:
        assert len(sync(product).deleted) == lost
        return
    for act in (sync, lambda p: p.folders.check(p.kb), sync):
        with pytest.raises(FilesMissingError, match=f"'notes' is unavailable: {reason}") as caught:
            act(product)
    assert "`pyrite index sync --kb notes --accept-deletions`" in str(caught.value)
    assert str(product.folder) not in caught.value.public
    assert product.kbs.unavailable(product.kbs.kb(KB)) == reason
    assert len(product.ids()) == known
    bring_back(product, taken)
    watcher = product.open()
    assert outcome(sync(product)) == {"unchanged": known}
    assert watcher.changed()
    assert product.kbs.unavailable(product.kbs.kb(KB)) is None


def test_files_that_are_gone_all_at_once_are_deleted_once_that_is_accepted(
    product: Product,
) -> None:
    fill(product, 25)
    lose(product, *range(25))
    with pytest.raises(FilesMissingError):
        sync(product)
    result = product.folders.sync(product.kb, accept_deletions=True)
    assert len(result.deleted) == 25
    assert product.ids() == []
    assert product.kbs.kb(KB).unavailable is None
    product.kbs.create_entry(KB, Draft("New"))


def test_it_stays_unavailable_until_every_file_is_back(product: Product) -> None:
    fill(product, 30)
    taken = lose(product, *range(30))
    with pytest.raises(FilesMissingError):
        sync(product)
    (name, raw) = taken.popitem()
    bring_back(product, taken)
    with pytest.raises(FilesMissingError, match="unavailable: 1 of its 30 files is gone"):
        sync(product)
    assert len(product.ids()) == 30
    # Under another name it is back as well.
    product.write("renamed.md", raw)
    assert outcome(sync(product)) == {
        "renamed": [(name.removesuffix(".md"), "renamed")],
        "unchanged": 29,
    }


def test_while_it_is_unavailable_it_is_searched_and_not_written(product: Product) -> None:
    fill(product, 2)
    lose(product, 0, 1)
    with pytest.raises(FilesMissingError):
        sync(product)
    for write in (
        lambda: product.kbs.create_entry(KB, Draft("New")),
        lambda: product.kbs.create_entries(KB, [Draft("New")]),
        lambda: product.kbs.update_entry(KB, "0", Edit(body="new")),
        lambda: product.kbs.delete_entry(KB, "0"),
    ):
        with pytest.raises(FilesMissingError, match="is unavailable: all of its 2 files are gone"):
            write()
    assert list(product.folder.iterdir()) == []
    assert product.kbs.get_entry(KB, "0").entry.body == "text 0"


def test_the_only_entry_can_be_deleted_by_name(product: Product) -> None:
    fill(product, 1)
    product.kbs.delete_entry(KB, "0")
    assert outcome(sync(product)) == {}


def test_all_files_may_be_renamed_at_once(product: Product) -> None:
    fill(product, 30)
    (product.folder / "sub").mkdir()
    for each in range(30):
        (product.folder / f"{each}.md").rename(product.folder / f"sub/{each}.md")
    assert len(sync(product).renamed) == 30


def on_another_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every folder say from now on that its disk is another one."""
    real = paths.folder_status

    def elsewhere(root: Path) -> os.stat_result | None:
        status = real(root)
        if status is None:
            return None
        return os.stat_result((*status[:2], status.st_dev + 1, *status[3:10]))

    for module in (comparison, sync_module):
        monkeypatch.setattr(module, "folder_status", elsewhere)


def test_a_file_that_is_gone_from_another_disk_is_kept(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(product, 4)
    # An older copy, as it may lie where the disk is to be mounted.
    taken = lose(product, *range(4))
    del taken["3.md"]
    bring_back(product, taken)
    on_another_disk(monkeypatch)
    reason = "1 of its 4 files is gone, and its folder is on another disk than before"
    with pytest.raises(FilesMissingError, match=reason):
        sync(product)
    assert len(product.ids()) == 4
    product.write("3.md", "text 3")
    assert outcome(sync(product)) == {"unchanged": 4}
    # It is that disk from now on.
    lose(product, 2)
    assert outcome(sync(product)) == {"deleted": ["2"], "unchanged": 3}


def test_the_same_disk_by_another_number_is_the_same(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(product, 4)
    lose(product, 3)
    on_another_disk(monkeypatch)
    assert outcome(sync(product)) == {"deleted": ["3"], "unchanged": 3}


def test_a_disk_that_goes_while_it_is_read_deletes_nothing(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(product, 4)
    lose(product, 3)
    real = sync_module.folder_status
    monkeypatch.setattr(sync_module, "folder_status", lambda _: None)
    assert sync(product).deleted == []
    monkeypatch.setattr(sync_module, "folder_status", real)
    assert sync(product).deleted == ["3"]


def test_a_folder_that_cannot_be_asked_for_is_not_there(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(product, 1)
    real = Path.stat

    def stale(path: Path, **options: bool) -> os.stat_result:
        if path == product.folder:
            raise OSError(116, "Stale file handle")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stale)
    with pytest.raises(FolderMissingError, match="is not there"):
        sync(product)
    with pytest.raises(FolderMissingError, match="is not there"):
        product.kbs.create_entry(KB, Draft("New"))
    assert product.kbs.unavailable(product.kb) == "its folder is not there"


def test_a_folder_that_is_gone_deletes_nothing(product: Product) -> None:
    product.write("a.md")
    sync(product)
    product.folder.rename(product.folder.with_name("moved"))
    for act in (sync, lambda p: p.folders.check(p.kb)):
        with pytest.raises(NotFoundError, match="is not there: mount it, or `pyrite kb remove no"):
            act(product)
    product.folder.write_text("a file")
    with pytest.raises(NotFoundError, match="is not there"):
        sync(product)
    assert product.ids() == ["a"]


@pytest.mark.parametrize("hidden", ["", "sub"])
def test_a_folder_that_cannot_be_listed_deletes_nothing(
    product: Product, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    for name in ("a", "sub/b", "sub/deep/c", "subway/d"):
        product.write(f"{name}.md", name)
    sync(product)
    (product.folder / "subway/d.md").unlink()
    real = os.scandir
    barred = f"{product.folder}/{hidden}".rstrip("/")

    def scandir(path: str) -> object:
        if str(path).rstrip("/") == barred:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = sync(product)
    assert [problem.path for problem in result.problems] == [hidden or "."]
    assert result.problems[0].reason == "the folder cannot be listed: Permission denied"
    assert result.deleted == (["subway/d"] if hidden else [])
    assert {"a", "sub/b", "sub/deep/c"} <= set(product.ids())


def test_deleting_a_whole_folder_deletes_its_entries(product: Product) -> None:
    for name in ("sub/a", "sub/deep/b", "c"):
        product.write(f"{name}.md", name)
    sync(product)
    shutil.rmtree(product.folder / "sub")
    assert product.folders.check(product.kb).gone == 2
    assert outcome(sync(product)) == {"deleted": ["sub/a", "sub/deep/b"], "unchanged": 1}
    assert product.ids() == ["c"]


# What changes meanwhile


def after_reading(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[str], object], times: int = 1
) -> None:
    """Do something to the folder after a file was read and before it is written."""
    left = [times]

    def read(root: Path, path: str, *, max_bytes: int) -> ReadFile:
        found = read_file(root, path, max_bytes=max_bytes)
        if left[0]:
            left[0] -= 1
            change(path)
        return found

    monkeypatch.setattr(sync_module, "read_file", read)


def test_a_file_replaced_after_it_was_read_is_indexed_as_it_is(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = product.write("a.md", "one")
    after_reading(monkeypatch, lambda _: set_back(path, lambda: path.write_text("two")))
    assert outcome(sync(product)) == {"created": ["a"]}
    assert product.entry("a").entry.body == "two"
    assert product.query("SELECT value FROM sequences WHERE name = 'revision'") == [
        (1,)
    ]  # never indexed as "one"


def test_a_write_of_pyrites_own_is_never_replaced_by_older_text(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.write("a.md", "one")
    sync(product)
    product.write("a.md", "two")
    after_reading(monkeypatch, lambda _: product.kbs.update_entry(KB, "a", Edit(body="three")))
    assert outcome(sync(product)) == {"unchanged": 1}
    assert product.entry("a").entry.body == "three"


def test_a_file_that_never_holds_still_is_left_to_the_next_sync(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = product.write("a.md", "one")
    product.write("b.md", "still")
    numbers = iter(range(99))

    def change(name: str) -> None:
        if name == "a.md":
            path.write_text(f"changed {next(numbers)}")

    after_reading(monkeypatch, change, times=99)
    result = sync(product)
    assert result.created == ["b"]
    assert product.ids() == ["b"]
    monkeypatch.undo()
    assert outcome(sync(product)) == {"created": ["a"], "unchanged": 1}


def test_a_file_that_goes_while_it_is_looked_at_is_no_problem(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        product.write(f"{name}.md", name)
    after_reading(monkeypatch, lambda _: (product.folder / "b.md").unlink())
    assert outcome(sync(product)) == {"created": ["a"]}
    product.write("c.md", "c")
    monkeypatch.undo()
    after_reading(monkeypatch, lambda name: (product.folder / name).unlink())
    assert outcome(sync(product)) == {"unchanged": 1}
    assert product.ids() == ["a"]


def test_a_file_that_comes_back_before_it_is_deleted_is_kept(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "keep"):
        product.write(f"{name}.md", name)
    sync(product)
    (product.folder / "a.md").unlink()
    product.write("b.md", "b")
    after_reading(monkeypatch, lambda _: product.write("a.md", "a"))
    result = sync(product)
    assert result.deleted == []
    assert product.ids() == ["a", "b", "keep"]


def test_a_file_that_comes_while_syncing_is_found_next_time(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.write("a.md", "a")
    after_reading(monkeypatch, lambda _: product.write("z.md", "z"))
    assert outcome(sync(product)) == {"created": ["a"]}
    assert product.folders.check(product.kb).changed == 1
    assert outcome(sync(product)) == {"created": ["z"], "unchanged": 1}


# Looking without touching


@pytest.mark.parametrize("again", [False, True], ids=["before", "after"])
def test_a_check_says_what_a_sync_would_find(product: Product, again: bool) -> None:
    for name in "abc":
        product.write(f"{name}.md", name)
    sync(product)
    product.write("a.md", "changed")
    (product.folder / "b.md").unlink()
    product.write("d.md", "new")
    product.write("e.md.md", "odd name")
    watcher = product.open()
    if again:
        sync(product)
        watcher.changed()
    check = product.folders.check(product.kb)
    assert not watcher.changed()
    assert [problem.path for problem in check.problems] == ["e.md.md"]
    if again:
        assert (check.files, check.changed, check.gone) == (3, 0, 0)
        return
    assert (check.files, check.changed, check.gone) == (3, 2, 1)
    result = sync(product)
    assert len(result.created) + len(result.updated) == check.changed
    assert len(result.deleted) == check.gone
    assert [p.path for p in result.problems] == [p.path for p in check.problems]


def test_progress_is_told_in_batches(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "_BATCH", 2)
    for number in range(5):
        product.write(f"{number}.md", str(number))
    told: list[Sequence[int]] = []
    product.folders.sync(product.kb, progress=lambda *at: told.append(at))
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert len(product.ids()) == 5
