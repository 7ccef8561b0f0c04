"""Sources of embeddings to try indexes on, and the truth about them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import numpy as np

from pyrite.neighbours.protocol import Ids, Matrix, Vector
from pyrite.storage.records import EmbeddingState
from pyrite.storage.sqlite.driver import sqlite3

MODEL = 7


class SqliteSource:
    """One table as the product has it, in memory; counts what is read."""

    def __init__(self, database_id: str = "database") -> None:
        self.database_id = database_id
        self.generation = 0
        #: How many vectors have been read, page by page and by their numbers.
        self.paged = 0
        self.picked = 0
        self._lock = threading.Lock()
        self._conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._conn.execute(
            """CREATE TABLE embeddings (id INTEGER PRIMARY KEY AUTOINCREMENT,
                                        model_id INTEGER NOT NULL, vector BLOB NOT NULL)"""
        )

    def add(self, vectors: Matrix, model_id: int = MODEL) -> list[int]:
        """Commit vectors; returns their numbers."""
        with self._lock:
            return [
                self._conn.execute(
                    "INSERT INTO embeddings (model_id, vector) VALUES (?, ?)",
                    (model_id, vector.astype("<f4").tobytes()),
                ).lastrowid
                for vector in vectors
            ]

    def delete(self, ids: Collection[int]) -> None:
        """Collect embeddings, as a deletion of unused ones does."""
        with self._lock:
            self._conn.executemany("DELETE FROM embeddings WHERE id = ?", [(id_,) for id_ in ids])
            self.generation += 1

    def embeddings_after(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        with self._lock:
            rows = self._conn.execute(
                "SELECT id, vector FROM embeddings WHERE model_id = ? AND id > ?"
                " ORDER BY id LIMIT ?",
                (model_id, after, limit),
            ).fetchall()
            self.paged += len(rows)
            return rows

    def embeddings_by_id(self, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
        with self._lock:
            wanted = ",".join(map(str, ids))
            rows = self._conn.execute(
                f"SELECT id, vector FROM embeddings WHERE model_id = ? AND id IN ({wanted})",
                (model_id,),
            ).fetchall()
            self.picked += len(rows)
            return rows[::-1]

    def embedding_state(self, model_id: int) -> EmbeddingState:
        with self._lock:
            (count,) = self._conn.execute(
                "SELECT count(*) FROM embeddings WHERE model_id = ?", (model_id,)
            ).fetchone()
            row = self._conn.execute("SELECT seq FROM sqlite_sequence").fetchone()
            return EmbeddingState(self.database_id, self.generation, count, row[0] if row else 0)


def brute_force(
    source: SqliteSource, query: Vector, limit: int, among: Collection[int] | None = None
) -> list[tuple[int, float]]:
    """The nearest embeddings, compared one by one in float64."""
    found = [
        (-float(np.frombuffer(blob, "<f4").astype(np.float64) @ query.astype(np.float64)), number)
        for number, blob in source.embeddings_after(MODEL, 0, 1_000_000)
        if among is None or number in among
    ]
    return [(number, -score) for score, number in sorted(found)[:limit]]


def random_unit(rng: np.random.Generator, count: int, dimension: int) -> Matrix:
    """Directions without structure: float32, shape (count, dimension)."""
    return normalised(rng.standard_normal((count, dimension)))


def clustered(rng: np.random.Generator, count: int, dimension: int) -> Matrix:
    """Directions as texts have them: clustered, and mostly in few dimensions."""
    latent = 24
    centres = rng.standard_normal((max(1, int(count**0.5)), latent))
    places = centres[rng.integers(0, len(centres), count)] + rng.standard_normal((count, latent))
    noise = rng.standard_normal((count, dimension))
    return normalised(places @ rng.standard_normal((latent, dimension)) + noise)


def normalised(vectors: np.ndarray) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)


def assert_same(found: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    """The same embeddings in the same order, and the same scores but for rounding."""
    assert [number for number, _ in found] == [number for number, _ in expected]
    assert np.allclose([s for _, s in found], [s for _, s in expected], rtol=0, atol=1e-9)


def as_ids(numbers: Sequence[int]) -> Ids:
    return np.array(sorted(numbers), np.int64)
