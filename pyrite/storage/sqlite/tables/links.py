"""SQL over the links of entries' bodies, and over the names that links may lead to."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from pyrite.markdown.link_targets import Named, aliases_of, lookup_key
from pyrite.markdown.links import Kind, Link
from pyrite.storage.records import LinkRow, Record
from pyrite.storage.sqlite.driver import sqlite3

_FORGET = """
    DELETE FROM links WHERE entry IN (
        SELECT e.id FROM json_each(?) AS given CROSS JOIN entries AS e
        ON e.kb_name = given.value ->> 0 AND e.entry_id = given.value ->> 1)
"""
_INSERT = """
    INSERT INTO links (entry, ordinal, line, kind, target, fragment, shown, key)
    SELECT id, ?, ?, ?, ?, ?, ?, ? FROM entries WHERE kb_name = ? AND entry_id = ?
"""
_ROWS = """
    SELECT e.kb_name, e.entry_id, l.kind, l.target, l.fragment, l.shown, l.line
    FROM {source} CROSS JOIN {other}
    ORDER BY e.kb_name, e.entry_id, l.ordinal
"""
_OF_ENTRY = _ROWS.format(
    source="entries e", other="links l ON l.entry = e.id WHERE e.kb_name = ? AND e.entry_id = ?"
)
_OF_KB = _ROWS.format(source="links l", other="entries e ON e.id = l.entry WHERE e.kb_name = ?")
_OF_KEYS = _ROWS.format(
    source="json_each(?) k CROSS JOIN links l ON l.key = k.value",
    other="entries e ON e.id = l.entry WHERE e.kb_name = ?",
)
# Most entries have no aliases: reading those fields as JSON is left to SQLite.
_NAMES = """
    SELECT entry_id, title,
           iif(instr(fields, '"alias'), json_object('aliases', fields -> '$.aliases',
                                                    'alias', fields -> '$.alias'), NULL)
    FROM entries WHERE kb_name = ?
"""


def replace(
    conn: sqlite3.Connection, records: Sequence[Record], there: Collection[tuple[str, str]]
) -> None:
    """Write the links of entries that have just been written.

    Args:
        conn: a connection within a transaction.
        records: the entries; of one that is named twice, the last counts.
        there: the entries (knowledge base, id) that there were before.
    """
    if there:
        conn.execute(_FORGET, (json.dumps([list(key) for key in there]),))
    latest = {(record.kb, record.entry.id): record for record in records}
    conn.executemany(_INSERT, _rows(latest))


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
    """Links of a knowledge base's entries."""
    if entry_id is not None:
        rows = conn.execute(_OF_ENTRY, (kb, entry_id))
    elif keys is not None:
        rows = conn.execute(_OF_KEYS, (json.dumps(list(keys)), kb))
    else:
        rows = conn.execute(_OF_KB, (kb,))
    return [
        LinkRow(name, linking, Link(Kind(kind), target, fragment, shown, line))
        for name, linking, kind, target, fragment, shown, line in rows
    ]


def names(conn: sqlite3.Connection, kb: str) -> list[Named]:
    """What the entries of a knowledge base are called."""
    return [
        Named(entry_id, title, aliases_of(json.loads(aliases)) if aliases else ())
        for entry_id, title, aliases in conn.execute(_NAMES, (kb,))
    ]
