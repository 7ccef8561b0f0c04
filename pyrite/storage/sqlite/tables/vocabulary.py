"""SQL over the terms of the full-text index: those that are spelled like another one."""

from __future__ import annotations

from pyrite.storage.sqlite.driver import sqlite3

_TABLE = """
    CREATE VIRTUAL TABLE IF NOT EXISTS temp.entry_vocabulary
    USING fts5vocab('main', 'entry_words', 'row')
"""


def similar_terms(conn: sqlite3.Connection, word: str, most: int) -> list[str]:
    """The terms with the same first letter that are a few letters away, nearest first.

    Of those as near, the one that more entries have goes first.
    """
    # Imported only here: few searches find nothing.
    from rapidfuzz.distance import OSA  # noqa: PLC0415

    away = 1 if len(word) < 6 else 2  # noqa: PLR2004 - as Lucene's fuzzy queries have it
    conn.execute(_TABLE)
    rows = conn.execute(
        """SELECT term, doc FROM entry_vocabulary
           WHERE term >= ? AND term < ? AND length(term) BETWEEN ? AND ?""",
        (word[0], word[0] + "\U0010ffff", len(word) - away, len(word) + away),
    )
    found = [
        (distance, -entries, term)
        for term, entries in rows
        if 0 < (distance := OSA.distance(word, term, score_cutoff=away)) <= away
    ]
    return [term for _, _, term in sorted(found)[:most]]
