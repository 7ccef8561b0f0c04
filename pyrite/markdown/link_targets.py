"""Which entry a link means, as Obsidian finds it; pure.

A wikilink names an entry by its id, by the end of its id (the last part, or more with their
folders), by its title, or by one of its `aliases`: the first of these that anything answers to
decides. Upper and lower case do not count, nor how Unicode spells a letter. Of several
entries that with the fewest folders in its id is meant; among those, that in the folder of the
linking entry. Where that leaves several still, the link is ambiguous.

A Markdown link to a file is a path: from the linking entry's folder, or else from the root. A
bare name that is nothing there means the only entry of that name, wherever it is, since
Obsidian writes such links too.

Nothing of this is stored: a link leads somewhere as soon as there is something to lead to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pyrite.markdown.entry import JSON, text_of
from pyrite.markdown.ids import entry_id, nfc
from pyrite.markdown.links import Kind, Link

#: Fields of the front matter that name an entry; the second is an older spelling.
_ALIASES = ("aliases", "alias")


@dataclass(frozen=True, slots=True)
class Named:
    """An entry by all of its names."""

    id: str
    title: str
    aliases: tuple[str, ...] = ()


class State(StrEnum):
    """What a link leads to."""

    RESOLVED = "resolved"
    AMBIGUOUS = "ambiguous"
    DANGLING = "dangling"


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which entries a link may mean: one, several or none."""

    ids: tuple[str, ...]

    @property
    def state(self) -> State:
        """Which of these it is."""
        if not self.ids:
            return State.DANGLING
        return State.RESOLVED if len(self.ids) == 1 else State.AMBIGUOUS


def aliases_of(fields: Mapping[str, JSON]) -> tuple[str, ...]:
    """The other names that front matter gives: a list, or one string with commas between them."""
    found: list[str] = []
    for value in (fields.get(name) for name in _ALIASES):
        if isinstance(value, list | tuple):
            found += map(text_of, value)
        else:
            found += text_of(value).split(",")
    return tuple(dict.fromkeys(name.strip() for name in found if name.strip()))


def key_of(name: str) -> str:
    """What is the same for all spellings of a name."""
    return nfc(nfc(name.strip()).casefold())


def lookup_key(target: str) -> str:
    """What a link's target is looked up by: the key of its last part, without a file's ending."""
    return key_of(entry_id(target.strip()).rstrip("/").rpartition("/")[2])


def keys_of(named: Named) -> set[str]:
    """The keys by which links to an entry can be found: a few that do not mean it, none too few."""
    return {lookup_key(name) for name in (named.id, named.title, *named.aliases)}


def name_keys(named: Named) -> set[str]:
    """The keys of an entry's names, under which :class:`EntryNames` keeps it."""
    return {lookup_key(named.id), *map(key_of, (named.title, *named.aliases))}


def wanted_keys(link: Link, source: str) -> set[str]:
    """The keys under which :meth:`EntryNames.resolve` looks for what a link means.

    No other entry has a part in the answer than those of which one of these is a
    :func:`name_keys`.
    """
    name = entry_id(link.target)
    path = name.strip("/")
    ids = joined(source.rpartition("/")[0], name), joined("", name), path
    return {*map(lookup_key, filter(None, ids)), *map(key_of, (name, link.target, path))}


class EntryNames:
    """The names of entries: all of a knowledge base, or those that links may mean."""

    def __init__(self, entries: Iterable[Named]) -> None:
        self._ids: set[str] = set()
        #: Ids by the keys of their last parts, by titles and by aliases.
        self._by_end: dict[str, list[str]] = {}
        self._by_title: dict[str, list[str]] = {}
        self._by_alias: dict[str, list[str]] = {}
        for entry in entries:
            self._ids.add(entry.id)
            self._by_end.setdefault(lookup_key(entry.id), []).append(entry.id)
            self._by_title.setdefault(key_of(entry.title), []).append(entry.id)
            for alias in entry.aliases:
                self._by_alias.setdefault(key_of(alias), []).append(entry.id)

    def resolve(self, link: Link, source: str) -> Resolution:
        """The entries that a link means.

        Args:
            link: the link.
            source: the id of the entry that it is in.
        """
        if link.kind is Kind.MARKDOWN:
            return Resolution(self._of_path(link.target, source))
        return Resolution(self._of_name(link.target, source))

    def _of_path(self, target: str, source: str) -> tuple[str, ...]:
        name = entry_id(target)
        folder = "" if name.startswith("/") else source.rpartition("/")[0]
        for start in dict.fromkeys((folder, "")):
            found = self._at(joined(start, name))
            if found:
                return found
        if "/" in name:
            return ()
        alone = self._by_end.get(key_of(name), [])
        return tuple(alone) if len(alone) == 1 else ()

    def _of_name(self, target: str, source: str) -> tuple[str, ...]:
        name = entry_id(target)
        folder = source.rpartition("/")[0]
        if name.startswith(("./", "../")):
            return self._at(joined(folder, name))
        path = name.strip("/")
        if found := self._at(path):
            return found
        end = "/" + key_of(path)
        alike = self._by_end.get(lookup_key(path), [])
        by_end = [each for each in alike if key_of(f"/{each}").endswith(end)]
        # An ending can be part of a title.
        titles = (self._by_title.get(key_of(each)) for each in dict.fromkeys((target, path)))
        aliases = (self._by_alias.get(key_of(each)) for each in dict.fromkeys((target, path)))
        for found_ids in (by_end, *titles, *aliases):
            if found_ids:
                return _nearest(found_ids, folder)
        return ()

    def _at(self, path: str | None) -> tuple[str, ...]:
        """The entry with that id, or those whose ids differ from it in spelling only."""
        if not path:
            return ()
        if path in self._ids:
            return (path,)
        key = key_of(path)
        same = (i for i in self._by_end.get(lookup_key(path), ()) if key_of(i) == key)
        return tuple(sorted(same))


def joined(folder: str, path: str) -> str | None:
    """Where a path leads from a folder; None if that is out of the knowledge base."""
    parts = [] if path.startswith("/") or not folder else folder.split("/")
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _nearest(ids: Collection[str], folder: str) -> tuple[str, ...]:
    """Those with the fewest folders, or the one of these that is in this folder."""
    least = min(each.count("/") for each in ids)
    shortest = sorted({each for each in ids if each.count("/") == least})
    beside = [each for each in shortest if each.rpartition("/")[0] == folder]
    return tuple(beside if len(beside) == 1 else shortest)
