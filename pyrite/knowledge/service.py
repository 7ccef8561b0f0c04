"""Knowledge bases and their entries: every write is a durable file and one transaction.

The order of a write: the new file is made complete on disk under a hidden name, with no lock
held; then, in one transaction, the index is compared with what was read, the file takes its
place, and the entry's index row and queue row are written. A crash before the transaction
leaves a hidden file; one inside it leaves at worst the new file and the old index, which the
next sync puts right. No moment exists in which an entry is indexed but not queued.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.lifecycle import Status
from pyrite.config.settings import Settings
from pyrite.errors import ConflictError, NotFoundError, RevisionError
from pyrite.knowledge.bulk import Creation, create_many
from pyrite.knowledge.filters import check_filters
from pyrite.knowledge.knowledge_bases import KnowledgeBases
from pyrite.markdown.ids import check_id
from pyrite.storage.protocol import EVERYTHING, Storage, Writing
from pyrite.storage.records import INTERACTIVE, FileRow, FileStamp, Filters, StoredEntry
from pyrite.vault.entry_files import (
    Content,
    Draft,
    Edit,
    Editor,
    Verbatim,
    already_there,
    check_size,
    edited,
    new_file,
    writing_to,
)
from pyrite.vault.files import ReadFile, read_file, remove, sync_folder
from pyrite.vault.paths import resolve
from pyrite.vault.prepared_file import PreparedFile, prepare

#: How often a write is tried again when another writer was faster.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write did."""

    kb: str
    id: str
    #: Names the write among all of the database; the entry's present one if nothing changed.
    revision: int
    path: Path
    #: False when the edit said what was there already.
    changed: bool = True
    embedding: Status = Status.PENDING


