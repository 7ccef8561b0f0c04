"""Bringing the index in step with a folder: by content, and fast when nothing has changed.

A file whose stat is what it was when it was read is taken as unchanged, unless that stat was
so fresh that a later write could share it; every other file is read, and its hash decides.
The stat includes the time of the inode's last change, which no program can set back.

Reading and parsing happen without a lock. Before a batch is written, under the write lock,
each file's stat is looked at once more: what has changed since it was read, by an editor or
by Pyrite itself, is left to the next look, so that an older text never replaces a newer one.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyrite.config.settings import Settings
from pyrite.errors import UnreadableFileError
from pyrite.markdown.entry import Entry
from pyrite.markdown.links import Link, links_of
from pyrite.storage.protocol import Storage, Writing
from pyrite.storage.records import BULK, INTERACTIVE, FileRow, FileStamp, KnowledgeBase, Record
from pyrite.vault.availability import files_missing
from pyrite.vault.comparison import Comparison, compare
from pyrite.vault.files import ReadFile, read_file, stamp_of
from pyrite.vault.paths import folder_status, linked_folder
from pyrite.vault.prepared_file import sweep
from pyrite.vault.scan import FoundFile

#: Files written in one transaction: long enough to be fast, short enough to let others in.
_BATCH = 200

#: So many files may have been saved by hand; more came by a checkout or a program.
_FEW = 10

#: Comparisons of a folder within one sync, where files change while they are read.
_COMPARISONS = 3

#: A file that a writer prepared this many seconds ago was left behind by a crash.
LEFTOVER_AGE_S = 3600.0

#: Told how many files of how many have been dealt with.
Progress = Callable[[int, int], None]


@dataclass
class SyncResult:
    """What a sync found and did."""

    kb: str
    updated: list[str] = field(default_factory=list)
    unchanged: int = 0
    #: Files that cannot be read; what the index knew of them stays.
    problems: list[UnreadableFileError] = field(default_factory=list)
    #: Entries that came and went, with the hashes of their files.
    came: dict[str, bytes] = field(default_factory=dict)
    gone: dict[str, bytes] = field(default_factory=dict)

    @property
    def renamed(self) -> list[tuple[str, str]]:
        """(old id, new id) wherever a file went and another of the same content came."""
        old: dict[bytes, list[str]] = {}
        for entry_id, digest in self.gone.items():
            old.setdefault(digest, []).append(entry_id)
        return [
            (old[digest].pop(0), entry_id)
            for entry_id, digest in self.came.items()
            if old.get(digest)
        ]

    @property
    def created(self) -> list[str]:
        """Entries that came, other than by a rename."""
        renamed = {new for _, new in self.renamed}
        return [entry_id for entry_id in self.came if entry_id not in renamed]

    @property
    def deleted(self) -> list[str]:
        """Entries that went, other than by a rename."""
        renamed = {old for old, _ in self.renamed}
        return [entry_id for entry_id in self.gone if entry_id not in renamed]


@dataclass(frozen=True, slots=True)
class _Read:
    """A file's content as an entry, and when it was read."""

    entry_id: str
    read: ReadFile
    at: float
    entry: Entry
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """How an index and its folder differ."""

    files: int
    #: Files that are new or have changed.
    changed: int
    #: Entries whose file is gone.
    gone: int
    problems: list[UnreadableFileError]


