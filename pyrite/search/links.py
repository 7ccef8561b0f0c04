"""Links between entries in both directions, and links that lead nowhere.

Links are kept as they are written, and what they lead to is found when somebody asks: a new
entry, a rename or a new alias counts at once. Of a page of links, only the names are read that
one of them may mean, and only the files that it is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TypeAlias

from pyrite.config.settings import Settings
from pyrite.errors import UnreadableFileError
from pyrite.knowledge.service import KBService
from pyrite.markdown.document import lines_above_body
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.link_targets import (
    EntryNames,
    Named,
    Resolution,
    State,
    aliases_of,
    keys_of,
    wanted_keys,
)
from pyrite.markdown.links import Link
from pyrite.storage.protocol import Storage
from pyrite.storage.records import LinkRow
from pyrite.vault.files import read_file

#: Links that are read together where all of a knowledge base are looked through.
_AT_ONCE = 1_000

#: A link with what it leads to.
_Resolved: TypeAlias = tuple[LinkRow, Resolution]


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
    """Links as people ask for them: of an entry in both directions, and those without an end."""

    def __init__(self, storage: Storage, kbs: KBService, settings: Settings) -> None:
        self._storage = storage
        self._kbs = kbs
        self._settings = settings

    def of(
        self, kb: str, entry_id: str, *, limit: int | None = None, offset: int = 0
    ) -> Neighbours:
        """What an entry links to and what links to it: all, or a page of either.

        Raises:
            NotFoundError: there is no such entry.
        """
        entry = self._kbs.get_entry(kb, entry_id).entry
        keys = keys_of(Named(entry.id, entry.title, aliases_of(entry.fields)))
        to_it = (
            (row, leads_to)
            for row, leads_to in self._resolved(kb, self._storage.links(kb, keys=keys))
            if entry.id in leads_to.ids and row.entry_id != entry.id
        )
        end = None if limit is None else offset + limit
        own = self._storage.links(kb, entry_id=entry.id)[offset:end]
        return Neighbours(
            kb,
            entry.id,
            self._with_lines(kb, self._resolved(kb, own)),
            self._with_lines(kb, islice(to_it, offset, end)),
        )

    def dangling(
        self, kbs: Sequence[str], *, limit: int | None = None, offset: int = 0
    ) -> list[FoundLink]:
        """Links that lead nowhere, by knowledge base and entry: all of them, or a page.

        Raises:
            NotFoundError: there is no such knowledge base.
        """
        for kb in kbs:
            self._kbs.kb(kb)
        nowhere = (each for kb in kbs for each in self._dangling(kb))
        page = islice(nowhere, offset, None if limit is None else offset + limit)
        by_kb = groupby(page, key=lambda each: each[0].kb)
        return [found for kb, part in by_kb for found in self._with_lines(kb, part)]

    def _dangling(self, kb: str) -> Iterator[_Resolved]:
        """The links of a knowledge base that lead nowhere, read as far as they are asked for."""
        last: LinkRow | None = None
        while rows := self._storage.links_after(kb, last, _AT_ONCE):
            last = rows[-1]
            found = self._resolved(kb, rows)
            yield from (each for each in found if each[1].state is State.DANGLING)

    def _resolved(self, kb: str, rows: Sequence[LinkRow]) -> Iterator[_Resolved]:
        """Links with what they lead to."""
        keys = {key for row in rows for key in wanted_keys(row.link, row.entry_id)}
        names = EntryNames(self._storage.names(kb, keys))
        return ((row, names.resolve(row.link, row.entry_id)) for row in rows)

    def _with_lines(self, kb: str, resolved: Iterable[_Resolved]) -> list[FoundLink]:
        """The links with their lines in files; the index knows those in bodies."""
        root = Path(self._kbs.kb(kb).path)
        above: dict[str, int] = {}
        result = []
        for row, leads_to in resolved:
            if row.path not in above:
                above[row.path] = self._lines_above_body(root, row.path)
            line = above[row.path] + row.link.line
            result.append(FoundLink(kb, row.entry_id, line, row.link, leads_to))
        return result

    def _lines_above_body(self, root: Path, path: str) -> int:
        """The length of a file's front matter in lines; 0 if it cannot be read now."""
        with suppress(OSError, UnreadableFileError, DocumentError):
            raw = read_file(root, path, max_bytes=self._settings.max_file_bytes).raw
            return lines_above_body(raw)
        return 0
