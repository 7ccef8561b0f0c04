"""Searching by meaning: the query's embedding against every passage's.

An answer says how fresh it is: how many entries in its scope are not yet embedded or have
failed, and for each hit whether its text has changed since it was embedded.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pyrite.encoders.protocol import TextEncoder
from pyrite.errors import InvalidQueryError
from pyrite.services.embedding_service import present_counts
from pyrite.storage.matrix import MatrixIndex
from pyrite.storage.protocol import NeighbourIndex, Storage
from pyrite.storage.records import Model, Neighbour, StoredEntry

MOST_HITS = 1000
MOST_QUERY_CHARACTERS = 10_000
_SNIPPET_CHARACTERS = 240


class Freshness(StrEnum):
    """Whether a hit's embedding is of its present text."""

    FRESH = "fresh"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found."""

    kb: str
    id: str
    title: str
    #: Cosine similarity of the query to the entry's best passage, from -1 to 1.
    score: float
    snippet: str
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Pending:
    """What the search could not see."""

    #: Entries in scope that are not embedded yet, and that could not be.
    pending: int
    failed: int
    oldest_pending_age_s: float | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer."""

    query: str
    hits: tuple[Hit, ...]
    freshness: Pending


class SearchService:
    """Searches the storage with an encoder; the index in memory is kept between searches."""

    def __init__(
        self,
        storage: Storage,
        encoder: TextEncoder,
        clock: Callable[[], float] = time.time,
        index: Callable[[Storage, int], NeighbourIndex] = MatrixIndex,
    ) -> None:
        self._storage = storage
        self._encoder = encoder
        self._clock = clock
        self._make_index = index
        self._opened: tuple[Model, NeighbourIndex] | None = None

    def search(self, query: str, *, kb: str | None = None, limit: int = 10) -> SearchResult:
        """The entries nearest in meaning to the query, best first.

        Raises:
            InvalidQueryError: the query is empty or too long, or the limit out of range.
            ModelError: the model cannot be found or loaded.
        """
        check_query(query, limit)
        if self._opened is None:
            model = self._storage.model(self._encoder.fingerprint(), self._encoder.name)
            self._opened = model, self._make_index(self._storage, model.model_id)
        model, index = self._opened
        index.refresh()
        neighbours = []
        # Nothing to compare with is no reason to load a model.
        if len(index):
            vector = self._encoder.encode_query(query)
            neighbours = index.search(vector, limit, None if kb is None else [kb])
        hits = (self._hit(query, neighbour) for neighbour in neighbours)
        return SearchResult(query, tuple(hit for hit in hits if hit), self._pending(model, kb))

    def _hit(self, query: str, neighbour: Neighbour) -> Hit | None:
        """The hit, or None if the entry has been deleted since."""
        passage = neighbour.passage
        stored = self._storage.entry(passage.kb, passage.entry_id)
        if stored is None:
            return None
        fresh = stored.revision == passage.revision
        return Hit(
            kb=passage.kb,
            id=passage.entry_id,
            title=stored.entry.title,
            score=neighbour.score,
            snippet=snippet(query, stored, passage.start, passage.end),
            freshness=Freshness.FRESH if fresh else Freshness.STALE,
        )

    def _pending(self, model: Model, kb: str | None) -> Pending:
        others = [m.model_id for m in self._storage.models() if m.model_id != model.model_id]
        counts = present_counts(self._storage, others, kb)
        oldest = self._storage.oldest_pending(kb) if counts.pending else None
        age = None if oldest is None else max(0.0, self._clock() - oldest)
        return Pending(counts.unfinished, counts.failed, age)


def check_query(query: str, limit: int) -> None:
    """Refuse what cannot be searched for.

    Raises:
        InvalidQueryError: the message says what to change.
    """
    if not query.strip():
        raise InvalidQueryError("the query is empty: say in a few words what you look for")
    if len(query) > MOST_QUERY_CHARACTERS:
        raise InvalidQueryError(
            f"the query has {len(query):,} characters, more than {MOST_QUERY_CHARACTERS:,}; "
            "a few words or a paragraph find more"
        )
    if not 1 <= limit <= MOST_HITS:
        raise InvalidQueryError(f"the limit must be from 1 to {MOST_HITS}, not {limit}")


def snippet(query: str, stored: StoredEntry, start: int, end: int) -> str:
    """The part of a passage with the most of the query's words, on one line; else its beginning."""
    text = " ".join(stored.entry.body[start:end].split()) or stored.entry.summary
    if len(text) <= _SNIPPET_CHARACTERS:
        return text
    words = set(re.findall(r"\w{3,}", query.lower()))
    places = [m.start() for m in re.finditer(r"\w+", text) if m.group().lower() in words]
    room = _SNIPPET_CHARACTERS - 2
    begin = max(places, key=lambda p: sum(p <= q < p + room for q in places), default=0)
    # Begin at the sentence or, failing that, at a word a little before the first match.
    begin = 0 if begin < room // 3 else text.rfind(" ", 0, begin - room // 8) + 1
    cut = text[begin : begin + room]
    if begin + room < len(text):
        cut = cut.rpartition(" ")[0] or cut
        cut += "…"
    return ("…" if begin else "") + cut
