"""Related entries: the nearest neighbours of an entry's own passages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from pyrite.errors import NotFoundError
from pyrite.knowledge.filters import check_filters
from pyrite.search.excerpts import Excerpt, excerpt
from pyrite.search.freshness import Freshness, Pending, freshness_of, pending
from pyrite.search.pages import views
from pyrite.search.query import check_page
from pyrite.search.ranking import ranked
from pyrite.storage.records import Key

if TYPE_CHECKING:
    from actors.messages import Vector
    from pyrite.neighbours.entries import NearestEntries, SimilarPassage
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import EntryView, Filters

#: Two entries are as near as these many of their passages are on average: one boilerplate
#: passage in common does not make them related.
PASSAGES = 3

#: Of a longer entry, so many passages, evenly spread, speak for it.
_MOST_PASSAGES = 64

#: So many entries, at least, are looked at around each passage.
_POOL = 50


@dataclass(frozen=True, slots=True)
class RelatedHit:
    """An entry near another one."""

    kb: str
    id: str
    title: str
    #: Mean cosine similarity of the nearest pairs of passages, from -1 to 1.
    score: float
    #: The passage that is nearest to one of the other entry's.
    passage: Excerpt
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class RelatedResult:
    """The answer to a request for related entries."""

    kb: str
    id: str
    #: Whether the entry's own embedding is of its present text.
    embedded: Freshness
    hits: tuple[RelatedHit, ...]
    freshness: Pending


def related(
    storage: Storage,
    index: NearestEntries,
    key: Key,
    filters: Filters,
    limit: int = 10,
    clock: Callable[[], float] = time.time,
) -> RelatedResult:
    """The entries nearest to one, best first, itself left out; loads no model.

    Raises:
        NotFoundError: there is no such entry.
        InvalidQueryError: the limit or a filter cannot be used.
    """
    check_page(limit, 0)
    check_filters(filters)
    model_id = index.model.model_id
    view = storage.views([key], model_id=model_id).get(key)
    if view is None:
        raise NotFoundError(f"there is no entry {key[1]!r} in {key[0]!r}")
    own = storage.embeddings(*key) if view.layout else []
    vectors = [np.frombuffer(vector, "<f4").astype(np.float32) for _, vector in own]
    near = nearest(index, key, vectors, filters, max(limit, _POOL))
    scores = {other: score for other, (score, _) in near.items()}
    best = ranked(scores)[:limit]
    return RelatedResult(
        *key,
        freshness_of(view.stored, [passage for passage, _ in own]),
        tuple(_hit(view, *near[view.key]) for view in views(storage, best, model_id)),
        pending(storage, model_id, filters.kbs, clock),
    )


def nearest(
    index: NearestEntries,
    key: Key,
    vectors: Sequence[Vector],
    filters: Filters,
    entries: int,
) -> dict[Key, tuple[float, SimilarPassage]]:
    """The entries near to these passages of one: how near each is, and its nearest passage."""
    if not vectors or not index.refresh():
        return {}
    chosen = vectors[:: -(-len(vectors) // _MOST_PASSAGES)]
    found = [index.nearest(vector, filters, entries, besides=key) for vector in chosen]
    # An entry that is not among those near a passage is at best as near to it as the last one.
    floors = [min((near[0].score for near in each.values()), default=-1.0) for each in found]
    result: dict[Key, tuple[float, SimilarPassage]] = {}
    for other in {other for each in found for other in each}:
        pairs = [each[other][0] for each in found if other in each]
        scores = [
            each[other][0].score if other in each else floor
            for each, floor in zip(found, floors, strict=True)
        ]
        score = fmean(nlargest(PASSAGES, scores))
        result[other] = score, max(pairs, key=attrgetter("score"))
    return result


def _hit(view: EntryView, score: float, near: SimilarPassage) -> RelatedHit:
    """The hit that an entry is, with an excerpt from its nearest passage."""
    stored = view.stored
    return RelatedHit(
        stored.kb,
        stored.entry.id,
        stored.entry.title,
        score,
        excerpt(stored, near.passage, []),
        freshness_of(stored, view.layout),
    )
