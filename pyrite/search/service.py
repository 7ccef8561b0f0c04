"""Search by meaning and by words.

By words, an entry is found from the moment in which its write returned. By meaning, it is
found by its best passages once it is embedded. The two rankings are fused, and an answer says
how fresh it is: what in its scope is not embedded yet, and for each hit whether the embedding
is of its present text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pyrite.embedding.service import model_in_use
from pyrite.errors import InvalidQueryError, ModelError, TimeLimitError
from pyrite.neighbours.dimension import require_stored
from pyrite.search.excerpts import Excerpt, densest, excerpt
from pyrite.search.freshness import Freshness, Pending, Waited, freshness_of, pending
from pyrite.search.language import PARTS, Field, Node, Phrase, Prefix, Word, print_query, replaced
from pyrite.search.pages import views
from pyrite.search.query import Mode, SearchRequest
from pyrite.search.ranking import POOL, fused, places, ranked
from pyrite.search.understanding import (
    Understood,
    filters_of,
    is_of_front_matter,
    read,
    understand,
)
from pyrite.storage.records import Key

if TYPE_CHECKING:
    from actors.lifecycle import Status
    from pyrite.config.settings import Settings
    from pyrite.encoders.protocol import QueryEncoder
    from pyrite.neighbours.entries import NearestEntries, SimilarPassage
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import EntryView, Filters, Passage


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
    #: What of the query was not read as it may have been meant.
    hints: tuple[str, ...] = ()
    #: Whether the time ran out before everything was looked at.
    partial: bool = False
    #: The query that was searched by words, where no entry has those that were given.
    corrected: str | None = None


class _Found:
    """The rankings by words and by meaning, best first."""

    def __init__(
        self,
        keyword: Mapping[Key, float],
        semantic: Mapping[Key, Sequence[SimilarPassage]],
        *,
        partial: bool = False,
    ) -> None:
        self.partial = partial
        self.semantic = semantic
        self.take_words(keyword)
        self._semantic_places = places(semantic)

    def take_words(self, keyword: Mapping[Key, float]) -> None:
        """Have this ranking by words."""
        self.keyword = keyword
        self._keyword_places = places(keyword)

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
        tree, hints = self._read(request)
        asked = understand(request.query, tree, hints)
        found, warning = self._find(request, asked)
        instead = None
        if asked.words and not found.keyword and not found.partial:
            instead = self._corrected(request, tree, found)
        words = asked.words if instead is None else understand("", instead, []).words
        # Where nothing but conditions is asked for, what meets them is listed, whatever the mode.
        scores = found.ordered(request.mode if asked.text else Mode.KEYWORD)
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
            hints=asked.hints,
            partial=found.partial,
            corrected=None if instead is None else print_query(instead),
        )

    def _corrected(self, request: SearchRequest, tree: Node, found: _Found) -> Node | None:
        """The query with the nearest words, if they find something; what, is put into the rest."""
        if request.mode is Mode.SEMANTIC:
            return None
        # Imported only here: few searches find nothing.
        from pyrite.search.spelling import corrected  # noqa: PLC0415

        with suppress(TimeLimitError), self._storage.time_limit(self._settings.search_limit_s):
            instead = corrected(self._storage, tree)
            if instead is not None:
                asked = understand(print_query(instead), instead, [])
                pool = POOL if request.mode is Mode.HYBRID else request.offset + request.limit + 1
                found.take_words(self._by_words(request, asked, pool))
                return instead if found.keyword else None
        return None

    def _read(self, request: SearchRequest) -> tuple[Node, list[str]]:
        """The query as a tree, and hints; a field that there is not becomes words."""
        tree, hints = read(request.query)

        def known(leaf: Word | Prefix | Phrase | Field) -> Node:
            if not isinstance(leaf, Field) or leaf.name in PARTS:
                return leaf
            try:
                filters = filters_of(leaf)
            except InvalidQueryError as error:
                hints.append(f"{error}: searched as words")
                return Word(f"{leaf.name}:{leaf.value.text}")
            if leaf.name == "kb" and not self._has_kb(leaf.value.text):
                hints.append(f"there is no knowledge base {leaf.value.text!r}")
            if is_of_front_matter(leaf) and not self._has_any(filters):
                hints.append(
                    f"no entry has the field {leaf.name} with the value {leaf.value.text!r}: "
                    "searched as words"
                )
                return Word(f"{leaf.name}:{leaf.value.text}")
            return leaf

        return replaced(tree, known), hints

    def _has_kb(self, name: str) -> bool:
        """Whether there is such a knowledge base."""
        return any(kb.name == name for kb in self._storage.kbs())

    def _has_any(self, filters: Filters) -> bool:
        """Whether there is such an entry, as far as can be told in time."""
        with suppress(TimeLimitError), self._storage.time_limit(self._settings.search_limit_s):
            return bool(self._storage.entries(filters, limit=1))
        return True

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

    def _find(self, request: SearchRequest, asked: Understood) -> tuple[_Found, str | None]:
        """Both rankings as far as the mode wants them, and a warning if one could not be had."""
        most = request.offset + request.limit + 1
        pool = POOL if request.mode is Mode.HYBRID else most
        keyword: dict[Key, float] = {}
        semantic: dict[Key, list[SimilarPassage]] = {}
        warning = None
        limit_s = self._settings.search_limit_s
        partial = False
        if not asked.text or (request.mode is not Mode.SEMANTIC and asked.words):
            try:
                with self._storage.time_limit(limit_s):
                    keyword = self._by_words(request, asked, pool if asked.text else most)
            except TimeLimitError:
                partial = True
                with suppress(TimeLimitError), self._storage.time_limit(limit_s / 5):
                    # Not the best, but of those that have the words.
                    keyword = self._by_words(request, asked, pool, ranked=False)
        if asked.text and request.mode is not Mode.KEYWORD:
            try:
                semantic = self._by_meaning(
                    asked.text, asked.filters(request.filters, phrases=True), pool
                )
            except TimeLimitError:
                partial = True
            except ModelError as error:
                if request.mode is Mode.SEMANTIC:
                    raise
                warning = f"searched by words alone: {error}"
        return _Found(keyword, semantic, partial=partial), warning

    def _by_words(
        self, request: SearchRequest, asked: Understood, most: int, *, ranked: bool = True
    ) -> dict[Key, float]:
        """The entries with the words; where none are asked for, those with all else."""
        if asked.text:
            filters = asked.filters(request.filters, phrases=False)
            hits = self._storage.with_words(asked.words, filters, limit=most, ranked=ranked)
            return {(hit.kb, hit.entry_id): hit.score for hit in hits}
        if asked.condition is None or not ranked:
            return {}
        filters = asked.filters(request.filters, phrases=True)
        return {(e.kb, e.entry.id): 0.0 for e in self._storage.entries(filters, limit=most)}

    def _by_meaning(
        self, text: str, filters: Filters, pool: int
    ) -> dict[Key, list[SimilarPassage]]:
        index = self.nearest_entries()
        # Nothing to compare with is no reason to load a model.
        if not index.refresh():
            return {}
        vector = self._encoder.encode_query(text)
        require_stored(self._storage, vector, index.model)
        with self._storage.time_limit(self._settings.search_limit_s):
            return index.nearest(vector, filters, pool)

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