class FolderSync:
    """Syncs knowledge bases with their folders."""

    def __init__(
        self, storage: Storage, settings: Settings, clock: Callable[[], float] = time.time
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._clock = clock

    def check(self, kb: KnowledgeBase) -> FolderCheck:
        """How index and folder differ; nothing is written, and only what has to be is read.

        Raises:
            FolderMissingError: the folder is not there, or nearly all its files are not.
        """
        kb = self._present(kb)
        diff = compare(kb, self._storage.files(kb.name))
        if reason := diff.missing_files(kb, self._settings.max_file_bytes):
            raise files_missing(kb, reason)
        changed = 0
        for file in diff.changed:
            row, read = diff.known.get(file.id), self._read(diff, file)
            changed += read is not None and (row is None or row.digest != read.read.digest)
        return FolderCheck(len(diff.found), changed, len(diff.gone), diff.problems)

    def sync(
        self,
        kb: KnowledgeBase,
        *,
        full: bool = False,
        attended: bool = False,
        accept_deletions: bool = False,
        progress: Progress | None = None,
    ) -> SyncResult:
        """Bring the index in step with the folder.

        Args:
            kb: the knowledge base.
            full: read every file, whatever its stat says.
            attended: somebody has just saved what is new, and waits for it: if it is a few files,
                they are embedded before what came in bulk.
            accept_deletions: files that are gone were deleted, however many they are.
            progress: told of each batch.

        Raises:
            FolderMissingError: the folder is not there, or nearly all its files are not; nothing
                is taken for deleted, and nothing written but that the files are missing.
        """
        kb, most = self._present(kb), self._settings.max_file_bytes
        result = SyncResult(kb.name)
        for attempt in range(_COMPARISONS):
            diff = compare(kb, self._storage.files(kb.name), full=full and not attempt)
            if not accept_deletions and (reason := diff.missing_files(kb, most)):
                self._note(kb, kb.device, reason)
                raise files_missing(kb, reason)
            priority = INTERACTIVE if attended and len(diff.changed) <= _FEW else BULK
            steady = self._bring_in_step(kb, diff, result, priority, progress)
            sweep(diff.root, diff.leftovers, LEFTOVER_AGE_S)
            result.problems = diff.problems
            if steady:
                break
        self._note(kb, diff.device, None)
        handled = {*result.came, *result.updated}
        bad = {problem.path for problem in result.problems}
        result.unchanged = sum(
            file.id not in handled and file.path not in bad for file in diff.found.values()
        )
        return result

    def _present(self, kb: KnowledgeBase) -> KnowledgeBase:
        """The knowledge base with its state as it is now."""
        found = (each for each in self._storage.kbs() if each.name == kb.name)
        return next((each for each in found if each.path == kb.path), kb)

    def _note(self, kb: KnowledgeBase, device: int | None, unavailable: str | None) -> None:
        if (kb.device, kb.unavailable) != (device, unavailable):
            self._storage.set_availability(kb.name, device=device, unavailable=unavailable)

    def _bring_in_step(
        self,
        kb: KnowledgeBase,
        diff: Comparison,
        result: SyncResult,
        priority: int,
        progress: Progress | None,
    ) -> bool:
        """Write what changed in batches, then delete what went; whether all held still."""
        steady = True
        for start in range(0, len(diff.changed), _BATCH):
            batch = diff.changed[start : start + _BATCH]
            known_problems = len(diff.problems)
            read = [each for file in batch if (each := self._read(diff, file)) is not None]
            steady &= len(read) + len(diff.problems) - known_problems == len(batch)
            with self._storage.writing() as writing:
                steady &= self._write(kb.name, diff.root, read, writing, result, priority)
            if progress is not None:
                progress(start + len(batch), len(diff.changed))
        if diff.gone:
            # If the disk went while its files were looked for, they are not gone.
            status = folder_status(diff.root)
            if status is None or status.st_dev != diff.device:
                return False
            with self._storage.writing() as writing:
                gone = [i for i in diff.gone if not _is_there(diff.root, diff.known[i].path)]
                writing.delete(kb.name, gone, now=self._clock())
            result.gone.update((entry_id, diff.known[entry_id].digest) for entry_id in gone)
        return steady

    def _read(self, diff: Comparison, file: FoundFile) -> _Read | None:
        """The file's content; None if it cannot be read, which is noted, or has just gone."""
        try:
            read = read_file(diff.root, file.path, max_bytes=self._settings.max_file_bytes)
            at, entry = self._clock(), read.entry()
            return _Read(file.id, read, at, entry, links_of(entry.body))
        except FileNotFoundError:
            return None
        except UnreadableFileError as problem:
            diff.problems.append(problem)
            return None

    def _write(
        self,
        kb: str,
        root: Path,
        files: Sequence[_Read],
        writing: Writing,
        result: SyncResult,
        priority: int,
    ) -> bool:
        """Index one batch under the write lock; whether all files were still as read."""
        records: list[Record] = []
        touched: list[FileRow] = []
        steady = True
        for file in files:
            if not _is_still(root / file.read.path, file.read.stamp):
                steady = False
                continue
            read = file.read
            row = FileRow.read_at(file.at, file.entry_id, read.path, read.digest, read.stamp)
            present = writing.file(kb, file.entry_id)
            known = None if present is None else (present[1].digest, present[1].path)
            if known == (row.digest, row.path):
                touched.append(row)
                continue
            records.append(Record(kb, file.entry, row, file.links))
            if present is None or file.entry_id in result.came:
                result.came[file.entry_id] = row.digest
            elif file.entry_id not in result.updated:
                result.updated.append(file.entry_id)
        writing.restamp(kb, touched)
        writing.upsert(records, priority=priority, now=self._clock())
        return steady


def _is_there(root: Path, relative: str) -> bool:
    """Whether the path is still a file of the folder, and not by way of a link."""
    try:
        status = (root / relative).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(status.st_mode) and linked_folder(str(root), relative) is None


def _is_still(path: Path, stamp: FileStamp) -> bool:
    try:
        return stamp_of(path) == stamp
    except FileNotFoundError:
        return False
