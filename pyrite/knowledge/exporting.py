"""Export of entries, as the files that they are or as lines of JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyrite.config.settings import Settings
from pyrite.errors import ConflictError, InvalidEntryError, UnreadableFileError
from pyrite.knowledge.service import KBService
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Filters, StoredEntry
from pyrite.vault import json_lines
from pyrite.vault.entry_files import writing_to
from pyrite.vault.files import read_file
from pyrite.vault.paths import resolve
from pyrite.vault.prepared_file import prepare

#: Told how many of how many have been dealt with.
Progress = Callable[[int, int], None]


@dataclass
class ExportResult:
    """What an export wrote."""

    exported: int = 0
    #: There already, with the same bytes.
    unchanged: int = 0
    problems: list[UnreadableFileError] = field(default_factory=list)


class Exporter:
    """An export of the entries of one knowledge base that filters let through."""

    def __init__(
        self, storage: Storage, kbs: KBService, settings: Settings, kb: str, filters: Filters
    ) -> None:
        self._storage = storage
        self._kbs = kbs
        self._settings = settings
        self._kb = kb
        self._filters = replace(filters, kbs=(kb,))
        kbs.check_filters(self._filters)

    def lines(self, progress: Progress) -> Iterator[str]:
        """The entries as they are indexed, each a line of JSON with its end."""
        chosen = self._chosen()
        for done, listed in enumerate(chosen, 1):
            stored = self._storage.entry(self._kb, listed.entry.id)
            if stored is not None:  # it may have been deleted since
                yield json_lines.line_of(stored.entry) + "\n"
            progress(done, len(chosen))

    def to_file(self, target: Path, progress: Progress) -> ExportResult:
        """Write the lines into a new file, whole or not at all.

        Raises:
            ConflictError: there is such a file.
            WriteError: it cannot be written.
        """
        if target.exists():
            raise ConflictError(f"{target} exists already; choose another name")
        result = ExportResult()

        def pieces() -> Iterator[bytes]:
            for line in self.lines(progress):
                result.exported += 1
                yield line.encode()

        with writing_to(target), prepare(target, pieces()) as prepared:
            prepared.create()
            prepared.keep()
            prepared.sync_folder()
        return result

    def to_folder(self, target: Path, progress: Progress) -> ExportResult:
        """Copy the entries' files, byte for byte, with the folders that they are in.

        A file that is there already is left as it is; if it differs, that is a problem.

        Raises:
            InvalidEntryError: the folder is inside the knowledge base's own, or the other way.
            WriteError: a file cannot be written.
        """
        root = self._kbs.folder(self._kb)
        _check_apart(target, root)
        with writing_to(target):
            target.mkdir(parents=True, exist_ok=True)
        result, chosen = ExportResult(), self._chosen()
        for done, stored in enumerate(chosen, 1):
            try:
                if self._copy(root, target, stored.path):
                    result.exported += 1
                else:
                    result.unchanged += 1
            except FileNotFoundError:
                reason = "the file is gone; `pyrite index sync` takes note"
                result.problems.append(UnreadableFileError(stored.path, reason))
            except UnreadableFileError as error:
                result.problems.append(error)
            except (ConflictError, InvalidEntryError) as error:
                result.problems.append(UnreadableFileError(stored.path, str(error)))
            progress(done, len(chosen))
        return result

    def _copy(self, root: Path, target: Path, relative: str) -> bool:
        """Copy one file; False if it is there already."""
        most = self._settings.max_file_bytes
        raw = read_file(root, relative, max_bytes=most).raw
        path = resolve(target, relative)
        with writing_to(path):
            if path.exists():
                if path.read_bytes() == raw:
                    return False
                raise ConflictError("another file of that name is there already; it was left")
            with prepare(path, raw, root=target) as prepared:
                prepared.create()
                prepared.keep()
        return True

    def _chosen(self) -> list[StoredEntry]:
        return self._kbs.list_entries(self._filters)


def _check_apart(target: Path, root: Path) -> None:
    target, root = target.resolve(), root.resolve()
    if target.is_relative_to(root) or root.is_relative_to(target):
        raise InvalidEntryError(
            f"{target} and the knowledge base's own folder, {root}, have to be apart"
        )
