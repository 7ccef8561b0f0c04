"""Approximate nearest neighbours of many embeddings: a mapped graph, its tail, exact scores.

The graph and the codes beside it hold the embeddings up to the number at which their file was
built. They only propose: candidates are read from the storage and compared exactly, so a score
is a true cosine, and an embedding that has been deleted is passed over. What is newer than the
file, the tail, is held in memory and searched exactly: what was just committed is found.

A search that is confined to some embeddings asks the graph for so many candidates that enough
of them should be among those, and for more where they are not. It stops when it would be faster
to compare the codes of all that are allowed, and does that: at once where they are few, and
after all where they lie far from the query.
"""

from __future__ import annotations

import numpy as np

from pyrite.neighbours.codes import Codes, encoded
from pyrite.neighbours.exact import ExactIndex
from pyrite.neighbours.hnsw import Hnsw
from pyrite.neighbours.protocol import Ids, NeighbourOptions, Rows, Vector, VectorSource
from pyrite.neighbours.vectors import decoded, positions, ranked

#: In the time in which the graph finds one more candidate, so many codes are compared.
ASKED_COST = 10
#: How many times as many candidates are asked for where there were too few.
_WIDER = 4


class GraphIndex:
    """The embeddings of one model: a published graph, and the tail behind it."""

    def __init__(
        self,
        source: VectorSource,
        model_id: int,
        graph: Hnsw,
        codes: Codes,
        last_id: int,
        options: NeighbourOptions,
    ) -> None:
        """Take over a mapped graph and its codes, which reach up to ``last_id``."""
        self._source = source
        self._model_id = model_id
        self._graph = graph
        self._codes = codes
        self._options = options
        self._tail = ExactIndex(source, model_id, after=last_id)

    def __len__(self) -> int:
        return len(self._codes) + len(self._tail)

    def refresh(self) -> None:
        """Take in what has been committed since the last call."""
        self._tail.refresh()

    def search(
        self, query: Vector, limit: int, among: Ids | None = None
    ) -> list[tuple[int, float]]:
        """The nearest embeddings (number, cosine), best first, equal ones by their numbers."""
        if limit < 1:
            return []
        if query.shape != (self._graph.dimension,):
            raise ValueError(f"a query of shape {query.shape} for {self._graph.dimension} columns")
        # The tail first: what a refresh moves there meanwhile is at worst found by neither.
        newest = self._tail.search(query, limit, among)
        rows = None if among is None else positions(self._codes.ids, among)
        found = newest + self._search_graph(query, limit, rows)
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:limit]

    def _search_graph(
        self, query: Vector, limit: int, rows: Rows | None
    ) -> list[tuple[int, float]]:
        wanted = max(self._options.candidates, 2 * limit)
        while True:
            if rows is None:
                ids = self._graph.nearest(encoded(query[None])[0], wanted)
            else:
                ids = self._allowed(query, rows, wanted)
            found = self._compared(ids, query, limit)
            if len(found) == limit or len(ids) < wanted:
                return found
            # Many of the candidates have been deleted: look further down.
            wanted *= _WIDER

    def _allowed(self, query: Vector, rows: Rows, wanted: int) -> Ids:
        """The numbers of about ``wanted`` of these rows, the nearest; all, if they are fewer."""
        asked = wanted * len(self._codes) // max(1, len(rows))
        allowed = self._codes.ids[rows]
        while asked * ASKED_COST <= len(rows):
            ids = self._graph.nearest(encoded(query[None])[0], asked)
            kept = allowed[positions(allowed, np.sort(ids))]
            if len(kept) >= wanted:
                return kept
            asked *= _WIDER
        return self._codes.nearest(query, rows, wanted)

    def _compared(self, ids: Ids, query: Vector, limit: int) -> list[tuple[int, float]]:
        """The nearest of these that still exist, by their exact cosines."""
        rows = self._source.embeddings_by_id(self._model_id, ids.tolist())
        return ranked(*decoded(rows), query, limit) if rows else []
