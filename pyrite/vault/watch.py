"""Following folders as they change: what any editor saves is indexed within a moment.

The system tells which paths changed; paths that change together come together, so that a
checkout of a thousand files is one sync. What is told are hints and nothing more: a sync
compares the folder with the index, whatever was told. Most hints are of this program's own
writes, and are recognised by the index having that very content; they cost no sync.

A knowledge base that is registered meanwhile is followed too, and one whose folder is not there
as soon as it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
from watchfiles import Change, awatch, watch
from watchfiles._rust_notify import WatchfilesRustInternalError

from actors.pipeline import cause
from actors.retry import StorageRetry
from pyrite.errors import FolderMissingError, UnreadableFileError
from pyrite.markdown.ids import entry_id, is_entry_file
from pyrite.storage.protocol import Storage
from pyrite.storage.records import KnowledgeBase
from pyrite.vault.files import read_file
from pyrite.vault.paths import folder_status
from pyrite.vault.sync import FolderSync, SyncResult

_log = logging.getLogger("pyrite.folders")

#: Paths that change within this of one another come together, for so long at most; in ms. The
#: watch looks as often as that whether there is anything, so a server to which nothing happens
#: wakes for it: with 50 ms, twenty times a second.
_QUIET_MS = 250
_MOST_MS = 1_600

#: How often the knowledge bases there are, and their folders, are looked at, in seconds.
_LOOK_S = 1.0

#: Where the system cannot tell, folders are read this often, in ms.
_READ_MS = 2_000

Hint = tuple[Change, str]


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder as it is; another one in its place has another number."""

    name: str
    path: str
    device: int
    inode: int
    kb: KnowledgeBase = field(compare=False)


