"""Exact nearest neighbours: one matrix in memory, compared with row by row.

Vectors have unit length, so the matrix times a vector is every cosine. A search takes no
lock: it works on what the last refresh has left, which later ones only add to.
"""

from __future__ import annotations

import threading

from pyrite.neighbours.protocol import Ids, Rows, Vector, VectorSource
from pyrite.neighbours.vectors import (
    NumberedVectors,
    by_chunks,
    decoded,
    highest,
    positions,
    products,
    ranked,
)
from pyrite.storage.records import EmbeddingState

#: Embeddings read at a time.
PAGE = 4096
#: Gathering a row costs about as much as multiplying so many where they lie.
GATHER_COST = 4


class ExactIndex:
    """All embeddings of one model, or those numbered above ``after``."""

    def __init__(self, source: VectorSource, model_id: int, after: int = 0) -> None:
        self._source = source
        self._model_id = model_id
        self._after = after
        self._refreshing = threading.Lock()
        #: Database and generation that the vectors are of.
        self._version: tuple[str, int] | None = None
        self._vectors = NumberedVectors.none()
        #: The number up to which everything has been read.
        self._through = after

    def __len__(self) -> int:
        return len(self._vectors)

    def refresh(self) -> None:
        """Take in what has been committed since the last call; all anew after a deletion."""
        with self._refreshing:
            state = self._source.embedding_state(self._model_id)
            version = (state.database_id, state.generation)
            if version != self._version:
                self._through = self._after
                self._vectors = self._plus_newer(NumberedVectors.none(), state)
            elif self._through < state.last_id:
                self._vectors = self._plus_newer(self._vectors, state)
            self._version = version

    def _plus_newer(self, vectors: NumberedVectors, state: EmbeddingState) -> NumberedVectors:
        """These and all that have been committed since."""
        while rows := self._source.embeddings_after(self._model_id, self._through, PAGE):
            ids, more = decoded(rows)
            if not len(vectors) and not self._after and state.count > len(rows):
                vectors = vectors.with_room(state.count, more.shape[1])
            vectors = vectors.plus(ids, more)
            self._through = int(ids[-1])
        # Numbers up to this may have been other models', or are not used any more.
        self._through = max(self._through, state.last_id)
        return vectors

    def search(
        self, query: Vector, limit: int, among: Ids | None = None
    ) -> list[tuple[int, float]]:
        """The nearest embeddings (number, cosine), best first, equal ones by their numbers."""
        vectors = self._vectors
        rows = None if among is None else positions(vectors.ids, among)
        if limit < 1 or not len(vectors) or (rows is not None and not len(rows)):
            return []
        best = nearest_rows(vectors, query, limit, rows)
        return ranked(vectors.ids[best], vectors.matrix[best], query, limit)


def nearest_rows(vectors: NumberedVectors, query: Vector, limit: int, rows: Rows | None) -> Rows:
    """The rows of the highest products, in no order, and those too close to tell."""
    matrix = vectors.matrix
    if rows is None:
        return highest(products(matrix, query), limit)
    if len(rows) * GATHER_COST < len(matrix):
        scores = by_chunks(rows, lambda part: products(matrix[part], query))
    else:
        scores = products(matrix, query)[rows]
    return rows[highest(scores, limit)]
