"""Folders that are followed: what is saved is indexed, once, and what Pyrite wrote is no news."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from watchfiles import Change, awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from actors.lifecycle import Status
from pyrite.errors import FilesMissingError
from pyrite.server.process import ServerProcess
from pyrite.storage.records import BULK, INTERACTIVE
from pyrite.vault import watch as watch_module
from pyrite.vault.entry_files import Draft
from pyrite.vault.sync import SyncResult
from pyrite.vault.watch import FolderWatch, by_folder
from tests.integration.hands import KB, LONG, Product


class Following:
    """A watch that runs, and what it did."""

    def __init__(self, product: Product, kb: str | None = None) -> None:
        self.send, self.results = trio.open_memory_channel[SyncResult](1000)
        self.watch = FolderWatch(
            *(product.storage, product.folders),
            kb=kb,
            synced=self.send.send_nowait,
            max_bytes=product.settings.max_file_bytes,
        )

    async def until(self, *ids: str, what: str = "created") -> list[SyncResult]:
        """The syncs that tell of these entries, and of no others."""
        seen: list[SyncResult] = []
        found: set[str] = set()
        while not found >= set(ids):
            result = await self.results.receive()
            told = set(getattr(result, what)) - {"first"}.difference(ids)
            seen += [result] if told else []
            found |= told
        assert found == set(ids)
        return seen


@asynccontextmanager
async def following(product: Product, kb: str | None = None) -> AsyncIterator[Following]:
    made = Following(product, kb)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await nursery.start(made.watch.run)
            # It listens once it tells of something, however many hints that takes.
            listening = False
            while not listening:
                product.write("first.md", str(trio.current_time()))
                with trio.move_on_after(0.1):
                    await made.until("first")
                    listening = True
            yield made
            nursery.cancel_scope.cancel()


def priorities(product: Product) -> dict[str, int]:
    with product.storage._db.read() as conn:
        return dict(conn.execute("SELECT entry_id, priority FROM embed_queue"))


async def test_what_is_saved_changed_moved_and_deleted_is_told(product: Product) -> None:
    async with following(product) as watch:
        product.write("a.md", "one")
        await watch.until("a")
        product.write("a.md", "two")
        await watch.until("a", what="updated")
        (product.folder / "a.md").rename(product.folder / "b.md")
        (result, *_) = await watch.until(("a", "b"), what="renamed")
        assert not result.created
        assert not result.deleted
        (product.folder / "b.md").unlink()
        await watch.until("b", what="deleted")
    assert set(product.storage.files(KB)) == {"first"}


async def test_a_folder_that_comes_or_goes_takes_its_files_along(
    product: Product, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.md").write_text("x")
    async with following(product) as watch:
        shutil.move(outside, product.folder / "sub")
        await watch.until("sub/x")
        shutil.move(product.folder / "sub", outside)
        await watch.until("sub/x", what="deleted")


async def test_a_few_files_go_before_the_bulk_and_many_do_not(product: Product) -> None:
    async with following(product) as watch:
        product.write("few.md")
        await watch.until("few")
        many = [f"many-{number}" for number in range(300)]
        staged = product.home / "staged"
        staged.mkdir()
        for name in many:
            (staged / f"{name}.md").write_text(name)
        staged.rename(product.folder / "many")
        syncs = await watch.until(*(f"many/{name}" for name in many))
        assert len(syncs) == 1
    found = priorities(product)
    assert found["few"] == INTERACTIVE
    assert {found[f"many/{name}"] for name in many} == {BULK}


async def test_what_pyrite_wrote_itself_is_no_news(product: Product) -> None:
    watch = Following(product).watch
    written = product.kbs.create_entry(KB, Draft("Own", body="text"))
    path = str(written.path)
    assert watch._sync_if_news(product.kb, ((Change.added, path),)) is None
    written.path.write_text("edited")
    result = watch._sync_if_news(product.kb, ((Change.modified, path),))
    assert result is not None
    assert result.updated == ["own"]
    product.kbs.delete_entry(KB, "own")
    assert watch._sync_if_news(product.kb, ((Change.deleted, path),)) is None


@pytest.mark.parametrize(
    ("change", "name", "news"),
    [
        (Change.added, "new.md", True),
        (Change.modified, "known.md", False),
        (Change.modified, "other.md", True),
        (Change.deleted, "gone.md", True),
        (Change.deleted, "never.md", False),
        (Change.modified, "too-large.md", True),
        (Change.modified, "folder", False),
        (Change.added, "folder", True),
        (Change.deleted, "folder-that-went", True),
        (Change.added, "picture.png", False),
    ],
)
def test_what_is_news(product: Product, change: Change, name: str, news: bool) -> None:
    for each in ("known.md", "other.md", "gone.md"):
        product.write(each)
    product.folders.sync(product.kb)
    product.write("other.md", "another text")
    (product.folder / "gone.md").unlink()
    product.write("new.md")
    product.write("too-large.md", "x" * 11)
    product.write("picture.png")
    (product.folder / "folder").mkdir()
    watch = FolderWatch(product.storage, product.folders, max_bytes=10)
    watch._max_bytes = 12 if name in {"known.md", "other.md"} else 10
    assert watch._is_news(product.kb, change, str(product.folder / name)) is news


def test_hints_go_to_the_innermost_folder_and_hidden_ones_nowhere() -> None:
    hints = [
        (Change.added, path)
        for path in ("/a/x.md", "/a/b/y.md", "/a/.git/z", "/a/b/.hidden.md", "/ab/x.md", "/a")
    ]
    assert by_folder(hints, ["/a", "/a/b"]) == {
        "/a": [(Change.added, "/a/x.md")],
        "/a/b": [(Change.added, "/a/b/y.md")],
    }


async def test_a_knowledge_base_registered_meanwhile_is_followed(
    product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_LOOK_S", 0.01)
    more = tmp_path / "more"
    more.mkdir()
    (more / "old.md").write_text("old")
    async with following(product) as watch:
        product.kbs.add_kb("more", more)
        await watch.until("old")
        # Another folder in its place is followed as well.
        more.rename(tmp_path / "away")
        shutil.copytree(product.folder, more)
        (more / "old.md").write_text("old")
        await watch.until("first")
        (more / "new.md").write_text("new")
        await watch.until("new")


async def test_one_of_several_can_be_followed_alone(product: Product, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    product.kbs.add_kb("more", more)
    async with following(product, KB) as watch:
        (more / "x.md").write_text("x")
        product.write("y.md")
        await watch.until("y")
    assert product.storage.files("more") == {}


def failing_at_once(error: Exception) -> Callable[..., AsyncGenerator[set[tuple[Change, str]]]]:
    """The system's watch, as it fails when it is begun: once the first hints are asked for."""

    async def failing(*paths: str, force_polling: bool, ignore_permission_denied: bool, **given):
        if not (force_polling or ignore_permission_denied):
            raise error
        async for batch in awatch(*paths, force_polling=True, **given):
            yield batch

    return failing


