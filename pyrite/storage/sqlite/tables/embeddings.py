"""SQL over embeddings, the chunks that use them, and the models that made them.

An embedding is stored once for each text, under the text's hash, and outlives the entries
that use it: a text that comes back costs nothing. What nobody has used for long is collected.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from actors.messages import Claim, Encoded
from pyrite.storage.records import EmbeddingState, Model
from pyrite.storage.sqlite.driver import sqlite3

#: SQLite's bound on the variables of one statement is far above this.
_MOST_VARIABLES = 500

#: One encoder for all rows: json.dumps would make a new one for each.
_encode = json.JSONEncoder(ensure_ascii=False).encode

_MODEL = "SELECT id, fingerprint, name FROM models"


def model(conn: sqlite3.Connection, fingerprint: str) -> Model | None:
    """The model of that fingerprint, if it has been used."""
    row = conn.execute(f"{_MODEL} WHERE fingerprint = ?", (fingerprint,)).fetchone()
    return None if row is None else Model(*row)


def add_model(conn: sqlite3.Connection, fingerprint: str, name: str) -> Model:
    """Store a model, or its new name."""
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
    return [Model(*row) for row in conn.execute(f"{_MODEL} ORDER BY id")]


def known(conn: sqlite3.Connection, model_id: int, digests: Collection[bytes]) -> dict[bytes, int]:
    """Which of these texts have been encoded with that model, and their embeddings' numbers."""
    wanted = list(digests)
    found: dict[bytes, int] = {}
    for start in range(0, len(wanted), _MOST_VARIABLES):
        part = wanted[start : start + _MOST_VARIABLES]
        marks = ", ".join("?" * len(part))
        rows = conn.execute(
            f"SELECT digest, id FROM embeddings WHERE model_id = ? AND digest IN ({marks})",
            (model_id, *part),
        )
        found.update(dict(rows))
    return found


def store(conn: sqlite3.Connection, model_id: int, encoded: Sequence[Encoded]) -> None:
    """Write embeddings; what is there already stays, but for what was to be encoded afresh."""
    # Of pieces with one text, that of the claim that is most to be encoded afresh.
    by_claim = sorted(encoded, key=lambda each: each.piece.claim.renew_through)
    given = {each.piece.chunk.digest: each for each in by_claim}
    replaced = 0
    for digest, number in known(conn, model_id, given).items():
        again = given.pop(digest)
        if number <= again.piece.claim.renew_through:
            _replace(conn, number, _bytes(again))
            replaced += 1
    if replaced:
        _raise_generation(conn, model_id)
    _insert(conn, model_id, [(digest, _bytes(each)) for digest, each in given.items()])


def _bytes(encoded: Encoded) -> bytes:
    return encoded.vector.astype("<f4").tobytes()


def _insert(
    conn: sqlite3.Connection, model_id: int, vectors: Sequence[tuple[bytes, bytes]]
) -> None:
    conn.executemany(
        "INSERT INTO embeddings (model_id, digest, vector) VALUES (?, ?, ?)",
        ((model_id, digest, vector) for digest, vector in vectors),
    )


def _replace(conn: sqlite3.Connection, number: int, vector: bytes) -> None:
    """Store another vector for a text, under a number of its own."""
    model_id, digest = conn.execute(
        "SELECT model_id, digest FROM embeddings WHERE id = ?", (number,)
    ).fetchone()
    # Out of the way, and gone in a moment: a text has one embedding.
    conn.execute("UPDATE embeddings SET digest = randomblob(32) WHERE id = ?", (number,))
    fresh = conn.execute(
        "INSERT INTO embeddings (model_id, digest, vector) VALUES (?, ?, ?)",
        (model_id, digest, vector),
    ).lastrowid
    conn.execute("UPDATE chunks SET embedding_id = ? WHERE embedding_id = ?", (fresh, number))
    conn.execute("DELETE FROM embeddings WHERE id = ?", (number,))


def _raise_generation(conn: sqlite3.Connection, model_id: int) -> None:
    """Let those who keep a copy of the vectors know that some are gone."""
    conn.execute("UPDATE models SET generation = generation + 1 WHERE id = ?", (model_id,))


