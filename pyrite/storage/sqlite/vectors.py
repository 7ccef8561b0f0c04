"""SQL over embeddings, the chunks that use them, and the models that made them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from actors.messages import Claim, Encoded
from pyrite.storage.driver import sqlite3
from pyrite.storage.records import Model, Passage, PassageChanges
from pyrite.storage.sqlite import feed

_PASSAGES = """
    SELECT c.kb_name, c.entry_id, c.ordinal, c.start, c.end, c.revision, e.vector
    FROM chunks c JOIN embeddings e USING (model_id, digest)
"""
#: SQLite's bound on the variables of one statement is far above this.
_MOST_VARIABLES = 500


def model(conn: sqlite3.Connection, fingerprint: str) -> Model | None:
    """The model of that fingerprint, if it has been used."""
    row = conn.execute("SELECT * FROM models WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return None if row is None else Model(*row)


def add_model(conn: sqlite3.Connection, fingerprint: str, name: str) -> Model:
    """Enter a model, or the name that it goes by now."""
    conn.execute(
        "INSERT INTO models (fingerprint, name) VALUES (?, ?)"
        " ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name",
        (fingerprint, name),
    )
    added = model(conn, fingerprint)
    assert added is not None
    return added


def models(conn: sqlite3.Connection) -> list[Model]:
    """All models that have been used."""
    return [Model(*row) for row in conn.execute("SELECT * FROM models ORDER BY id")]


def known(conn: sqlite3.Connection, model_id: int, digests: Collection[bytes]) -> set[bytes]:
    """Which of these texts have been encoded with that model."""
    wanted = list(digests)
    found: set[bytes] = set()
    for start in range(0, len(wanted), _MOST_VARIABLES):
        part = wanted[start : start + _MOST_VARIABLES]
        marks = ", ".join("?" * len(part))
        found.update(
            row[0]
            for row in conn.execute(
                f"SELECT digest FROM embeddings WHERE model_id = ? AND digest IN ({marks})",
                (model_id, *part),
            )
        )
    return found


def store(conn: sqlite3.Connection, model_id: int, encoded: Sequence[Encoded]) -> None:
    """Write embeddings; one that is there already is overwritten."""
    conn.executemany(
        """INSERT INTO embeddings (model_id, digest, vector) VALUES (?, ?, ?)
           ON CONFLICT (model_id, digest) DO UPDATE SET vector = excluded.vector""",
        (
            (model_id, each.piece.chunk.digest, each.vector.astype("<f4").tobytes())
            for each in encoded
        ),
    )


def link(conn: sqlite3.Connection, model_id: int, claims: Sequence[Claim]) -> None:
    """Make the chunks of each claim its entry's present ones."""
    conn.executemany(
        "DELETE FROM chunks WHERE kb_name = ? AND entry_id = ?",
        ((claim.kb, claim.entry_id) for claim in claims),
    )
    conn.executemany(
        "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(claim.kb, claim.entry_id, ordinal, model_id),
                *(span.digest, span.start, span.end, claim.revision),
            )
            for claim in claims
            for ordinal, span in enumerate(claim.layout)
        ),
    )


def embeddings(conn: sqlite3.Connection, kb: str, entry_id: str) -> list[tuple[Passage, bytes]]:
    """An entry's passages in order, each with its embedding."""
    rows = conn.execute(
        f"{_PASSAGES} WHERE c.kb_name = ? AND c.entry_id = ? ORDER BY c.ordinal", (kb, entry_id)
    )
    return list(_passages(rows))


def passages_since(conn: sqlite3.Connection, model_id: int, seq: int | None) -> PassageChanges:
    """What changed after ``seq``, within one transaction of the caller's."""
    last = feed.last_seq(conn)
    oldest = conn.execute("SELECT min(seq) FROM events").fetchone()[0]
    gap = seq is None or (seq < last and (oldest is None or oldest > seq + 1))
    removed = (
        gap
        or conn.execute(
            "SELECT 1 FROM events WHERE seq > ? AND type = ?", (seq, feed.KB_REMOVED)
        ).fetchone()
    )
    if removed:
        rows = conn.execute(f"{_PASSAGES} WHERE c.model_id = ?", (model_id,)).fetchall()
        return PassageChanges(last, True, (), _passages(rows))
    touched = conn.execute(
        "SELECT DISTINCT kb_name, entry_id FROM events WHERE seq > ? AND type IN (?, ?)",
        (seq, feed.EMBED_COMPLETE, feed.ENTRY_DELETED),
    ).fetchall()
    rows = []
    for kb, entry_id in touched:
        rows += conn.execute(
            f"{_PASSAGES} WHERE c.kb_name = ? AND c.entry_id = ? AND c.model_id = ?",
            (kb, entry_id, model_id),
        )
    return PassageChanges(last, False, tuple(map(tuple, touched)), _passages(rows))


def _passages(rows: Iterable[tuple[Any, ...]]) -> tuple[tuple[Passage, bytes], ...]:
    return tuple((Passage(*row[:6]), row[6]) for row in rows)