def failing_later(error: Exception) -> Callable[..., AsyncGenerator[set[tuple[Change, str]]]]:
    """The system's watch, as it fails while it runs: in a thread that a task group waits for."""
    failures = count()

    async def failing(*paths: str, force_polling: bool, **given):
        if not force_polling and not next(failures):
            async with trio.open_nursery():
                await trio.lowlevel.checkpoint()
                raise error
        async for batch in awatch(*paths, force_polling=True, **given):
            yield batch

    return failing


@pytest.mark.parametrize(
    "failing",
    [
        failing_at_once(OSError('OS file watch limit reached. about ["/a/b"]')),
        failing_at_once(WatchfilesRustInternalError("Error creating recommended watcher")),
        failing_at_once(PermissionError('Permission denied (os error 13) about ["/a/b"]')),
        failing_later(WatchfilesRustInternalError("error in underlying watcher")),
    ],
    ids=["no watches left", "no instances left", "a closed folder", "later"],
)
async def test_where_the_system_cannot_tell_folders_are_read(
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failing: object,
) -> None:
    monkeypatch.setattr(watch_module, "awatch", failing)
    monkeypatch.setattr(watch_module, "_READ_MS", 10)
    async with following(product) as watch:
        product.write("a.md")
        await watch.until("a")
    assert "fs.inotify.max_user_watches" in caplog.text


