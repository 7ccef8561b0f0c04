"""The entries nearest to a vector, by the passages that the neighbour index finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyrite.neighbours.opening import open_index
from pyrite.neighbours.protocol import NeighbourOptions
from pyrite.storage.protocol import EVERYTHING
from pyrite.storage.records import Key

if TYPE_CHECKING:
    from actors.messages import Vector
    from pyrite.config.settings import Settings
    from pyrite.neighbours.protocol import Ids, NeighbourIndex
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import Filters, Model, Passage

#: Several passages of one entry may be near: so many times more passages than entries are
#: looked at first.
_PASSAGES_PER_ENTRY = 3
_WIDER = 4


@dataclass(frozen=True, slots=True)
class SimilarPassage:
    """A passage near a vector."""

    #: Cosine similarity, from -1 to 1.
    score: float
    passage: Passage


class NearestEntries:
    """The passages of one model in a storage, and an index of their vectors."""

    def __init__(self, storage: Storage, model: Model, index: NeighbourIndex) -> None:
        self.model = model
        self._storage = storage
        self._index = index

    def refresh(self) -> int:
        """Take in what has been committed since the last call; how many vectors there are."""
        self._index.refresh()
        return len(self._index)

    def nearest(
        self, vector: Vector, filters: Filters, entries: int, *, besides: Key | None = None
    ) -> dict[Key, list[SimilarPassage]]:
        """The entries with the nearest passages, each with those that were found, best first.

        Args:
            vector: float32, shape (dimension,), unit length.
            filters: only entries that are meant by them.
            entries: how many at most; fewer only if there are no more.
            besides: an entry to leave out.
        """
        among = self._among(filters)
        wanted = entries * _PASSAGES_PER_ENTRY
        while True:
            found = self._index.search(vector, wanted, among)
            nearest = dict(list(self._by_entry(found, filters, besides).items())[:entries])
            if len(found) < wanted or (len(nearest) == entries and _apart(nearest, found[-1][1])):
                return nearest
            # Several of the nearest are of one entry, or of a text that no entry has any more.
            wanted *= _WIDER

    def _among(self, filters: Filters) -> Ids | None:
        """The vectors that the filters leave, or None where that is all of them."""
        if filters == EVERYTHING:
            return None
        if filters.whole_kbs and {kb.name for kb in self._storage.kbs()} <= set(filters.kbs):
            return None
        return np.array(self._storage.embedding_ids(self.model.model_id, filters), np.int64)

    def _by_entry(
        self, found: Iterable[tuple[int, float]], filters: Filters, besides: Key | None
    ) -> dict[Key, list[SimilarPassage]]:
        scores = dict(found)
        nearest: dict[Key, list[SimilarPassage]] = {}
        for near in sorted(self._near(scores, filters), key=_order):
            key = near.passage.kb, near.passage.entry_id
            if key != besides:
                nearest.setdefault(key, []).append(near)
        return nearest

    def _near(self, scores: dict[int, float], filters: Filters) -> Iterator[SimilarPassage]:
        for passage in self._storage.passages(scores, filters):
            yield SimilarPassage(scores[passage.embedding_id], passage)


def open_nearest_entries(storage: Storage, model: Model, settings: Settings) -> NearestEntries:
    """The passages of a model, with the index that the settings ask for."""
    index = open_index(storage, model.model_id, settings.graphs_path, graph_options(settings))
    return NearestEntries(storage, model, index)


def graph_options(settings: Settings) -> NeighbourOptions:
    """What the settings say of the index."""
    return NeighbourOptions(exact_limit=settings.exact_vectors)


def _apart(nearest: dict[Key, list[SimilarPassage]], last: float) -> bool:
    """Whether the last of these entries is nearer than the last passage that was looked at.

    Of passages as near as that one there may be more, some of them of entries that go first.
    """
    return min(near[0].score for near in nearest.values()) > last


def _order(near: SimilarPassage) -> tuple[float, str, str, int]:
    passage = near.passage
    return -near.score, passage.kb, passage.entry_id, passage.ordinal
