"""SQL over what a page of hits shows: entries with their passages and where words are in them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pyrite.storage.protocol import NO_WORDS
from pyrite.storage.records import EntryView, Key, WordQuery
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables import entries, passages, words


def views(
    conn: sqlite3.Connection,
    keys: Sequence[Key],
    *,
    model_id: int,
    query: WordQuery = NO_WORDS,
) -> dict[Key, EntryView]:
    """What is shown of entries; those that are gone are left out."""
    wanted = json.dumps(keys)
    layouts = passages.layouts(conn, wanted, model_id)
    ranges = words.highlights(conn, wanted, query)
    return {
        key: EntryView(stored, tuple(layouts.get(key, ())), tuple(ranges.get(key, ())))
        for key, stored in entries.of_keys(conn, wanted).items()
    }
