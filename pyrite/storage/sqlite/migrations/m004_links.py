"""The links of entries' bodies, as they are written.

What a link leads to is not kept: that changes with every entry that comes, goes or is renamed.
The links of the entries that are there already are read from their bodies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrite.markdown.link_targets import lookup_key
from pyrite.markdown.links import links_of

if TYPE_CHECKING:
    from sqlite_utils import Database

_TABLE = """
    -- Links from entries to others, whether or not there is anything at their ends.
    CREATE TABLE links (
        entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,     -- in order of the text
        line INTEGER NOT NULL,        -- of the body, counted from 1
        kind TEXT NOT NULL,
        target TEXT NOT NULL,         -- as it is written
        fragment TEXT NOT NULL,
        shown TEXT NOT NULL,
        key TEXT NOT NULL,            -- of the target's last part: the same for all spellings
        PRIMARY KEY (entry, ordinal)
    ) WITHOUT ROWID
"""

#: By which the links to an entry are found.
_INDEX = "CREATE INDEX link_keys ON links (key)"

_FOLLOWING = """
    SELECT id, body FROM entries
    WHERE id > ? AND (instr(body, '[[') OR instr(body, '](') OR instr(body, ']:'))
    ORDER BY id LIMIT 1
"""


def fill(db: Database) -> None:
    """Make the table, and read the bodies that are there."""
    db.execute(_TABLE)
    rows = (row for entry, body in _bodies(db) for row in _rows(entry, body))
    db.conn.executemany("INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute(_INDEX)


def _bodies(db: Database) -> Iterator[tuple[int, str]]:
    """Entries that may have links; one at a time, since bodies may be large."""
    last = 0
    while row := db.execute(_FOLLOWING, (last,)).fetchone():
        last = row[0]
        yield row


def _rows(entry: int, body: str) -> Iterator[tuple[object, ...]]:
    for ordinal, link in enumerate(links_of(body)):
        written = (link.kind.value, link.target, link.fragment, link.shown)
        yield entry, ordinal, link.line, *written, lookup_key(link.target)
