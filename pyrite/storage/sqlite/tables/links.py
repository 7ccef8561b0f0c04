"""SQL over the links of entries' bodies, and over the names that links may lead to."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pyrite.markdown.entry import Entry
from pyrite.markdown.link_targets import Named, aliases_of, lookup_key, name_keys
from pyrite.markdown.links import Kind, Link
from pyrite.storage.records import LinkRow, Record
from pyrite.storage.sqlite.driver import sqlite3

_GIVEN = """
    SELECT e.id FROM json_each(?) AS given CROSS JOIN entries AS e
    ON e.kb_name = given.value ->> 0 AND e.entry_id = given.value ->> 1
"""
_FORGET = f"DELETE FROM links WHERE entry IN ({_GIVEN})"
_INSERT = """
    INSERT INTO links (entry, ordinal, line, kind, target, fragment, shown, key)
    SELECT id, ?, ?, ?, ?, ?, ?, ? FROM entries WHERE kb_name = ? AND entry_id = ?
"""
_ROWS = """
    SELECT e.kb_name, e.entry_id, e.path, l.ordinal, l.kind, l.target, l.fragment, l.shown, l.line
    FROM {source} CROSS JOIN {other}
    ORDER BY e.kb_name, e.entry_id, l.ordinal
"""
_OF_ENTRY = _ROWS.format(
    source="entries e", other="links l ON l.entry = e.id WHERE e.kb_name = ? AND e.entry_id = ?"
)
_OF_KEYS = _ROWS.format(
    source="json_each(?) k CROSS JOIN links l ON l.key = k.value",
    other="entries e ON e.id = l.entry WHERE e.kb_name = ?",
)
_FOLLOWING = (
    _ROWS.format(
        source="entries e",
        other="""links l ON l.entry = e.id
        WHERE e.kb_name = :kb AND e.entry_id >= :last
        AND (e.entry_id > :last OR l.ordinal > :ordinal)""",
    )
    + "LIMIT :limit"
)

# An edit seldom changes a name: what stays is left alone.
_FORGET_NAMES = """
    DELETE FROM entry_names
    WHERE entry = (SELECT id FROM entries WHERE kb_name = ? AND entry_id = ?)
      AND key NOT IN (SELECT value FROM json_each(?))
"""
_INSERT_NAME = """
    INSERT OR IGNORE INTO entry_names (entry, key)
    SELECT id, ? FROM entries WHERE kb_name = ? AND entry_id = ?
"""
# Most entries have no aliases: reading those fields as JSON is left to SQLite.
_NAMES = """
    SELECT DISTINCT e.entry_id, e.title,
           iif(instr(e.fields, '"alias'), json_object('aliases', e.fields -> '$.aliases',
                                                      'alias', e.fields -> '$.alias'), NULL)
    FROM json_each(?) k CROSS JOIN entry_names n ON n.key = k.value
    CROSS JOIN entries e ON e.id = n.entry WHERE e.kb_name = ?
"""


def replace(
    conn: sqlite3.Connection, records: Sequence[Record], there: Collection[tuple[str, str]]
) -> None:
    """Write the names and the links of entries that have just been written.

    Args:
        conn: a connection within a transaction.
        records: the entries; of one that is named twice, the last counts.
        there: the entries (knowledge base, id) that there were before.
    """
    if there:
        conn.execute(_FORGET, (json.dumps([list(key) for key in there]),))
    latest = {(record.kb, record.entry.id): record for record in records}
    conn.executemany(_INSERT, _rows(latest))
    names = {key: sorted(name_keys(_named(record.entry))) for key, record in latest.items()}
    if there:
        changed = ((*key, json.dumps(names[key])) for key in there if key in names)
        conn.executemany(_FORGET_NAMES, changed)
    conn.executemany(_INSERT_NAME, ((name, *key) for key in names for name in names[key]))


def _named(entry: Entry) -> Named:
    return Named(entry.id, entry.title, aliases_of(entry.fields))


def _rows(records: Mapping[tuple[str, str], Record]) -> Iterator[tuple[object, ...]]:
    for key, record in records.items():
        for ordinal, link in enumerate(record.found_links()):
            written = (link.kind.value, link.target, link.fragment, link.shown)
            yield ordinal, link.line, *written, lookup_key(link.target), *key


def links(
    conn: sqlite3.Connection,
    kb: str,
    *,
    entry_id: str | None = None,
    keys: Collection[str] | None = None,
) -> list[LinkRow]:
    """The links of an entry, or those whose targets have one of these keys."""
    if entry_id is not None:
        return _found(conn.execute(_OF_ENTRY, (kb, entry_id)))
    return _found(conn.execute(_OF_KEYS, (json.dumps(list(keys or ())), kb)))


def links_after(
    conn: sqlite3.Connection, kb: str, last: LinkRow | None, limit: int
) -> list[LinkRow]:
    """The links of a knowledge base that follow one, by entry and in order of its text."""
    after = ("", -1) if last is None else (last.entry_id, last.ordinal)
    values = {"kb": kb, "last": after[0], "ordinal": after[1], "limit": limit}
    return _found(conn.execute(_FOLLOWING, values))


def _found(rows: Iterable[tuple[Any, ...]]) -> list[LinkRow]:
    return [
        LinkRow(kb, entry_id, path, ordinal, Link(Kind(kind), target, fragment, shown, line))
        for kb, entry_id, path, ordinal, kind, target, fragment, shown, line in rows
    ]


def names(conn: sqlite3.Connection, kb: str, keys: Collection[str]) -> list[Named]:
    """What entries are called that have a name of one of these keys."""
    return [
        Named(entry_id, title, aliases_of(json.loads(aliases)) if aliases else ())
        for entry_id, title, aliases in conn.execute(_NAMES, (json.dumps(list(keys)), kb))
    ]
