"""The index that fits what there is: exact while that is fast, a graph beyond."""

from __future__ import annotations

import threading
from pathlib import Path

from pyrite.neighbours.codes import Codes
from pyrite.neighbours.dimension import dimension_of
from pyrite.neighbours.exact import ExactIndex
from pyrite.neighbours.files import GraphFile, GraphFolder, GraphState
from pyrite.neighbours.graph import GraphIndex
from pyrite.neighbours.hnsw import Hnsw
from pyrite.neighbours.protocol import (
    DEFAULTS,
    Ids,
    NeighbourIndex,
    NeighbourOptions,
    Vector,
    VectorSource,
)
from pyrite.storage.records import EmbeddingState


class AutoIndex:
    """The embeddings of one model, in whichever index suits them at the last refresh."""

    def __init__(
        self, source: VectorSource, model_id: int, folder: Path, options: NeighbourOptions
    ) -> None:
        self._source = source
        self._model_id = model_id
        self._graphs = GraphFolder(folder)
        self._options = options
        self._refreshing = threading.Lock()
        #: What the present index was chosen by.
        self._chosen_by: object = None
        self._index: NeighbourIndex = ExactIndex(source, model_id)
        #: The graph's state when its files were last read; None while none is needed.
        self.graph_state: GraphState | None = None

    @property
    def is_exact(self) -> bool:
        """Whether every embedding is compared with."""
        return isinstance(self._index, ExactIndex)

    def __len__(self) -> int:
        return len(self._index)

    def refresh(self) -> None:
        """Take in what has been committed, and a graph that has been published, since."""
        with self._refreshing:
            state = self._source.embedding_state(self._model_id)
            large = state.count > self._options.exact_limit
            stamp = self._graphs.stamp(self._model_id) if large else None
            by = (state.database_id, large, stamp)
            if by == self._chosen_by:
                self._index.refresh()
                return
            index: NeighbourIndex | None = self._graph_index(state) if large else None
            if index is None:
                # A matrix that is there already need not be read again.
                index = self._index if self.is_exact else ExactIndex(self._source, self._model_id)
            if not large:
                self.graph_state = None
            index.refresh()
            self._index, self._chosen_by = index, by

    def search(
        self, query: Vector, limit: int, among: Ids | None = None
    ) -> list[tuple[int, float]]:
        """The nearest embeddings (number, cosine), best first, equal ones by their numbers."""
        return self._index.search(query, limit, among)

    def _graph_index(self, state: EmbeddingState) -> GraphIndex | None:
        """The published graph, or None where there is none that can be used."""
        dimension = dimension_of(self._source, self._model_id)
        if dimension is None:
            return None
        while True:
            stamp = self._graphs.stamp(self._model_id)
            found = self._graphs.find(self._model_id, state.database_id, dimension)
            self.graph_state = found.state
            if found.file is not None:
                try:
                    return self._opened(found.file)
                except (OSError, ValueError):
                    self.graph_state = GraphState.DAMAGED
            if stamp == self._graphs.stamp(self._model_id):
                return None
            # Another has been published, and the files of this one removed meanwhile.

    def _opened(self, file: GraphFile) -> GraphIndex:
        codes = Codes(self._graphs.path / file.codes.name, file.count, file.dimension)
        graph = Hnsw.mapped(self._graphs.path / file.graph.name, self._options)
        if (graph.dimension, len(graph)) != (file.dimension, file.count):
            raise ValueError(f"{file.graph.name} is not the graph that its description says")
        return GraphIndex(self._source, self._model_id, graph, codes, file.last_id, self._options)


def open_index(
    source: VectorSource,
    model_id: int,
    folder: Path,
    options: NeighbourOptions = DEFAULTS,
) -> AutoIndex:
    """An index over a model's embeddings, up to date; it stays so by ``refresh()``.

    Args:
        source: where the embeddings are.
        model_id: the model.
        folder: the folder of graphs; need not exist.
        options: up to how many embeddings all are compared, and how a graph is searched.
    """
    index = AutoIndex(source, model_id, folder, options)
    index.refresh()
    return index


def inspect_graph(source: VectorSource, model_id: int, folder: Path) -> GraphState:
    """The state of a model's graph, read to the last byte."""
    dimension = dimension_of(source, model_id)
    if dimension is None:
        return GraphState.MISSING
    state = source.embedding_state(model_id)
    found = GraphFolder(folder).find(model_id, state.database_id, dimension, full=True)
    return found.state
