"""What the indexes need from a storage, and what they offer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pyrite.storage.records import EmbeddingState

#: Numbers of embeddings, shape (n,); in order where they confine a search.
Ids: TypeAlias = npt.NDArray[np.int64]
#: One vector, shape (dimension,), of unit length.
Vector: TypeAlias = npt.NDArray[np.float32]
#: Vectors in rows, shape (n, dimension).
Matrix: TypeAlias = npt.NDArray[np.float32]
#: Positions in an array.
Rows: TypeAlias = npt.NDArray[np.intp]


class VectorSource(Protocol):
    """Where embeddings are kept.

    A number names one vector for ever, and later embeddings have larger numbers: whoever
    remembers the largest number it has seen can ask for what is new. Embeddings may be deleted;
    the model's generation tells that some were.
    """

    def embeddings_after(self, model_id: int, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Embeddings (number, float32 little-endian) with larger numbers, in their order."""
        ...

    def embeddings_by_id(self, model_id: int, ids: Collection[int]) -> list[tuple[int, bytes]]:
        """Those of the embeddings that there are, in any order."""
        ...

    def embedding_state(self, model_id: int) -> EmbeddingState:
        """What a copy of a model's vectors has to agree with."""
        ...


class NeighbourIndex(Protocol):
    """Finds the embeddings nearest to a vector.

    May be used from several threads at once: a search sees the index as one of the refreshes
    before it has left it, never half of one.
    """

    def refresh(self) -> None:
        """Take in what has been committed since the last call."""
        ...

    def __len__(self) -> int:
        """How many embeddings it holds; some may have been deleted since."""
        ...

    def search(
        self, query: Vector, limit: int, among: Ids | None = None
    ) -> list[tuple[int, float]]:
        """The nearest embeddings (number, cosine), best first, equal ones by their numbers.

        Args:
            query: float32, shape (dimension,), unit length.
            limit: how many at most.
            among: int64, in order: only these. A full page is found among them, however many
                others are nearer.

        Raises:
            ValueError: the query has another dimension than the embeddings.
        """
        ...


@dataclass(frozen=True, slots=True)
class NeighbourOptions:
    """When there is a graph, and how it is built and searched."""

    #: Up to so many embeddings are compared one by one, from memory.
    exact_limit: int = 50_000
    #: A graph is extended when more than so many embeddings are not in it,
    tail_limit: int = 10_000
    #: and more than this share of all.
    tail_share: float = 0.05
    #: A graph is built anew when more than this share of its embeddings have been deleted.
    gone_share: float = 0.2
    #: HNSW's M: edges from each node. A graph keeps the one it was begun with.
    connectivity: int = 24
    #: HNSW's efConstruction: candidates weighed for each new node's edges.
    expansion_add: int = 128
    #: HNSW's ef: the least number of candidates kept while searching. With half as many, recall
    #: at a million vectors was 0.983; with as many as this 0.994, in about the same time.
    expansion_search: int = 512
    #: The least number of candidates that are compared exactly.
    candidates: int = 100
    #: Threads that build; a build leaves the other cores to the service.
    threads: int = 2
    #: Vectors added between two looks at whether to go on.
    page: int = 1024


DEFAULTS = NeighbourOptions()
