"""Searching by meaning and by words.

By words, an entry is found from the moment in which its write returned. By meaning, it is
found by its best passages once it is embedded. The two rankings are fused, and an answer says
how fresh it is: what in its scope is not embedded yet, and for each hit whether the embedding
is of its present text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrite.errors import ModelError
from pyrite.neighbours.dimension import require_stored
from pyrite.search.excerpts import Excerpt, densest, excerpt
from pyrite.search.freshness import Freshness, Pending, Waited, freshness_of, pending, wait
from pyrite.search.query import Mode, SearchRequest, words_of
from pyrite.search.ranking import POOL, fused, places, ranked
from pyrite.storage.records import Key

if TYPE_CHECKING:
    from pyrite.config.settings import Settings
    from pyrite.encoders.protocol import QueryEncoder
    from pyrite.neighbours.entries import NearestEntries, SimilarPassage
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import Model, Passage, WordQuery


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
    """An answer."""

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
    """Both rankings, best first."""

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
    """Searches a storage; what it has read of the vectors is kept between searches."""

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
            waited = wait(self._storage, self.model_id, request.wait_for, request.timeout_s)
        words = words_of(request.query)
        found, warning = self._find(request, words)
        scores = found.ordered(request.mode)
        page = list(scores)[request.offset : request.offset + request.limit]
        hits = (self._hit(key, scores[key], found, words) for key in page)
        return SearchResult(
            query=request.query,
            mode=request.mode,
            hits=tuple(hit for hit in hits if hit is not None),
            more=len(scores) > request.offset + request.limit,
            freshness=pending(self._storage, self._model(), request.filters.kbs, self._clock),
            waited=waited,
            warning=warning,
        )

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
        neighbourhood = self.neighbourhood()
        # Nothing to compare with is no reason to load a model.
        if not neighbourhood.refresh():
            return {}
        vector = self._encoder.encode_query(request.query)
        require_stored(self._storage, vector, neighbourhood.model)
        return neighbourhood.nearest(vector, request.filters, pool)

    def neighbourhood(self) -> NearestEntries:
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
    def model_id(self) -> int | None:
        """The number of the model in use; None where it has embedded nothing yet."""
        model = self._model()
        return None if model is None else model.model_id

    def _model(self) -> Model | None:
        """The model in use; by its name alone as long as nothing else was needed of it."""
        if self._opened is not None:
            return self._opened.model
        named = [m for m in self._storage.models() if m.name == self._encoder.name]
        return named[-1] if named else None

    def _hit(self, key: Key, score: float, found: _Found, words: WordQuery) -> Hit | None:
        """The hit, or None if the entry has been deleted since."""
        stored = self._storage.entry(*key)
        if stored is None:
            return None
        model = self._model()
        layout = [] if model is None else self._storage.layout(model.model_id, *key)
        freshness = freshness_of(stored, layout)
        scores = found.scores(key)
        highlights = self._storage.highlights(*key, words) if words else []
        # The passage is that of the ranking which has the entry further up.
        if scores.by_meaning:
            passage: Passage | None = found.semantic[key][0].passage
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
