"""Search ranks by meaning, says how fresh its answer is, and never shows what is not so."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from actors.messages import Vector
from pyrite.errors import InvalidQueryError, ModelError
from pyrite.services.entry_files import Draft, Edit
from pyrite.services.search import (
    MOST_QUERY_CHARACTERS,
    Freshness,
    SearchResult,
    SearchService,
    snippet,
)
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, Product


class Words(FakeEncoder):
    """An encoder that knows which words a text has: more of them in common, more alike."""

    def __init__(self, name: str = "words") -> None:
        super().__init__(name)
        self.queries: list[str] = []

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.calls.append(list(texts))
        return [self._vector(text) for text in texts]

    def encode_query(self, text: str) -> Vector:
        self.queries.append(text)
        return self._vector(text)

    def _vector(self, text: str) -> Vector:
        vector = np.zeros(512, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % 512] = 1
        length = np.linalg.norm(vector)
        return vector / length if length else vector


@pytest.fixture
def encoder() -> Words:
    return Words()


@pytest.fixture
def search(product: Product, encoder: Words) -> SearchService:
    return SearchService(product.storage, encoder)


def put(product: Product, encoder: Words, *texts: str, kb: str = KB) -> None:
    """Entries of these texts, named a, b, ... and embedded."""
    for name, text in zip("abcdefgh", texts, strict=False):
        product.kbs.create_entry(kb, Draft(name, id=name, body=text))
        product.embedding.embed_entry(encoder, kb, name)


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


def test_what_is_nearer_in_meaning_comes_first(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "red green", "red green blue", "blue", "something else")
    result = search.search("red green blue")
    assert ids(result)[:3] == ["b", "a", "c"]
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    best = result.hits[0]
    assert (best.kb, best.id, best.title, best.snippet) == (KB, "b", "b", "red green blue")
    assert best.score == pytest.approx(3 / np.sqrt(3 * 4))  # the title is a word, too
    assert best.freshness is Freshness.FRESH
    assert result.query == "red green blue"


def test_as_many_as_are_asked_for(product: Product, encoder: Words, search: SearchService) -> None:
    put(product, encoder, "x one", "x two three", "x four five six")
    assert ids(search.search("x", limit=1)) == ["a"]
    assert ids(search.search("x", limit=2)) == ["a", "b"]
    assert len(search.search("x", limit=1000).hits) == 3


def test_only_the_knowledge_base_that_is_asked_for(
    product: Product, encoder: Words, search: SearchService
) -> None:
    other = product.folder.parent / "other"
    other.mkdir()
    product.kbs.add_kb("other", other)
    put(product, encoder, "apple")
    put(product, encoder, "apple pie", "apple tree", kb="other")
    assert {hit.kb for hit in search.search("apple").hits} == {KB, "other"}
    assert [(hit.kb, hit.id) for hit in search.search("apple", kb=KB).hits] == [(KB, "a")]
    assert len(search.search("apple", kb="other", limit=2).hits) == 2
    assert search.search("apple", kb="none").hits == ()
    product.kbs.remove_kb("other")
    assert [(hit.kb, hit.id) for hit in search.search("apple").hits] == [(KB, "a")]


def test_a_hit_whose_text_has_changed_says_so(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "old words", "other words")
    product.kbs.update_entry(KB, "a", Edit(body="new words"))
    result = search.search("old words")
    assert [(hit.id, hit.freshness) for hit in result.hits] == [
        ("a", Freshness.STALE),
        ("b", Freshness.FRESH),
    ]
    assert result.hits[0].snippet == "new words"
    assert result.freshness.pending == 1
    product.embedding.embed_entry(encoder, KB, "a")
    result = search.search("new words")
    assert {hit.freshness for hit in result.hits} == {Freshness.FRESH}
    assert result.freshness.pending == 0


def test_the_answer_says_what_it_could_not_see(product: Product, encoder: Words) -> None:
    put(product, encoder, "seen")
    product.kbs.create_entry(KB, Draft("waits"))
    product.kbs.create_entry(KB, Draft("fails"))
    for _ in range(3):
        product.embedding.embed_entry(_failing(encoder), KB, "fails")
    (queued,) = product.query("SELECT queued_at FROM embed_queue WHERE entry_id = 'waits'")[0]
    search = SearchService(product.storage, encoder, clock=lambda: queued + 5)
    freshness = search.search("seen").freshness
    assert (freshness.pending, freshness.failed, freshness.oldest_pending_age_s) == (1, 1, 5)
    freshness = search.search("seen", kb="other").freshness
    assert (freshness.pending, freshness.failed, freshness.oldest_pending_age_s) == (0, 0, None)


def _failing(like: Words) -> Words:
    def refuse(_: Sequence[str]) -> Sequence[Vector]:
        raise ValueError

    failing = Words(like.name)
    failing.encode = refuse  # type: ignore[method-assign]
    return failing


def test_a_long_lived_search_sees_what_was_embedded_and_deleted_since(
    product: Product, encoder: Words, search: SearchService
) -> None:
    assert search.search("apple").hits == ()
    assert encoder.queries == []  # nothing to compare with is no reason to encode
    put(product, encoder, "apple")
    assert ids(search.search("apple")) == ["a"]
    product.kbs.create_entry(KB, Draft("b", body="apple apple"))
    assert ids(search.search("apple")) == ["a"]
    product.embedding.embed_entry(encoder, KB, "b")
    assert sorted(ids(search.search("apple"))) == ["a", "b"]
    product.kbs.delete_entry(KB, "a")
    assert ids(search.search("apple")) == ["b"]
    product.kbs.delete_entry(KB, "b")
    assert search.search("apple").hits == ()


def test_an_entry_deleted_during_the_search_is_left_out(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "apple", "apple pie")
    real = encoder.encode_query

    def encode_query(text: str) -> Vector:
        product.kbs.delete_entry(KB, "a")
        return real(text)

    encoder.encode_query = encode_query  # type: ignore[method-assign]
    assert ids(search.search("apple")) == ["b"]


def test_another_models_embeddings_are_never_compared(product: Product, encoder: Words) -> None:
    put(product, encoder, "apple", "pear")
    other = SearchService(product.storage, Words("other"))
    assert other.search("apple").hits == ()
    product.embedding.embed_entry(Words("other"), KB, "a")
    assert ids(other.search("apple")) == ["a"]
    assert ids(SearchService(product.storage, encoder).search("pear")) == ["b"]


@pytest.mark.parametrize("query", ["", " ", "\n\t ", "\u2003"])
def test_a_query_must_say_something(search: SearchService, query: str) -> None:
    with pytest.raises(InvalidQueryError, match="the query is empty"):
        search.search(query)


def test_a_query_is_not_a_book(search: SearchService) -> None:
    search.search("x" * MOST_QUERY_CHARACTERS)
    with pytest.raises(InvalidQueryError, match="has 10,001 characters, more than 10,000"):
        search.search("x" * (MOST_QUERY_CHARACTERS + 1))


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_has_bounds(search: SearchService, limit: int) -> None:
    with pytest.raises(InvalidQueryError, match="must be from 1 to 1000"):
        search.search("x", limit=limit)


def test_without_a_model_there_is_no_search(product: Product) -> None:
    class Missing(Words):
        def fingerprint(self) -> str:
            raise ModelError("not installed")

    with pytest.raises(ModelError, match="not installed"):
        SearchService(product.storage, Missing()).search("x")


# Snippets


def shown(product: Product, query: str, body: str, summary: str = "") -> str:
    product.kbs.create_entry(KB, Draft("T", id="s", body=body, summary=summary))
    stored = product.entry("s")
    text = snippet(query, stored, 0, len(stored.entry.body))
    assert len(text) <= 240
    assert "\n" not in text
    return text


FILLER = " ".join(f"filler{number}" for number in range(200))


def test_a_short_text_is_shown_whole_on_one_line(product: Product) -> None:
    assert shown(product, "b", "a\n\n  b\tc \n") == "a b c"


def test_a_match_in_the_middle_is_shown_with_what_is_around_it(product: Product) -> None:
    text = shown(product, "Which needle?", f"{FILLER} the needle here {FILLER}")
    assert "filler199 the needle here filler0" in text
    assert text.startswith("…filler")
    assert text.endswith("…")


def test_a_match_at_the_beginning_needs_no_ellipsis_before_it(product: Product) -> None:
    text = shown(product, "needle", f"the needle {FILLER}")
    assert text.startswith("the needle filler0")
    assert text.endswith("…")


def test_a_match_at_the_end_needs_no_ellipsis_after_it(product: Product) -> None:
    text = shown(product, "needle", f"{FILLER} the needle")
    assert text.startswith("…")
    assert text.endswith("the needle")


def test_most_matches_together_are_shown(product: Product) -> None:
    text = shown(product, "red needle", f"red {FILLER} red needle {FILLER}")
    assert "red needle" in text


def test_without_a_match_the_beginning_is_shown(product: Product) -> None:
    assert shown(product, "no match", FILLER).startswith("filler0 filler1 ")


def test_without_a_body_the_summary_is_shown(product: Product) -> None:
    assert shown(product, "x", "", summary="What it is") == "What it is"


def test_a_text_without_spaces_is_cut_all_the_same(product: Product) -> None:
    assert shown(product, "x", "長" * 2000) == "長" * 238 + "…"
