"""Bulk creation of entries: as durable as one at a time, with far fewer transactions.

The files of a batch are made complete on disk first, under hidden names and with no lock held;
then one transaction gives them their places and indexes and queues them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pyrite.errors import ConflictError, InvalidEntryError, PyriteError, WriteError
from pyrite.storage.protocol import Storage
from pyrite.storage.records import BULK, Record
from pyrite.vault.entry_files import (
    Content,
    Draft,
    NewFile,
    Verbatim,
    already_there,
    new_file,
    writing_to,
)
from pyrite.vault.files import sync_folder
from pyrite.vault.prepared_file import PreparedFile, prepare

#: Entries written in one transaction. Each holds a file and its folder open until then, of which
#: a process may commonly have a thousand; and others want to write in between.
_BATCH = 100


class BulkStatus(StrEnum):
    """What became of a new entry among many."""

    CREATED = "created"
    #: An entry or a file is there already.
    EXISTS = "exists"
    #: It cannot be an entry.
    INVALID = "invalid"
    #: Its file could not be written.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Creation:
    """What became of one of many new entries."""

    status: BulkStatus
    #: None where none could be made.
    id: str | None
    revision: int | None = None
    #: Why it was not created.
    error: PyriteError | None = None


def create_many(
    storage: Storage,
    kb: str,
    root: Path,
    drafts: Sequence[Draft | Verbatim],
    max_bytes: int,
    clock: Callable[[], float],
) -> list[Creation]:
    """Write new entries, index them and queue them as bulk work.

    Returns:
        What became of each, in order.
    """
    creations: list[Creation] = []
    for start in range(0, len(drafts), _BATCH):
        batch = drafts[start : start + _BATCH]
        creations += _Batch(storage, kb, root, max_bytes, clock).create(batch)
    return creations


class _Batch:
    """The entries of one transaction."""

    def __init__(
        self, storage: Storage, kb: str, root: Path, max_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._kb = kb
        self._root = root
        self._max_bytes = max_bytes
        self._clock = clock
        #: What is certain already, and what waits to be put in place, by the drafts' numbers.
        self._certain: dict[int, Creation] = {}
        self._waiting: dict[int, tuple[NewFile, Content, PreparedFile]] = {}

    def create(self, drafts: Sequence[Draft | Verbatim]) -> list[Creation]:
        """Create the entries; returns what became of each."""
        with ExitStack() as files:
            for number, draft in enumerate(drafts):
                self._prepare(number, draft, files)
            records = self._index()
        folders = {self._waiting[number][0].path.parent for number in records}
        for folder in folders:
            # It may have gone since, by another hand.
            with writing_to(folder), suppress(FileNotFoundError):
                sync_folder(folder)
        return [self._certain[number] for number in range(len(drafts))]

    def _prepare(self, number: int, draft: Draft | Verbatim, files: ExitStack) -> None:
        """Write an entry's file under a hidden name, if it can be one."""
        with self._noting_failure(number, draft.id):
            new = new_file(self._root, draft, self._max_bytes)
            with writing_to(new.path):
                prepared = files.enter_context(prepare(new.path, new.raw, root=self._root))
            self._waiting[number] = new, Content.of(new.raw, new.id), prepared

    def _index(self) -> dict[int, Record]:
        """Put the files in their places, index and queue them; returns those that are new."""
        records: dict[int, Record] = {}
        now = self._clock()
        with self._storage.writing() as writing:
            for number, (new, content, prepared) in self._waiting.items():
                with self._noting_failure(number, new.id):
                    if writing.file(self._kb, new.id) is not None:
                        raise already_there(self._kb, new.id)
                    with writing_to(new.path):
                        stamp = prepared.create()
                    records[number] = content.record(self._kb, new.relative, stamp, now)
            revisions = writing.upsert(list(records.values()), priority=BULK, now=now)
        for number, revision in zip(records, revisions, strict=True):
            self._waiting[number][2].keep()
            self._certain[number] = Creation(BulkStatus.CREATED, records[number].entry.id, revision)
        return records

    @contextmanager
    def _noting_failure(self, number: int, entry_id: str | None) -> Iterator[None]:
        """Note why an entry was not created; the others go on."""
        try:
            yield
        except tuple(_STATUSES) as error:
            status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
            self._certain[number] = Creation(status, entry_id, error=error)


#: What each error comes to.
_STATUSES: dict[type[PyriteError], BulkStatus] = {
    ConflictError: BulkStatus.EXISTS,
    InvalidEntryError: BulkStatus.INVALID,
    WriteError: BulkStatus.FAILED,
}
