"""Comparing a folder with what the index knows of it; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyrite.errors import FolderMissingError, UnreadableFileError
from pyrite.storage.records import FileRow, KnowledgeBase
from pyrite.vault.availability import missing_files
from pyrite.vault.files import read_file
from pyrite.vault.paths import folder_status
from pyrite.vault.scan import FoundFile, scan


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a folder and the index differ."""

    root: Path
    #: The number of the disk that the folder is on.
    device: int
    #: What the index knows, and the files that were found, by entry id.
    known: Mapping[str, FileRow]
    found: Mapping[str, FoundFile]
    #: What cannot be read; reading what has changed adds to them.
    problems: list[UnreadableFileError]
    #: Ids of entries whose file is gone.
    gone: list[str]
    #: Files that are new, or whose stat is not what the index knows.
    changed: list[FoundFile]
    #: Hidden files that a writer has prepared, or left behind when it crashed.
    leftovers: list[str]

    def missing_files(self, kb: KnowledgeBase, max_bytes: int) -> str | None:
        """Say why the files that are gone are not to be taken for deleted; None if they are."""
        # The system may number the same disk anew: its files are known by their stamps.
        elsewhere = kb.device not in {None, self.device} and not any(
            _same(row, file)
            for file in self.found.values()
            if (row := self.known.get(file.id)) is not None
        )
        state = {"elsewhere": elsewhere, "unavailable": kb.unavailable is not None}
        if missing_files(len(self.known), len(self.gone), **state) is None:
            return None
        # Only now is it worth finding out which have new names.
        gone = Counter(self.known[entry_id].digest for entry_id in self.gone)
        came: Counter[bytes] = Counter()
        for file in self.changed:
            if file.id not in self.known:
                with suppress(FileNotFoundError, UnreadableFileError):
                    came[read_file(self.root, file.path, max_bytes=max_bytes).digest] += 1
        return missing_files(len(self.known), (gone - came).total(), **state)


def compare(kb: KnowledgeBase, known: Mapping[str, FileRow], *, full: bool = False) -> Comparison:
    """Compare a knowledge base's folder with what the index knows.

    Args:
        kb: the knowledge base.
        known: its files as they were last read, by entry id.
        full: take every file for changed, whatever its stat says.

    Raises:
        FolderMissingError: the folder is not there.
    """
    root = Path(kb.path)
    status = folder_status(root)
    if status is None:
        raise FolderMissingError(
            f"the folder {root} of the knowledge base {kb.name!r} is not there: mount it, or "
            f"`pyrite kb remove {kb.name}`; its entries stay indexed meanwhile",
            public=f"the folder of the knowledge base {kb.name!r} is not there; its entries "
            "stay indexed meanwhile",
        )
    seen = scan(root)
    found = {file.id: file for file in seen.found}
    hidden = tuple(seen.unreadable_folders)
    unreadable = {problem.path for problem in seen.problems}
    gone = [
        entry_id
        for entry_id, row in known.items()
        if entry_id not in found and row.path not in unreadable and not row.path.startswith(hidden)
    ]
    changed = [
        file
        for file in seen.found
        if full or (row := known.get(file.id)) is None or not _same(row, file)
    ]
    return Comparison(
        root, status.st_dev, known, found, list(seen.problems), gone, changed, seen.leftovers
    )


def _same(row: FileRow, file: FoundFile) -> bool:
    return row.stamp == file.stamp and row.path == file.path
