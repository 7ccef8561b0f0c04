"""SQL over the full-text index: which entries contain what words, and where."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from pyrite.storage.protocol import EVERYTHING
from pyrite.storage.records import Filters, Key, WordHit, WordQuery
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables.filters import condition, split
from pyrite.storage.sqlite.tables.matching import expression

#: What a word counts in the title, the summary, the tags and the body. Measured on half of a
#: labelled collection (`python -m tests.bench quality`).
FIELD_WEIGHTS = (2.0, 1.0, 1.0, 1.0)
_BODY = 3

_SCORE = f"bm25(entry_words, {', '.join(map(str, FIELD_WEIGHTS))})"


def search(
    conn: sqlite3.Connection,
    query: WordQuery,
    filters: Filters = EVERYTHING,
    *,
    limit: int,
    offset: int = 0,
    ranked: bool = True,
) -> list[WordHit]:
    """Entries that contain what is looked for, best first or merely the first of the index."""
    if not query:
        return []
    required, rest = split(filters)
    wanted = expression(query)
    # Looked for in the same walk over the index, rather than row by row.
    wanted = f"({wanted}) AND {required}" if required else wanted
    where, values = condition(rest)
    rows = conn.execute(
        f"""SELECT e.kb_name, e.entry_id, {f"-{_SCORE}" if ranked else "0.0"} AS score
            FROM entry_words JOIN entries e ON e.id = entry_words.rowid
            WHERE entry_words MATCH ? AND {where}
            {"ORDER BY score DESC, e.kb_name, e.entry_id" if ranked else ""}
            LIMIT ? OFFSET ?""",
        (wanted, *values, limit, offset),
    )
    return [WordHit(*row) for row in rows]


def merge(conn: sqlite3.Connection, pages: int, *, anew: bool) -> bool:
    """Make the index one piece, without the words of what is gone; False once it is that.

    Args:
        conn: a connection within a transaction.
        pages: how many to write at most, or a few more.
        anew: begin with all pieces that there are now, rather than go on where it was left.
    """
    before = conn.total_changes
    conn.execute(
        "INSERT INTO entry_words (entry_words, rank) VALUES ('merge', ?)",
        (-pages if anew else pages,),
    )
    # The command itself is counted as one change.
    return conn.total_changes - before > 1


def highlights(
    conn: sqlite3.Connection, keys: str, query: WordQuery
) -> dict[Key, list[tuple[int, int]]]:
    """Where in entries' bodies the words are, given the entries' keys as JSON."""
    if not query:
        return {}
    # A mark that no text contains: the text with marks is then easily read back as ranges.
    mark = f"\x02{secrets.token_hex(8)}"
    rows = conn.execute(
        f"""SELECT e.kb_name, e.entry_id, highlight(entry_words, {_BODY}, ?, ?)
            FROM json_each(?) AS k
            CROSS JOIN entries e ON e.kb_name = k.value ->> 0 AND e.entry_id = k.value ->> 1
            CROSS JOIN entry_words ON entry_words.rowid = e.id
            WHERE entry_words MATCH ?""",
        (mark, mark, keys, expression(query)),
    )
    return {(kb, entry_id): _ranges(text.split(mark)) for kb, entry_id, text in rows}


def _ranges(parts: Sequence[str]) -> list[tuple[int, int]]:
    """Where every second part of a text is."""
    ranges, place = [], 0
    for number, part in enumerate(parts):
        if number % 2:
            ranges.append((place, place + len(part)))
        place += len(part)
    return ranges
