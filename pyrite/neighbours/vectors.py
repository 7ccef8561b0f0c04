"""Arrays of numbered vectors, and the ranking that every index ends with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pyrite.neighbours.protocol import Ids, Matrix, Rows, Vector

#: Rows that are gathered at a time, so that a large selection needs no second matrix.
CHUNK = 8192
#: No float32 product of unit vectors is further than this from the true cosine.
SLACK = 2e-6
#: OpenBLAS multiplies matrices with fewer elements than 9,216 without other threads.
_ONE_THREAD = 9_000

#: float32, shape (n,).
Scores: TypeAlias = npt.NDArray[np.float32]


class NumberedVectors:
    """Vectors in order of their numbers; grows, and what was seen of it never changes."""

    def __init__(self, ids: Ids, matrix: Matrix, count: int) -> None:
        #: int64, shape (room,), and float32, shape (room, dimension).
        self._ids, self._matrix = ids, matrix
        self.ids = ids[:count]
        self.matrix = matrix[:count]

    @classmethod
    def none(cls) -> NumberedVectors:
        """Without any, and of no dimension yet."""
        return cls(np.empty(0, np.int64), np.empty((0, 0), np.float32), 0)

    def __len__(self) -> int:
        return len(self.ids)

    def with_room(self, room: int, dimension: int) -> NumberedVectors:
        """The same, with space for so many in all."""
        count = len(self)
        ids = np.empty(room, np.int64)
        matrix = np.empty((room, dimension), np.float32)
        if count:
            ids[:count], matrix[:count] = self.ids, self.matrix
        return NumberedVectors(ids, matrix, count)

    def plus(self, ids: Ids, vectors: Matrix) -> NumberedVectors:
        """These and more, whose numbers are larger.

        The space behind the last row is shared, so only the newest of a chain may be continued.
        """
        count, total = len(self), len(self) + len(ids)
        if total > len(self._ids):
            room = max(total, count + count // 2)
            return self.with_room(room, vectors.shape[1]).plus(ids, vectors)
        self._ids[count:total] = ids
        self._matrix[count:total] = vectors
        return NumberedVectors(self._ids, self._matrix, total)


def decoded(rows: Sequence[tuple[int, bytes]]) -> tuple[Ids, Matrix]:
    """Stored embeddings as arrays: int64, shape (n,), and float32, shape (n, dimension)."""
    ids = np.fromiter((number for number, _ in rows), np.int64, len(rows))
    vectors = np.frombuffer(b"".join([blob for _, blob in rows]), "<f4")
    return ids, vectors.reshape(len(rows), -1) if rows else vectors.reshape(0, 0)


def positions(ids: Ids, wanted: Ids) -> Rows:
    """Where those of ``wanted`` that there are stand in ``ids``; both in order."""
    if not len(ids):
        return np.empty(0, np.intp)
    places = np.searchsorted(ids, wanted)
    there = ids[np.minimum(places, len(ids) - 1)] == wanted
    found: Rows = places[there]
    return found


def products(matrix: Matrix, query: Vector) -> Scores:
    """Each row times the query: float32, shape (n,).

    As many small products, each of which BLAS makes in the calling thread. It would share a
    large one out to all cores and wait for the last: with an encoder busy on them, 10,000 rows
    of 384 took 15 ms instead of 1.6.
    """
    block = max(1, _ONE_THREAD // max(1, matrix.shape[1]))
    whole = len(matrix) // block * block
    scores = np.empty(len(matrix), np.float32)
    blocks = matrix[:whole].reshape(-1, block, matrix.shape[1])
    np.matmul(blocks, query, out=scores[:whole].reshape(-1, block))
    np.matmul(matrix[whole:], query, out=scores[whole:])
    return scores


def by_chunks(rows: Rows, product: Callable[[Rows], Scores]) -> Scores:
    """The products of many rows, some at a time: float32, shape (rows,)."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), CHUNK):
        scores[start : start + CHUNK] = product(rows[start : start + CHUNK])
    return scores


def highest(scores: Scores, count: int) -> Rows:
    """Where the ``count`` highest scores are, in no order, and those too close to tell."""
    if count >= len(scores):
        return np.arange(len(scores))
    last = len(scores) - count
    cut = np.partition(scores, last)[last]
    return np.flatnonzero(scores >= cut - SLACK)


def ranked(ids: Ids, vectors: Matrix, query: Vector, limit: int) -> list[tuple[int, float]]:
    """The nearest of some vectors, best first, equal ones by their numbers.

    The products are summed row by row in float64, so a vector has the same score whichever
    index found it and whatever stood beside it; a matrix product promises neither.
    """
    scores = np.einsum("ij,j->i", vectors.astype(np.float64), query.astype(np.float64))
    order = np.lexsort((ids, -scores))[:limit]
    return list(zip(ids[order].tolist(), scores[order].tolist(), strict=True))
