"""What entries link to, and what links to them.

Links are kept as they are written, and what they lead to is found when somebody asks: a new
entry, a rename or a new alias counts at once. That takes reading the names of all entries of
the knowledge base, some microseconds each.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pyrite.config.settings import Settings
from pyrite.errors import UnreadableFileError
from pyrite.knowledge.service import KBService
from pyrite.markdown.document import lines_above_body
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.link_targets import EntryNames, Named, Resolution, State, aliases_of, keys_of
from pyrite.markdown.links import Link
from pyrite.storage.protocol import Storage
from pyrite.storage.records import LinkRow
from pyrite.vault.files import read_file


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A link with where it is and where it leads."""

    kb: str
    #: The entry that it is in, and its line in that entry's file, counted from 1.
    entry_id: str
    line: int
    link: Link
    leads_to: Resolution


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The links of one entry."""

    kb: str
    id: str
    #: Those that it holds, in order of its text.
    links: list[FoundLink]
    #: Those of other entries that mean it, or may.
    backlinks: list[FoundLink]


class LinkService:
    """Finds links."""

    def __init__(self, storage: Storage, kbs: KBService, settings: Settings) -> None:
        self._storage = storage
        self._kbs = kbs
        self._settings = settings

    def of(self, kb: str, entry_id: str) -> Neighbours:
        """What an entry links to and what links to it.

        Raises:
            NotFoundError: there is no such entry.
        """
        entry = self._kbs.get_entry(kb, entry_id).entry
        names = EntryNames(self._storage.names(kb))
        keys = keys_of(Named(entry.id, entry.title, aliases_of(entry.fields)))
        to_it = self._found(self._storage.links(kb, keys=keys), names)
        return Neighbours(
            kb,
            entry.id,
            self._with_lines(self._found(self._storage.links(kb, entry_id=entry.id), names)),
            self._with_lines(
                found
                for found in to_it
                if entry.id in found.leads_to.ids and found.entry_id != entry.id
            ),
        )

    def dangling(self, kb: str, *, limit: int | None = None) -> list[FoundLink]:
        """Links that lead nowhere, by the entry that they are in: the first so many, or all.

        Raises:
            NotFoundError: there is no such knowledge base.
        """
        self._kbs.kb(kb)
        found = self._found(self._storage.links(kb), EntryNames(self._storage.names(kb)))
        nowhere = (each for each in found if each.leads_to.state is State.DANGLING)
        return self._with_lines(islice(nowhere, limit))

    def _found(self, rows: Iterable[LinkRow], names: EntryNames) -> Iterable[FoundLink]:
        return (
            FoundLink(row.kb, row.entry_id, row.link.line, row.link, leads_to)
            for row in rows
            for leads_to in [names.resolve(row.link, row.entry_id)]
        )

    def _with_lines(self, found: Iterable[FoundLink]) -> list[FoundLink]:
        """The links with their lines in files; the index knows those in bodies."""
        above: dict[tuple[str, str], int] = {}
        result = []
        for each in found:
            key = each.kb, each.entry_id
            if key not in above:
                above[key] = self._lines_above_body(*key)
            line = above[key] + each.link.line
            result.append(FoundLink(*key, line, each.link, each.leads_to))
        return result

    def _lines_above_body(self, kb: str, entry_id: str) -> int:
        """The length of an entry's front matter in lines; 0 if its file cannot be read now."""
        stored = self._storage.entry(kb, entry_id)
        if stored is not None:
            root, limit = Path(self._kbs.kb(kb).path), self._settings.max_file_bytes
            with suppress(OSError, UnreadableFileError, DocumentError):
                return lines_above_body(read_file(root, stored.path, max_bytes=limit).raw)
        return 0