def link(conn: sqlite3.Connection, model_id: int, claims: Sequence[Claim]) -> None:
    """Make the chunks of each claim its entry's present ones."""
    numbers = known(conn, model_id, {span.digest for claim in claims for span in claim.layout})
    conn.executemany(
        "DELETE FROM chunks WHERE kb_name = ? AND entry_id = ?",
        ((claim.kb, claim.entry_id) for claim in claims),
    )
    conn.executemany(
        """INSERT INTO chunks (kb_name, entry_id, ordinal, model_id, embedding_id,
                               start, end, revision, headings)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            (
                *(claim.kb, claim.entry_id, ordinal, model_id, numbers[span.digest]),
                *(span.start, span.end, claim.revision, _encode(span.headings)),
            )
            for claim in claims
            for ordinal, span in enumerate(claim.layout)
        ),
    )
    conn.execute(
        "DELETE FROM unused_embeddings WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(numbers.values())),),
    )


def state(conn: sqlite3.Connection, model_id: int) -> EmbeddingState:
    """What a copy of the model's vectors has to agree with."""
    row = conn.execute(
        """SELECT (SELECT database_id FROM identity), generation, embeddings,
                  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'embeddings'), 0)
           FROM models WHERE id = ?""",
        (model_id,),
    ).fetchone()
    return EmbeddingState(*row)


def after(
    conn: sqlite3.Connection, model_id: int, after: int, limit: int
) -> list[tuple[int, bytes]]:
    """Embeddings with larger numbers, in their order."""
    return conn.execute(
        "SELECT id, vector FROM embeddings NOT INDEXED"
        " WHERE id > ? AND model_id = ? ORDER BY id LIMIT ?",
        (after, model_id, limit),
    ).fetchall()


def by_id(conn: sqlite3.Connection, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
    """Those of the embeddings that there are, in order of their numbers."""
    return conn.execute(
        """SELECT e.id, e.vector FROM json_each(?) wanted
           CROSS JOIN embeddings e ON e.id = wanted.value WHERE e.model_id = ? ORDER BY e.id""",
        (json.dumps(sorted(set(ids))), model_id),
    ).fetchall()


def cached(
    conn: sqlite3.Connection, model_id: int, after: int, limit: int
) -> list[tuple[int, bytes, bytes]]:
    """Embeddings with larger numbers and the hashes of their texts."""
    return conn.execute(
        "SELECT id, digest, vector FROM embeddings NOT INDEXED"
        " WHERE id > ? AND model_id = ? ORDER BY id LIMIT ?",
        (after, model_id, limit),
    ).fetchall()


def add_cached(
    conn: sqlite3.Connection, model_id: int, vectors: Sequence[tuple[bytes, bytes]]
) -> int:
    """Take in embeddings; what is there already stays as it is."""
    given = dict(vectors)
    for digest in known(conn, model_id, given):
        del given[digest]
    _insert(conn, model_id, list(given.items()))
    return len(given)


def collected_at(conn: sqlite3.Connection) -> float:
    """When unused embeddings were last looked for, in whole seconds."""
    (at,) = conn.execute("SELECT value FROM sequences WHERE name = 'collected_at'").fetchone()
    return float(at)


def unused(conn: sqlite3.Connection) -> list[int]:
    """Embeddings that no chunk uses, other than those that are known for it."""
    # The hash's index holds the numbers, too: no vector is read.
    rows = conn.execute(
        """SELECT id FROM embeddings AS e
           WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE embedding_id = e.id)
             AND NOT EXISTS (SELECT 1 FROM unused_embeddings u WHERE u.id = e.id)"""
    )
    return [row[0] for row in rows]


def mark_unused(conn: sqlite3.Connection, ids: Collection[int], *, now: float) -> None:
    """Note since when embeddings have not been used; :func:`link` forgets it."""
    conn.executemany(
        """INSERT INTO unused_embeddings SELECT id, ? FROM embeddings AS e
           WHERE id = ? AND NOT EXISTS (SELECT 1 FROM chunks WHERE embedding_id = e.id)
           ON CONFLICT DO NOTHING""",
        ((now, number) for number in ids),
    )
    conn.execute("UPDATE sequences SET value = ? WHERE name = 'collected_at'", (int(now),))


def collect(conn: sqlite3.Connection, *, before: float, limit: int) -> int:
    """Delete some of the embeddings that have not been used since; returns how many.

    None, while any entry is being embedded: its worker may be about to use what it found.
    """
    busy = conn.execute("SELECT 1 FROM embed_queue WHERE status = 'processing' LIMIT 1").fetchone()
    if busy:
        return 0
    rows = conn.execute(
        """SELECT u.id, e.model_id FROM unused_embeddings u JOIN embeddings e USING (id)
           WHERE since <= ? AND NOT EXISTS (SELECT 1 FROM chunks WHERE embedding_id = u.id)
           LIMIT ?""",
        (before, limit),
    ).fetchall()
    conn.executemany("DELETE FROM embeddings WHERE id = ?", ((number,) for number, _ in rows))
    for model_id in {model_id for _, model_id in rows}:
        _raise_generation(conn, model_id)
    return len(rows)