class KBService(KnowledgeBases):
    """Everything that can be done to knowledge bases and entries."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        wake: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(storage, clock)
        self._settings = settings
        self._wake = wake

    def get_entry(self, kb: str, entry_id: str) -> StoredEntry:
        """One entry.

        Raises:
            NotFoundError: there is none.
        """
        self.kb(kb)
        stored = self._storage.entry(kb, check_id(entry_id))
        if stored is None:
            raise _no_entry(kb, entry_id)
        return stored

    def list_entries(
        self, filters: Filters = EVERYTHING, *, limit: int | None = None, offset: int = 0
    ) -> list[StoredEntry]:
        """Entries by knowledge base and id, without their bodies.

        Raises:
            NotFoundError: there is no knowledge base of such a name.
            InvalidQueryError: a filter cannot be used.
        """
        self.check_filters(filters)
        return self._storage.entries(filters, limit=limit, offset=offset)

    def check_filters(self, filters: Filters) -> None:
        """Refuse filters that no entry could meet.

        Raises:
            NotFoundError: there is no knowledge base of such a name.
            InvalidQueryError: a filter cannot be used.
        """
        check_filters(filters)
        for kb in filters.kbs:
            self.kb(kb)

    def create_entry(self, kb: str, draft: Draft) -> WriteResult:
        """Write a new entry's file, index it and queue it.

        Raises:
            NotFoundError: there is no such knowledge base.
            InvalidEntryError: the id or a field cannot be used.
            ConflictError: an entry or a file is there already.
        """
        root = self.folder(kb)
        new = new_file(root, draft, self._settings.max_file_bytes)
        content = Content.of(new.raw, new.id)
        with writing_to(new.path), prepare(new.path, new.raw, root=root) as prepared:
            with self._storage.writing() as writing:
                if writing.file(kb, new.id) is not None:
                    raise already_there(kb, new.id)
                revision = self._index(writing, kb, new.relative, content, prepared.create())
            prepared.keep()
            prepared.sync_folder()
        return self._written(WriteResult(kb, new.id, revision, new.path))

    def create_entries(self, kb: str, drafts: Sequence[Draft | Verbatim]) -> list[Creation]:
        """Write many new entries, each as :meth:`create_entry` does, and queue them as bulk work.

        Returns:
            What became of each, in order. One that cannot be written keeps no other from it.

        Raises:
            NotFoundError: there is no such knowledge base.
        """
        root = self.folder(kb)
        most = self._settings.max_file_bytes
        creations = create_many(self._storage, kb, root, drafts, most, self._clock)
        self._woken()
        return creations

    def update_entry(
        self, kb: str, entry_id: str, edit: Edit | Editor, *, expected_revision: int | None = None
    ) -> WriteResult:
        """Edit an entry's file, index it and queue it; an edit that changes nothing does neither.

        Args:
            kb: the knowledge base.
            entry_id: the entry.
            edit: what to change, or what says so once the entry has been read.
            expected_revision: refuse if the entry is no longer at this revision.

        Raises:
            NotFoundError: there is no such entry.
            InvalidEntryError: a field cannot be used.
            RevisionError: the entry is at another revision than expected.
            UnreadableFileError: the file as it is cannot be read as an entry.
        """
        root = self.folder(kb)
        entry_id = check_id(entry_id)
        for _ in range(_TRIES):
            relative, read = self._read(kb, root, entry_id)
            path = resolve(root, relative)
            raw = edited(read, edit)
            check_size(raw, self._settings.max_file_bytes)
            content = Content.of(raw, entry_id)
            with writing_to(path), prepare(path, raw, root=root, keep_mode=True) as prepared:
                result = self._replace(kb, read, content, prepared, expected_revision)
            if result is not None:
                return self._written(result) if result.changed else result
        raise ConflictError(f"{entry_id!r} keeps being changed by another writer; try again")

    def delete_entry(self, kb: str, entry_id: str, *, expected_revision: int | None = None) -> None:
        """Delete an entry's file, its index row, its queue row and its chunks.

        Raises:
            NotFoundError: there is no such entry.
            RevisionError: the entry is at another revision than expected, or its file has been
                changed since.
        """
        root = self.folder(kb)
        entry_id = check_id(entry_id)
        with self._storage.writing() as writing:
            row = writing.file(kb, entry_id)
            if row is None:
                raise _no_entry(kb, entry_id)
            _check_revision(entry_id, row[0], expected_revision)
            path = resolve(root, row[1].path)
            if expected_revision is not None:
                self._check_as_indexed(root, row)
            with writing_to(path), suppress(FileNotFoundError):
                remove(root, row[1].path)
            writing.delete(kb, [entry_id], now=self._clock())
        # The folder may have gone with the file, by another hand.
        with writing_to(path), suppress(FileNotFoundError):
            sync_folder(path.parent)
        self._woken()

    def _replace(
        self,
        kb: str,
        read: ReadFile,
        content: Content,
        prepared: PreparedFile,
        expected_revision: int | None,
    ) -> WriteResult | None:
        """Put the edited file in place and index it; None if it is not what was read any more."""
        entry_id, same = content.entry.id, content.digest == read.digest
        with self._storage.writing() as writing:
            row = writing.file(kb, entry_id)
            if row is None:
                raise _no_entry(kb, entry_id)
            revision, file = row
            _check_revision(entry_id, revision, expected_revision)
            if file.path != read.path or prepared.present_stamp() != read.stamp:
                return None
            if same and file.digest == read.digest:
                return self._unchanged(kb, entry_id, revision, prepared.path)
            if expected_revision is not None and file.digest != read.digest:
                raise _changed_outside(entry_id, revision)
            stamp = read.stamp if same else prepared.replace()
            revision = self._index(writing, kb, file.path, content, stamp)
        prepared.keep()
        prepared.sync_folder()
        return WriteResult(kb, entry_id, revision, prepared.path)

    def _unchanged(self, kb: str, entry_id: str, revision: int, path: Path) -> WriteResult:
        stored = self._storage.entry(kb, entry_id)
        embedding = Status.PENDING if stored is None else stored.embedding
        return WriteResult(kb, entry_id, revision, path, changed=False, embedding=embedding)

    def _read(self, kb: str, root: Path, entry_id: str) -> tuple[str, ReadFile]:
        """The entry's file as it is now."""
        stored = self._storage.entry(kb, entry_id)
        if stored is None:
            raise _no_entry(kb, entry_id)
        limit = self._settings.max_file_bytes
        try:
            return stored.path, read_file(root, stored.path, max_bytes=limit)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"the file {stored.path} of {entry_id!r} is gone; `pyrite index sync` takes note",
                public=f"the file of {entry_id!r} is gone; the next sync takes note",
            ) from error

    def _check_as_indexed(self, root: Path, row: tuple[int, FileRow]) -> None:
        """Refuse if a file is not what it was at its entry's revision; gone is no change."""
        revision, file = row
        with suppress(FileNotFoundError):
            read = read_file(root, file.path, max_bytes=self._settings.max_file_bytes)
            if read.digest != file.digest:
                raise _changed_outside(file.entry_id, revision)

    def _index(
        self, writing: Writing, kb: str, path: str, content: Content, stamp: FileStamp
    ) -> int:
        """Write an entry's index row and queue row; returns the new revision."""
        now = self._clock()
        record = content.record(kb, path, stamp, now)
        (revision,) = writing.upsert([record], priority=INTERACTIVE, now=now)
        return revision

    def _written(self, result: WriteResult) -> WriteResult:
        self._woken()
        return result

    def _woken(self) -> None:
        if self._wake is not None:
            self._wake()


def _check_revision(entry_id: str, revision: int, expected: int | None) -> None:
    if expected is not None and revision != expected:
        raise RevisionError(
            f"{entry_id!r} is at revision {revision}, not {expected}: somebody has changed it; "
            "read it again"
        )


def _changed_outside(entry_id: str, revision: int) -> RevisionError:
    message = f"the file of {entry_id!r} was changed outside Pyrite since revision {revision}; "
    return RevisionError(
        f"{message}run `pyrite index sync` and look at it again",
        public=f"{message}sync the knowledge base and look at it again",
    )


def _no_entry(kb: str, entry_id: str) -> NotFoundError:
    message = f"there is no entry {entry_id!r} in {kb!r}"
    return NotFoundError(
        f"{message}; `pyrite list --kb {kb}` shows those there are", public=message
    )
