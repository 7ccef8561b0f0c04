"""What entries are called, by the keys under which links look for them.

The names of the entries that are there already are read from their rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrite.markdown.link_targets import Named, aliases_of, name_keys

if TYPE_CHECKING:
    from sqlite_utils import Database

_TABLE = """
    -- The names of entries: ids, titles and aliases, the same for all spellings.
    CREATE TABLE entry_names (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        PRIMARY KEY (entry, key)
    ) WITHOUT ROWID
"""

#: By which an entry is found from its names.
_INDEX = "CREATE INDEX entry_name_keys ON entry_names (key)"


def fill(db: Database) -> None:
    """Make the table, and read the names that are there."""
    db.execute(_TABLE)
    db.conn.executemany("INSERT INTO entry_names VALUES (?, ?)", _rows(db))
    db.execute(_INDEX)


def _rows(db: Database) -> Iterator[tuple[int, str]]:
    for entry, entry_id, title, fields in db.execute(
        "SELECT id, entry_id, title, fields FROM entries"
    ):
        named = Named(entry_id, title, aliases_of(json.loads(fields)))
        yield from ((entry, key) for key in sorted(name_keys(named)))