class FolderWatch:
    """Keeps knowledge bases in step with their folders."""

    def __init__(
        self,
        storage: Storage,
        sync: FolderSync,
        *,
        kb: str | None = None,
        synced: Callable[[SyncResult], None] = lambda _: None,
        retry: StorageRetry | None = None,
        max_bytes: int,
    ) -> None:
        """Make one that does not watch yet.

        Args:
            storage: where the index is.
            sync: brings a knowledge base in step.
            kb: only this knowledge base.
            synced: is told of each sync, on the Trio thread.
            retry: what is done while the database is unavailable.
            max_bytes: larger files are no entries.
        """
        self._storage = storage
        self._sync = sync
        self._kb = kb
        self._synced = synced
        self._retry = retry or StorageRetry(_log.warning)
        self._max_bytes = max_bytes
        #: Why the files of knowledge bases cannot be reached, by their names.
        self._missing: dict[str, str] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the folders until cancelled; started once the first hints can come."""
        folders = await self._look()
        came: set[_Folder] = set()
        while True:
            async with trio.open_nursery() as nursery:
                if folders:
                    nursery.start_soon(self._follow, {each.path: each.kb for each in folders})
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                # What came meanwhile, or came back, may hold anything.
                for each in came:
                    await self._bring_in_step(each.kb, [])
                before, folders = folders, await self._changed_folders(folders)
                came = folders - before
                nursery.cancel_scope.cancel()

    async def _changed_folders(self, folders: set[_Folder]) -> set[_Folder]:
        """Wait until the folders to follow are others than these, and return them."""
        while True:
            await trio.sleep(_LOOK_S)
            found = await self._look()
            if found != folders:
                return found

    async def _look(self) -> set[_Folder]:
        return await self._retry(partial(trio.to_thread.run_sync, self._present_folders))

    def _present_folders(self) -> set[_Folder]:
        """The folders to follow that are there."""
        found: set[_Folder] = set()
        for kb in self._storage.kbs():
            if self._kb in {None, kb.name}:
                status = folder_status(Path(kb.path))
                if status is None:
                    self._tell_missing(kb, f"the folder {kb.path} is not there")
                else:
                    found.add(_Folder(kb.name, kb.path, status.st_dev, status.st_ino, kb))
        return found

    async def _follow(self, kbs: Mapping[str, KnowledgeBase]) -> None:
        """Follow these folders by what the system tells, or by reading them again and again."""
        while True:
            error = await self._watch(kbs, polling=False)
            if not isinstance(error, FileNotFoundError):
                _log.warning(
                    "the system cannot watch the folders (%s); they are read every %g s instead. "
                    "On Linux, fs.inotify.max_user_watches may be too low",
                    *(error, _READ_MS / 1000),
                )
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._catch_up, kbs)
                    await self._watch(kbs, polling=True)
                    nursery.cancel_scope.cancel()
            # A folder has just gone, which is noticed by :meth:`_changed_folders`.
            await trio.sleep(_LOOK_S)

    async def _catch_up(self, kbs: Mapping[str, KnowledgeBase]) -> None:
        """Sync what was saved after the system's last hint, and before the first reading."""
        await trio.sleep(_READ_MS / 1000)
        for kb in kbs.values():
            await self._bring_in_step(kb, [])

    async def _watch(self, kbs: Mapping[str, KnowledgeBase], *, polling: bool) -> BaseException:
        """Bring folders in step as they change, for as long as that can be told; why it ended."""
        stop = trio.Event()
        hints = awatch(
            *kbs,
            watch_filter=None,
            debounce=_MOST_MS,
            step=_QUIET_MS,
            stop_event=stop,
            force_polling=polling,
            poll_delay_ms=_READ_MS,
            # It ignores every error, and what comes after it is not watched. Reading again and
            # again has no other way to pass over one folder that may not be read.
            ignore_permission_denied=polling,
        )
        error: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_when_cancelled, stop)
            async with aclosing(hints):
                while error is None:
                    batch: set[Hint] | None = set()
                    told: dict[str, list[Hint]] = {}
                    try:
                        batch = await anext(hints, None)
                        told = by_folder(batch or (), kbs)
                        if not polling:
                            await trio.to_thread.run_sync(_check_watched, tuple(told.values()))
                    # What fails while it is waited for comes in a group, or in a group of groups.
                    except* (OSError, WatchfilesRustInternalError) as group:
                        error = cause(group)
                    if batch is None:
                        # It ends by itself only once this is cancelled.
                        await trio.sleep_forever()
                    for path, of_kb in told.items():
                        await self._bring_in_step(kbs[path], of_kb)
            nursery.cancel_scope.cancel()
        return error

    async def _bring_in_step(self, kb: KnowledgeBase, hints: Iterable[Hint]) -> None:
        """Sync, unless every hint is of what the index knows; without hints, do."""
        told = tuple(hints)
        result = await self._retry(partial(trio.to_thread.run_sync, self._sync_if_news, kb, told))
        if result is not None:
            self._synced(result)

    def _sync_if_news(self, kb: KnowledgeBase, hints: tuple[Hint, ...]) -> SyncResult | None:
        # Of files that come back, the index knows the content; that they are back is news.
        asked_for = not hints or self._is_unavailable(kb)
        if not asked_for and not any(self._is_news(kb, change, path) for change, path in hints):
            return None
        try:
            result = self._sync.sync(kb, attended=True)
        except FolderMissingError as error:
            self._tell_missing(kb, str(error))
            return None
        if self._missing.pop(kb.name, None):
            _log.info("the files of the knowledge base %r are back", kb.name)
        return result

    def _is_unavailable(self, kb: KnowledgeBase) -> bool:
        """Whether this or another process has found its files missing."""
        marked = (each.unavailable for each in self._storage.kbs() if each.name == kb.name)
        return kb.name in self._missing or any(marked)

    def _tell_missing(self, kb: KnowledgeBase, reason: str) -> None:
        """Log once that files cannot be reached; they are looked for whenever something comes."""
        if self._missing.get(kb.name) != reason:
            self._missing[kb.name] = reason
            _log.warning("%s", reason)

    def _is_news(self, kb: KnowledgeBase, change: Change, path: str) -> bool:
        """Whether there is something about a path that the index does not know."""
        relative = Path(path).relative_to(kb.path).as_posix()
        if not is_entry_file(relative):
            # A folder that came brought its files along, and one that went took them.
            return change is not Change.modified and (not Path(path).exists() or is_folder(path))
        stored = self._storage.entry(kb.name, entry_id(relative))
        known = None if stored is None or stored.path != relative else stored.digest
        try:
            return read_file(Path(kb.path), relative, max_bytes=self._max_bytes).digest != known
        except FileNotFoundError:
            return known is not None
        except UnreadableFileError:
            return True


def _check_watched(told: Iterable[Iterable[Hint]]) -> None:
    """Raise what keeps the system from watching folders that have just come.

    Where its watches run out, a folder that comes later is silently not watched; one more look
    at it fails as the first look at all of them would have.
    """
    added = (path for hints in told for change, path in hints if change is Change.added)
    if came := [path for path in added if is_folder(path)]:
        at_once = threading.Event()
        at_once.set()
        with suppress(FileNotFoundError, PermissionError):
            for _ in watch(*came, stop_event=at_once, step=1, force_polling=False):
                break


async def _set_when_cancelled(event: trio.Event) -> None:
    # The watching thread cannot be cancelled, but looks at this.
    try:
        await trio.sleep_forever()
    finally:
        event.set()


def is_folder(path: str) -> bool:
    """Whether the path is a folder, not by way of a link."""
    return Path(path).is_dir() and not Path(path).is_symlink()


def by_folder(hints: Iterable[Hint], folders: Iterable[str]) -> dict[str, list[Hint]]:
    """The hints by the innermost folder that they are in; those of hidden paths are left out."""
    innermost_first = sorted(folders, key=len, reverse=True)
    found: dict[str, list[Hint]] = {}
    for change, path in hints:
        folder = next((each for each in innermost_first if path.startswith(f"{each}/")), None)
        if folder is not None and "/." not in path[len(folder) :]:
            found.setdefault(folder, []).append((change, path))
    return found
