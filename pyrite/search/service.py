"""Search by meaning and by words.

By words, an entry is found from the moment in which its write returned. By meaning, it is
found by its best passages once it is embedded. The two rankings are fused, and an answer says
how fresh it is: what in its scope is not embedded yet, and for each hit whether the embedding
is of its present text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pyrite.embedding.service import model_in_use
from pyrite.errors import ModelError
from pyrite.neighbours.dimension import require_stored
from pyrite.search.excerpts import Excerpt, densest, excerpt
from pyrite.search.freshness import Freshness, Pending, Waited, freshness_of, pending
from pyrite.search.pages import views
from pyrite.search.query import Mode, SearchRequest, words_of
from pyrite.search.ranking import POOL, fused, places, ranked
from pyrite.storage.records import Key

if TYPE_CHECKING:
    from actors.lifecycle import Status
    from pyrite.config.settings import Settings
    from pyrite.encoders.protocol import QueryEncoder
    from pyrite.neighbours.entries import NearestEntries, SimilarPassage
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import EntryView, Passage, WordQuery


@dataclass(frozen=True, slots=True)
class Scores:
    """Why an entry was found: its score and its place in each ranking that has it."""

    #: Okapi BM25; larger is better, and comparable within one answer only.
    keyword: float | None = None
    keyword_rank: int | None = None
    #: Cosine similarity of the query to the entry's best passage, from -1 to 1.
    semantic: float | None = None
    semantic_rank: int | None = None

    @property
    def by_meaning(self) -> bool:
        """Whether the ranking by meaning has it further up than the one by words."""
        if self.semantic_rank is None:
            return False
        return self.keyword_rank is None or self.semantic_rank <= self.keyword_rank


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found."""

    kb: str
    id: str
    title: str
    type: str
    tags: tuple[str, ...]
    #: What the hits are ordered by: the mode's own score or, in hybrid mode, the fusion's.
    score: float
    scores: Scores
    passage: Excerpt
    freshness: Freshness
    revision: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a search."""

    query: str
    mode: Mode
    hits: tuple[Hit, ...]
    #: Whether another page would have hits.
    more: bool
    freshness: Pending
    #: What came of waiting for a write; None where nobody asked for it.
    waited: Waited | None = None
    #: What the person should know of how this answer came about.
    warning: str | None = None


class _Found:
    """The rankings by words and by meaning, best first."""

    def __init__(
        self, keyword: Mapping[Key, float], semantic: Mapping[Key, Sequence[SimilarPassage]]
    ) -> None:
        self.keyword = keyword
        self.semantic = semantic
        self._keyword_places = places(keyword)
        self._semantic_places = places(semantic)

    def scores(self, key: Key) -> Scores:
        """What an entry has in each ranking."""
        near = self.semantic.get(key)
        return Scores(
            self.keyword.get(key),
            self._keyword_places.get(key),
            None if near is None else near[0].score,
            self._semantic_places.get(key),
        )

    def ordered(self, mode: Mode) -> dict[Key, float]:
        """All that were found with the score that orders them, best first."""
        match mode:
            case Mode.KEYWORD:
                scores = dict(self.keyword)
            case Mode.SEMANTIC:
                scores = {key: near[0].score for key, near in self.semantic.items()}
            case Mode.HYBRID:
                scores = fused([self._keyword_places, self._semantic_places])
        # Of equals, those with the words go first: an entry that was just written has no more.
        order = sorted(ranked(scores), key=lambda key: (-scores[key], key not in self.keyword))
        return {key: scores[key] for key in order}


class SearchService:
    """The search of a storage; what it has read of the vectors is kept between searches."""

    def __init__(
        self,
        storage: Storage,
        encoder: QueryEncoder,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._encoder = encoder
        self._settings = settings
        self._clock = clock
        self._opened: NearestEntries | None = None

    def search(self, request: SearchRequest) -> SearchResult:
        """The entries that fit best.

        Raises:
            InvalidQueryError: the request cannot be answered; the message says what to change.
            NotFoundError: there has been no such write as the one to wait for.
            ModelError: the model cannot be found or loaded. In hybrid mode the words are
                searched all the same, and the answer carries a warning.
        """
        request.check()
        waited = None
        if request.wait_for is not None and request.mode is not Mode.KEYWORD:
            waited = self._wait(request.wait_for, request.timeout_s)
        words = words_of(request.query)
        found, warning = self._find(request, words)
        scores = found.ordered(request.mode)
        page = list(scores)[request.offset : request.offset + request.limit]
        model_id = self.model_id
        shown = views(self._storage, page, model_id, words)
        return SearchResult(
            query=request.query,
            mode=request.mode,
            hits=tuple(_hit(view, scores[view.key], found) for view in shown),
            more=len(scores) > request.offset + request.limit,
            freshness=pending(self._storage, model_id, request.filters.kbs, self._clock),
            waited=waited,
            warning=warning,
        )

    def revision_status(self, revision: int) -> Status | None:
        """Where the embedding of a write stands; None where it has been superseded.

        Raises:
            NotFoundError: there has been no such write.
        """
        return self._storage.revision_status(revision, self.model_id)

    def _wait(self, revision: int, timeout_s: float) -> Waited:
        # Imported only here: few searches wait.
        from pyrite.search.waiting import wait  # noqa: PLC0415

        return wait(self._storage, partial(self.revision_status, revision), revision, timeout_s)

    def _find(self, request: SearchRequest, words: WordQuery) -> tuple[_Found, str | None]:
        """Both rankings as far as the mode wants them, and a warning if one could not be had."""
        most = request.offset + request.limit + 1
        pool = POOL if request.mode is Mode.HYBRID else most
        keyword: dict[Key, float] = {}
        semantic: dict[Key, list[SimilarPassage]] = {}
        warning = None
        if request.mode is not Mode.SEMANTIC and words:
            hits = self._storage.with_words(words, request.filters, limit=pool)
            keyword = {(hit.kb, hit.entry_id): hit.score for hit in hits}
        if request.mode is not Mode.KEYWORD:
            try:
                semantic = self._by_meaning(request, pool)
            except ModelError as error:
                if request.mode is Mode.SEMANTIC:
                    raise
                warning = f"searched by words alone: {error}"
        return _Found(keyword, semantic), warning

    def _by_meaning(self, request: SearchRequest, pool: int) -> dict[Key, list[SimilarPassage]]:
        index = self.nearest_entries()
        # Nothing to compare with is no reason to load a model.
        if not index.refresh():
            return {}
        vector = self._encoder.encode_query(request.query)
        require_stored(self._storage, vector, index.model)
        return index.nearest(vector, request.filters, pool)

    def nearest_entries(self) -> NearestEntries:
        """The passages of the model in use, and the index of their vectors.

        Raises:
            ModelError: the model cannot be found.
        """
        if self._opened is None:
            # Imported only here: it brings numpy, which a search by words does not need.
            from pyrite.neighbours.entries import open_nearest_entries  # noqa: PLC0415

            model = self._storage.model(self._encoder.fingerprint(), self._encoder.name)
            self._opened = open_nearest_entries(self._storage, model, self._settings)
        return self._opened

    @property
    def model_id(self) -> int:
        """The number of the model in use; by its name alone as long as that was enough."""
        if self._opened is not None:
            return self._opened.model.model_id
        return model_in_use(self._storage, self._encoder.name)


def _hit(view: EntryView, score: float, found: _Found) -> Hit:
    """The hit that an entry is, with an excerpt from its best passage."""
    stored, layout, highlights = view.stored, view.layout, view.highlights
    freshness, scores = freshness_of(stored, layout), found.scores(view.key)
    # The passage is that of the ranking which has the entry further up.
    if scores.by_meaning:
        passage: Passage | None = found.semantic[view.key][0].passage
    else:
        passage = densest(layout, highlights) if freshness is Freshness.FRESH else None
    return Hit(
        kb=stored.kb,
        id=stored.entry.id,
        title=stored.entry.title,
        type=stored.entry.type,
        tags=stored.entry.tags,
        score=score,
        scores=scores,
        passage=excerpt(stored, passage, highlights),
        freshness=freshness,
        revision=stored.revision,
    )
