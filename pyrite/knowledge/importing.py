"""Import of collections that were made elsewhere.

Entries are written in batches, each durable before the next one begins, and what is there
already in the same words is passed over: an import that was broken off goes on when it is
started again, and one that is started twice does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path

from pyrite.errors import ConflictError, InvalidEntryError, PyriteError, UnreadableFileError
from pyrite.knowledge.bulk import BulkStatus
from pyrite.knowledge.import_sources import Incoming, Source
from pyrite.knowledge.replacing import replacing
from pyrite.knowledge.service import KBService
from pyrite.markdown.entry import Entry
from pyrite.storage.protocol import Storage
from pyrite.vault.entry_files import Draft, Edit, Verbatim
from pyrite.vault.sync import FolderSync

#: Entries looked at together, and written in one transaction.
_BATCH = 100

#: Entries that a message names.
_NAMED = 5

#: Told how many of how many have been dealt with.
Progress = Callable[[int, int], None]


class OnConflict(StrEnum):
    """What is to become of an entry that is there already, in other words."""

    SKIP = "skip"
    REPLACE = "replace"
    FAIL = "fail"


@dataclass
class ImportResult:
    """What an import did, or would do."""

    created: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    #: There already, in the same words.
    unchanged: int = 0
    #: There already, in other words, and left as they are.
    skipped: list[str] = field(default_factory=list)
    problems: list[UnreadableFileError] = field(default_factory=list)
    #: What of the source is no entry, by what it is.
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def written(self) -> int:
        """How many entries were written."""
        return len(self.created) + len(self.replaced)


class Importer:
    """An import of one collection into one knowledge base."""

    def __init__(
        self, storage: Storage, kbs: KBService, sync: FolderSync, kb: str, on_conflict: OnConflict
    ) -> None:
        self._storage = storage
        self._kbs = kbs
        self._sync = sync
        self._kb = kb
        self._on_conflict = on_conflict
        self.result = ImportResult()
        #: Entries that have been written so far, whatever breaks it off.
        self.durable = 0
        #: Which part of the source each id is from.
        self._seen: dict[str, str] = {}

    def run(self, source: Source, *, dry_run: bool = False, progress: Progress) -> ImportResult:
        """Import the collection.

        Args:
            source: the collection.
            dry_run: write nothing, and say what would be done.
            progress: told how far it is.

        Raises:
            NotFoundError: there is no such knowledge base, or its folder is not there.
            ConflictError: something is there already that differs, and that is to be an error;
                nothing has been written.
        """
        kb = self._kbs.kb(self._kb)
        self._kbs.folder(self._kb)
        if not dry_run:
            # What a crash, or another program, has left in the folder is known from here on.
            self._sync.sync(kb)
        if self._on_conflict is OnConflict.FAIL:
            self._pass(source, progress, write=False)
            self._refuse_conflicts()
            if not dry_run:
                self._begin_again()
        if self._on_conflict is not OnConflict.FAIL or not dry_run:
            self._pass(source, progress, write=not dry_run)
        return self.result

    def _begin_again(self) -> None:
        self.result, self._seen = ImportResult(), {}

    def _refuse_conflicts(self) -> None:
        conflicts = self.result.skipped
        if conflicts:
            others = len(conflicts) - _NAMED
            raise ConflictError(
                f"nothing was imported: {self._kb!r} has these already, in other words: "
                f"{', '.join(conflicts[:_NAMED])}{f' and {others:,} more' if others > 0 else ''}; "
                "see --on-conflict"
            )

    def _pass(self, source: Source, progress: Progress, *, write: bool) -> None:
        total, done = source.total, 0
        found = source.read()
        while batch := list(islice(found, _BATCH)):
            self._import_batch(batch, write=write)
            done += len(batch)
            progress(done, max(total, done))
        self.result.ignored = dict(source.ignored)

    def _import_batch(self, batch: list[Incoming | UnreadableFileError], *, write: bool) -> None:
        """Import a batch of the source."""
        new: list[Incoming] = []
        for each in batch:
            if isinstance(each, UnreadableFileError):
                self.result.problems.append(each)
            elif (where := self._seen.get(each.entry.id)) is not None:
                self._problem(each, f"it has the same id, {each.entry.id!r}, as {where}")
            else:
                self._seen[each.entry.id] = each.path if each.line is None else f"line {each.line}"
                self._sort(each, new, write=write)
        if write:
            self._create(new)
        else:
            self.result.created += [each.entry.id for each in new]

    def _sort(self, each: Incoming, new: list[Incoming], *, write: bool) -> None:
        stored = self._storage.entry(self._kb, each.entry.id)
        if stored is None:
            new.append(each)
        elif stored.entry == each.entry:
            self.result.unchanged += 1
        elif self._on_conflict is not OnConflict.REPLACE:
            self.result.skipped.append(each.entry.id)
        elif not write or self._replace(each):
            self.result.replaced.append(each.entry.id)
            self.durable += write

    def _create(self, new: list[Incoming]) -> None:
        drafts = [Verbatim(each.entry.id, each.raw) for each in new]
        for each, creation in zip(new, self._kbs.create_entries(self._kb, drafts), strict=True):
            if creation.status is BulkStatus.CREATED:
                self.result.created.append(each.entry.id)
                self.durable += 1
            else:
                self._problem(each, str(creation.error))

    def _replace(self, each: Incoming) -> bool:
        """Have the entry say what the source says; False if that failed."""
        try:
            self._kbs.update_entry(self._kb, each.entry.id, _as_in(each.entry))
        except PyriteError as error:
            self._problem(each, str(error))
            return False
        return True

    def _problem(self, each: Incoming, reason: str) -> None:
        self.result.problems.append(UnreadableFileError(each.path, reason, each.line))


def _as_in(entry: Entry) -> Callable[[Entry], Edit]:
    draft = Draft(
        title=entry.title,
        id=entry.id,
        type=entry.type,
        summary=entry.summary,
        tags=entry.tags,
        body=entry.body,
        fields=entry.fields,
    )
    return replacing(draft)


def check_apart(source: Path, folder: Path) -> None:
    """Refuse to import a knowledge base's folder into itself.

    Raises:
        InvalidEntryError: one folder is inside the other, or they are the same.
    """
    source, folder = source.resolve(), folder.resolve()
    if source.is_relative_to(folder):
        raise InvalidEntryError(
            f"{source} is in the knowledge base's own folder: `pyrite index sync` reads it"
        )
    if folder.is_relative_to(source):
        raise InvalidEntryError(f"{source} contains the knowledge base's own folder, {folder}")