async def test_a_new_folder_that_the_system_cannot_watch_is_read(
    product: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked_at: list[str] = []

    def limited(*paths: str, **_: object) -> Iterator[set[tuple[Change, str]]]:
        looked_at.extend(paths)
        raise OSError('OS file watch limit reached. about ["/a/b"]')
        yield set()

    monkeypatch.setattr(watch_module, "watch", limited)
    monkeypatch.setattr(watch_module, "_READ_MS", 10)
    async with following(product) as watch:
        assert looked_at == []
        product.write("sub/a.md")
        await watch.until("sub/a")
        product.write("sub/b.md")
        await watch.until("sub/b")
    assert looked_at == [str(product.folder / "sub")]
    assert "watch limit reached" in caplog.text


async def test_a_folder_that_goes_as_it_is_to_be_watched_is_followed_when_it_is_back(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_LOOK_S", 0.01)
    gone = iter([True, True, False])

    async def missing(*paths: str, **given):
        if next(gone, False):
            raise FileNotFoundError("No such file or directory (os error 2)")
        async for batch in awatch(*paths, **given):
            yield batch

    monkeypatch.setattr(watch_module, "awatch", missing)
    async with following(product) as watch:
        product.write("a.md")
        await watch.until("a")


async def until(condition: Callable[[], object]) -> None:
    """Wait for what threads do, of which nobody is told."""
    while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads
        await trio.sleep(0.01)


async def test_a_folder_that_is_emptied_is_kept_and_followed_when_its_files_are_back(
    product: Product, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pyrite.folders")
    async with following(product) as watch:
        product.write("a.md", "a")
        await watch.until("a")
        away = tmp_path / "away"
        away.mkdir()
        for name in ("a.md", "first.md"):
            (product.folder / name).rename(away / name)
        await until(lambda: product.kbs.kb(KB).unavailable)
        assert product.ids() == ["a", "first"]
        for name in ("first.md", "a.md"):
            (away / name).rename(product.folder / name)
        await until(lambda: not product.kbs.kb(KB).unavailable)
        product.write("b.md", "b")
        await watch.until("b")
    (warning, *_) = (each for each in caplog.messages if "is unavailable" in each)
    assert "files are gone" in warning
    assert "the files of the knowledge base 'notes' are back" in caplog.messages


async def test_that_files_are_back_is_news_whoever_found_them_missing(product: Product) -> None:
    path = product.write("a.md", "a")
    product.folders.sync(product.kb)
    path.unlink()
    with pytest.raises(FilesMissingError):
        product.folders.sync(product.kb)
    product.write("a.md", "a")
    watch = Following(product).watch
    hints = ((Change.added, str(path)),)
    assert watch._sync_if_news(product.kb, hints) is not None
    assert product.kbs.kb(KB).unavailable is None
    assert watch._sync_if_news(product.kb, hints) is None


async def test_an_unmounted_folder_is_kept_and_said_once(
    product: Product,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "pyrite.folders")
    monkeypatch.setattr(watch_module, "_LOOK_S", 0.01)
    async with following(product) as watch:
        product.write("a.md", "a")
        await watch.until("a")
        product.folder.rename(tmp_path / "away")
        await until(lambda: caplog.messages)
        product.folder.mkdir()
        await until(lambda: product.kbs.kb(KB).unavailable)
        product.folder.rmdir()
        (tmp_path / "away").rename(product.folder)
        await until(lambda: not product.kbs.kb(KB).unavailable)
        assert product.ids() == ["a", "first"]
    assert caplog.messages.count(f"the folder {product.folder} is not there") in {1, 2}


async def test_the_server_embeds_what_an_editor_saves(product: Product) -> None:
    node = ServerProcess(product.services())
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            with node.feed.subscribe() as subscription:
                product.write("saved.md", "text")
                seen: set[str] = set()
                while "embed_complete" not in seen:
                    taken = await subscription.take()
                    seen |= {message.type for message in taken if message.seq is not None}
            node.stop()
    assert product.entry("saved").embedding is Status.DONE


@pytest.mark.process
def test_the_command_follows_until_ctrl_c(product: Product) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.launcher", "index", "watch", "--json"],
        env={**os.environ, "PYRITE_HOME": str(product.settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert json.loads(process.stdout.readline())["created"] == []
        assert "following" in process.stderr.readline()
        product.write("saved.md", "text")
        assert json.loads(process.stdout.readline())["created"] == ["saved"]
        while product.entry("saved").embedding is not Status.DONE:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 128 + signal.SIGINT
    assert product.storage.leader() is None
