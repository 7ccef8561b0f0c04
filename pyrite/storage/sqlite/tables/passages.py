"""SQL over passages: which chunks of which entries an embedding serves."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from pyrite.storage.protocol import EVERYTHING
from pyrite.storage.records import Filters, Key, Passage
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables.filters import condition

_COLUMNS = """
    c.kb_name, c.entry_id, c.ordinal, c.start, c.end, c.revision, c.headings, c.embedding_id
"""


def of_entry(conn: sqlite3.Connection, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
    """An entry's passages in order, each with its embedding."""
    rows = conn.execute(
        f"""SELECT {_COLUMNS}, v.vector FROM chunks c JOIN embeddings v ON v.id = c.embedding_id
            WHERE c.kb_name = ? AND c.entry_id = ? ORDER BY c.ordinal""",
        (kb, entry_id),
    )
    return [(_passage(row), row[-1]) for row in rows]


def layouts(conn: sqlite3.Connection, keys: str, model_id: int) -> dict[Key, list[Passage]]:
    """The passages that a model made of entries, in order, given their keys as JSON."""
    rows = conn.execute(
        f"""SELECT {_COLUMNS}
            FROM json_each(?) AS k
            CROSS JOIN chunks c ON c.kb_name = k.value ->> 0 AND c.entry_id = k.value ->> 1
            WHERE c.model_id = ? ORDER BY k.key, c.ordinal""",
        (keys, model_id),
    )
    found: dict[Key, list[Passage]] = {}
    for row in rows:
        found.setdefault((row[0], row[1]), []).append(_passage(row))
    return found


def serving(
    conn: sqlite3.Connection, ids: Collection[int], filters: Filters = EVERYTHING
) -> list[Passage]:
    """The passages of such entries that these embeddings serve."""
    where, values = condition(filters)
    rows: Iterable[tuple[Any, ...]] = conn.execute(
        f"""SELECT {_COLUMNS}
            FROM json_each(?) wanted
            CROSS JOIN chunks c INDEXED BY chunk_embeddings ON c.embedding_id = wanted.value
            JOIN entries e ON (e.kb_name, e.entry_id) = (c.kb_name, c.entry_id)
            WHERE {where}""",
        (json.dumps(sorted(set(ids))), *values),
    )
    return [_passage(row) for row in rows]


def embedding_ids(conn: sqlite3.Connection, model_id: int, filters: Filters) -> list[int]:
    """The numbers of the embeddings that serve such entries, in order."""
    where, values = condition(filters)
    rows = conn.execute(
        f"""SELECT DISTINCT c.embedding_id
            FROM entries e JOIN chunks c ON (c.kb_name, c.entry_id) = (e.kb_name, e.entry_id)
            WHERE c.model_id = ? AND {where} ORDER BY c.embedding_id""",
        (model_id, *values),
    )
    return [row[0] for row in rows]


def _passage(row: tuple[Any, ...]) -> Passage:
    kb, entry_id, ordinal, start, end, revision, headings, embedding_id, *_ = row
    path = tuple(json.loads(headings))
    return Passage(kb, entry_id, ordinal, start, end, revision, path, embedding_id)
