"""A hierarchical navigable small-world graph (Malkov and Yashunin 2016) over codes: usearch's.

usearch is imported by whoever makes one of these, and by nobody else: it costs a tenth of a
second, and several in a process that is the first to read it from disk.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyrite.encoders.native import import_usearch
from pyrite.neighbours.codes import CodeMatrix
from pyrite.neighbours.protocol import Ids, NeighbourOptions

if TYPE_CHECKING:
    from usearch.index import Index


class Hnsw:
    """One graph: in memory, or mapped from a file and then not to be changed."""

    def __init__(self, index: Index) -> None:
        self._index = index
        #: A search leaves its notes in the index: each must be alone with it.
        self._searching = threading.Lock()

    @classmethod
    def new(cls, dimension: int, options: NeighbourOptions) -> Hnsw:
        """An empty graph in memory."""
        return cls(
            import_usearch().Index(
                ndim=dimension,
                metric="cos",
                dtype="i8",
                connectivity=options.connectivity,
                expansion_add=options.expansion_add,
            )
        )

    @classmethod
    def mapped(cls, path: Path, options: NeighbourOptions) -> Hnsw:
        """The graph of a file, to be searched where it lies.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such graph.
        """
        # Opening is twice as fast without the table by which a number's code would be found.
        return cls(
            _restored(
                path,
                view=True,
                expansion_search=options.expansion_search,
                enable_key_lookups=False,
            )
        )

    @classmethod
    def loaded(cls, path: Path, options: NeighbourOptions) -> Hnsw:
        """The graph of a file, in memory, to be added to.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such graph.
        """
        return cls(_restored(path, view=False, expansion_add=options.expansion_add))

    @property
    def dimension(self) -> int:
        """Components of a code."""
        return int(self._index.ndim)

    def __len__(self) -> int:
        return len(self._index)

    def add(self, ids: Ids, codes: CodeMatrix, threads: int) -> None:
        """Add codes, int8, shape (n, dimension), under their numbers."""
        self._index.add(ids.astype(np.uint64), codes, threads=threads)

    def save(self, path: Path) -> None:
        """Write a file."""
        self._index.save(path)

    def nearest(self, code: CodeMatrix, count: int) -> Ids:
        """The numbers of the codes that seem nearest to one, shape (1, dimension)."""
        with self._searching:
            found = self._index.search(code, count, threads=1)
        return np.asarray(found.keys).reshape(-1).astype(np.int64)


def _restored(path: Path, *, view: bool, **options: int) -> Index:
    try:
        index: Index | None = import_usearch().Index.restore(path, view=view, **options)
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error
    if index is None:
        raise FileNotFoundError(path)
    return index
