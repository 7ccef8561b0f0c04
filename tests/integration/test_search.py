"""Search finds by meaning and by words, says how fresh its answer is, and pages without a gap."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from actors.messages import Vector
from pyrite.embedding.service import EmbeddingService
from pyrite.errors import InvalidQueryError, ModelError, NotFoundError, TimeLimitError
from pyrite.search.freshness import Freshness, Outcome, pending
from pyrite.search.query import Mode, SearchRequest
from pyrite.search.ranking import POOL, fused, places, ranked
from pyrite.search.service import Hit, SearchResult, SearchService
from pyrite.storage.records import Filters
from pyrite.vault.entry_files import Draft, Edit
from tests.integration.hands import KB, LONG, Product, Words

HYBRID, SEMANTIC, KEYWORD = Mode.HYBRID, Mode.SEMANTIC, Mode.KEYWORD
every_mode = pytest.mark.parametrize("mode", list(Mode))


@pytest.fixture
def encoder() -> Words:
    return Words()


@pytest.fixture
def search(product: Product, encoder: Words) -> SearchService:
    return SearchService(product.storage, encoder, product.settings)


def put(product: Product, encoder: Words, *texts: str, kb: str = KB) -> None:
    """Entries of these texts, named a, b, ... and embedded."""
    for name, text in zip("abcdefgh", texts, strict=False):
        product.kbs.create_entry(kb, Draft(name, id=name, body=text))
        product.embedding.embed_entry(encoder, kb, name)


def ask(search: SearchService, query: str, mode: Mode = HYBRID, **options: object) -> SearchResult:
    return search.search(SearchRequest(query=query, mode=mode, **options))  # type: ignore[arg-type]


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


# What is found, and why


def test_what_is_nearer_in_meaning_comes_first(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "red green", "red green blue", "blue", "something else")
    result = ask(search, "red green blue", SEMANTIC)
    assert ids(result) == ["b", "a", "c", "d"]
    assert (result.query, result.mode, result.more) == ("red green blue", SEMANTIC, False)
    best = result.hits[0]
    assert (best.kb, best.title, best.type, best.tags) == (KB, "b", "note", ())
    assert best.score == pytest.approx(3 / (3 * 4) ** 0.5, abs=1e-3)  # the title is a word, too
    assert best.scores.semantic == best.score
    assert (best.scores.semantic_rank, best.scores.keyword, best.scores.keyword_rank) == (
        *(1, None, None),
    )
    assert (best.freshness, best.revision) == (Freshness.FRESH, product.entry("b").revision)
    assert [hit.scores.semantic_rank for hit in result.hits] == [1, 2, 3, 4]
    assert best.passage.text == "red green blue"
    assert best.passage.highlights == ((0, 3), (4, 9), (10, 14))


def test_what_has_the_words_is_found_by_them(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "red green", "red red red", "blue", "something else")
    result = ask(search, "red", KEYWORD)
    assert ids(result) == ["b", "a"]
    scores = [hit.scores for hit in result.hits]
    assert [each.keyword_rank for each in scores] == [1, 2]
    assert {(each.semantic, each.semantic_rank) for each in scores} == {(None, None)}
    assert [each.keyword for each in scores] == [hit.score for hit in result.hits]
    assert encoder.queries == []


def test_hybrid_fuses_both_by_place(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "red green", "red", "blue red and much more text", "green", "other")
    by_words = [(hit.kb, hit.id) for hit in ask(search, "red green", KEYWORD).hits]
    by_meaning = [(hit.kb, hit.id) for hit in ask(search, "red green", SEMANTIC).hits]
    result = ask(search, "red green")
    expected = fused([places(by_words), places(by_meaning)])
    assert [(hit.kb, hit.id) for hit in result.hits] == ranked(expected)
    for hit in result.hits:
        key = hit.kb, hit.id
        assert hit.score == pytest.approx(expected[key])
        assert hit.scores.semantic_rank == by_meaning.index(key) + 1
        place = by_words.index(key) + 1 if key in by_words else None
        assert hit.scores.keyword_rank == place
    assert ids(result)[0] == "a"


def test_a_hit_shows_its_best_passage_and_where_it_stands(
    product: Product, encoder: Words, search: SearchService
) -> None:
    filler = "\n\n".join(f"Filler {n} of nothing at all in particular." for n in range(40))
    body = f"# Guide\n\n{filler}\n\n## Storage\n\n### Backups\n\nKept for ninety days.\n\n{filler}"
    put(product, encoder, body)
    for mode in Mode:
        (hit,) = ask(search, "ninety days", mode).hits
        assert hit.passage.headings == ("Guide", "Storage", "Backups")
        shown = product.entry("a").entry.body[hit.passage.start : hit.passage.end]
        assert "Kept for ninety days." in shown
        assert len(shown) < len(body) / 2
        marked = [hit.passage.text[a:b] for a, b in hit.passage.highlights]
        assert marked == ["ninety", "days"]


def test_an_entry_scores_by_its_best_passage(
    product: Product, encoder: Words, search: SearchService
) -> None:
    filler = "\n\n".join(f"Paragraph {n} says nothing of the matter." for n in range(60))
    put(product, encoder, f"{filler}\n\n# Red\n\nred green blue\n", "red nothing of the matter")
    assert ids(ask(search, "red green blue", SEMANTIC)) == ["a", "b"]
    # Many passages of one entry do not crowd out the other entries.
    assert sorted(ids(ask(search, "nothing matter", SEMANTIC, limit=2))) == ["a", "b"]


def test_a_quoted_phrase_has_to_stand_there(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "error 137 again", "137 error", "the Error: 137")
    assert sorted(ids(ask(search, '"error 137"', KEYWORD))) == ["a", "c"]
    hit = ask(search, '"error 137"', KEYWORD).hits[0]
    assert [hit.passage.text[a:b].lower() for a, b in hit.passage.highlights] in (
        ["error 137"],
        ["error: 137"],
    )


def test_titles_summaries_and_tags_have_words_too(
    product: Product, encoder: Words, search: SearchService
) -> None:
    for name, draft in {
        "title": Draft("Zebra", id="title"),
        "summary": Draft("S", id="summary", summary="One zebra"),
        "tag": Draft("T", id="tag", tags=("zebra",)),
        "other": Draft("O", id="other", body="horse"),
    }.items():
        assert product.kbs.create_entry(KB, draft).id == name
    assert sorted(ids(ask(search, "zebras", KEYWORD))) == ["summary", "tag", "title"]


def test_a_letter_and_its_accent_may_be_written_apart(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "caf\u00e9s", "cafe\u0301s", "cafes", "coffee")
    for query in ("caf\u00e9s", "cafe\u0301s", "CAFES"):
        assert sorted(ids(ask(search, query, KEYWORD))) == ["a", "b", "c"]


ODD = [
    *('"', '""', "a AND", "NOT", "NEAR(a b, 2)", "^a", "a*", "title:a", "{a b}: c", "(", "a - b"),
    *(
        "'; DROP TABLE entries; --",
        "100%",
        "🎉",
        "👩‍👩‍👧",
        "\0",
        "a\0b",
        "\x02\x03",
        "___",
        "_",
        "…",
    ),
    *("\u0301", "हिन्दी", "𞤀𞤣𞤤𞤢𞤥", "a" * 10_000, "a " * 5_000, '"a" ' * 2_500, "🎉" * 10_000),
    *('"🎉" a', '"a', "\ufeffa", "\u202ea", "OR OR OR"),
]


@every_mode
def test_an_odd_query_gets_an_answer(
    product: Product, encoder: Words, search: SearchService, mode: Mode
) -> None:
    put(product, encoder, "a b", "🎉 party 100%", "हिन्दी")
    for query in ODD:
        result = ask(search, query, mode)
        assert result.query == query
        # Everything has some nearness; an operator holds for what is near as well.
        confined = query in {"title:a", '"a" ' * 2_500}
        assert mode is KEYWORD or len(result.hits) == (1 if confined else 3)
    assert ids(ask(search, "हिन्दी", KEYWORD)) == ["c"]
    assert ids(ask(search, "🎉", KEYWORD)) == []


@every_mode
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("red -green", {"b", "c"}),
        ("red NOT (green OR blue)", {"c"}),
        ("green OR blue", {"a", "b"}),
        ("red AND blue", {"b"}),
        ("(green OR blue) -green", {"b"}),
        ("“red blue”", {"b"}),
        ("red tag:x", {"c"}),
        ("tag:x", {"c"}),
        ("-tag:x", {"a", "b"}),
        ("-green", {"b", "c"}),
        ("red owner:Kim", {"c"}),
        ("path:c.m*", {"c"}),
        ("title:b", {"b"}),
        ("kb:nowhere red", set()),
        ("red since:2999-01-01", set()),
    ],
)
def test_operators_hold_in_every_mode(
    product: Product,
    encoder: Words,
    search: SearchService,
    query: str,
    found: set[str],
    mode: Mode,
) -> None:
    put(product, encoder, "red green", "red blue")
    product.kbs.create_entry(
        KB, Draft("c", id="c", body="red", tags=("x",), fields={"owner": "Kim"})
    )
    product.embedding.embed_entry(encoder, KB, "c")
    assert set(ids(ask(search, query, mode))) == found


def test_no_mixture_of_operators_is_an_error(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "red green", "blue")
    pieces = [*"()\"“«」-+*:%_';\\\0 ", "\u0301", "日", "🙂", "red", "OR", "AND", "NOT"]
    pieces += ["tag:", "title:", "path:", "since:", "date:2026-01-01..", "kb:", "x:y", "re*"]
    choices = random.Random(7)
    for _ in range(300):
        some = choices.choices(pieces, k=choices.choice([3, 10, 60]))
        query = choices.choice(["", " "]).join(some)
        with suppress(InvalidQueryError):  # empty
            ask(search, query, choices.choice(list(Mode)))


def test_a_search_that_takes_too_long_gives_what_it_has(
    product: Product, encoder: Words, search: SearchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(product, encoder, "red green", "red blue")
    real = product.storage.with_words

    def slow(*given: Any, ranked: bool = True, **more: Any) -> object:
        if ranked:
            raise TimeLimitError
        return real(*given, ranked=ranked, **more)

    monkeypatch.setattr(product.storage, "with_words", slow)
    for mode in (KEYWORD, HYBRID):
        result = ask(search, "red -green", mode)
        assert (ids(result), result.partial) == (["b"], True)
    assert not ask(search, "red", SEMANTIC).partial


@pytest.mark.parametrize("mode", [HYBRID, KEYWORD])
def test_a_misspelt_word_finds_the_nearest(
    product: Product, encoder: Words, search: SearchService, mode: Mode
) -> None:
    put(product, encoder, "the Kubernetes cluster", "backups of disks", "kubernetes -red")
    result = ask(search, "kubernetse -red", mode)
    assert result.corrected == "kubernetes -red"
    assert ids(result)[0] == "a"
    assert "c" not in ids(result)
    assert result.hits[0].passage.highlights
    assert ask(search, "bakcups", KEYWORD).corrected == "backups"
    assert ask(search, "backups", KEYWORD).corrected is None
    nothing = ask(search, "zzzzzz", KEYWORD)
    assert (ids(nothing), nothing.corrected) == ([], None)


def test_what_is_no_field_is_words_and_said(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "localhost port 8080", "blue")
    result = ask(search, "localhost:8080", KEYWORD)
    assert ids(result) == ["a"]
    assert "no entry has the field localhost with the value '8080'" in result.hints[0]
    assert "searched as words" in ask(search, "since:tomorrowish blue", KEYWORD).hints[0]
    assert "no knowledge base 'no'" in ask(search, "kb:no", KEYWORD).hints[0]


@pytest.mark.parametrize(
    "changes",
    [
        *({"query": " "}, {"query": "x" * 10_001}, {"query": "\udcff"}, {"limit": 0}),
        *({"offset": 1000}, {"filters": Filters(since="today")}, {"timeout_s": float("nan")}),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_done(
    search: SearchService, encoder: Words, changes: dict[str, object]
) -> None:
    encoder.fingerprint = None  # type: ignore[assignment, method-assign]
    with pytest.raises(InvalidQueryError):
        search.search(replace(SearchRequest(query="x"), **changes))  # type: ignore[arg-type]


# Pages


@every_mode
def test_pages_of_any_size_put_together_are_the_one_big_page(
    product: Product, encoder: Words, search: SearchService, mode: Mode
) -> None:
    """Most entries are equally good, and were embedded in another order than their names'."""
    for part in (range(40, 60), range(20, 40), range(20)):
        product.fill({f"n{n:02}": f"# red {n % 5}\n\ngreen {n % 3} x{n}\n" for n in part})
        product.drain(encoder)
    for query in ("red", "red green 1"):
        whole = ask(search, query, mode, limit=1000)
        assert len(whole.hits) == 60
        assert not whole.more
        for size in (1, 7, 25, 60):
            hits: list[Hit] = []
            for offset in range(0, 60, size):
                page = ask(search, query, mode, limit=size, offset=offset)
                assert page.more == (offset + size < 60)
                hits += page.hits
            assert hits == list(whole.hits)
        beyond = ask(search, query, mode, limit=5, offset=60)
        assert (beyond.hits, beyond.more) == ((), False)


def test_hybrid_pages_end_where_both_pools_do(product: Product, encoder: Words) -> None:
    product.fill({f"n{n:03}": f"red {n}" for n in range(POOL + 50)})
    search = SearchService(product.storage, encoder, product.settings)
    first = ask(search, "red", limit=POOL)
    assert len(first.hits) == POOL
    assert not first.more
    assert ask(search, "red", KEYWORD, limit=POOL).more


# Filters


def crowd(product: Product, encoder: Words) -> dict[str, Filters]:
    """Five entries in many ways told apart from 400 that are nearer to "red green blue"."""
    product.add_kb("small")
    product.fill(
        {f"n{n:03}": f"---\ntitle: red\n---\nred green blue {n % 9}\n" for n in range(400)}
    )
    special = "---\ntype: log\ntags: [one, two]\ndate: 2031-05-0{n}\nauthor: Kim\nin: [x, y]\n---\n"
    text = "Text {n} with red in it, and with much else that nobody asked for, {n} times.\n"
    product.fill({f"s{n}": (special + text).format(n=n) for n in range(1, 6)}, "small")
    product.drain(encoder)
    return {
        "kb": Filters(kbs=("small",)),
        "kbs": Filters(kbs=("small", "none")),
        "type": Filters(types=("log", "other")),
        "tags": Filters(tags=("one", "two")),
        "dates": Filters(since="2031-05-01", until="2031-05-05"),
        "field": Filters(fields={"author": "Kim"}),
        "list field": Filters(fields={"in": "y", "author": "Kim"}),
        "all": Filters(("small",), ("log",), ("two",), "2031-01-01", None, {"in": "x"}),
    }


def test_filters_are_applied_inside_both_searches(product: Product, encoder: Words) -> None:
    filters = crowd(product, encoder)
    search = SearchService(product.storage, encoder, product.settings)
    everything = ask(search, "red green blue", limit=10)
    assert {hit.kb for hit in everything.hits} == {KB}
    for name, each in filters.items():
        for mode in Mode:
            result = ask(search, "red green blue", mode, filters=each, limit=5)
            found = sorted((hit.kb, hit.id) for hit in result.hits)
            assert found == [("small", f"s{n}") for n in range(1, 6)], (name, mode)
            assert not result.more
            pages = [
                ask(search, "red green blue", mode, filters=each, limit=2, offset=offset)
                for offset in (0, 2, 4)
            ]
            assert [hit for page in pages for hit in page.hits] == list(result.hits)
            assert [page.more for page in pages] == [True, True, False]
    for nothing in (
        *(Filters(kbs=("none",)), Filters(types=("none",)), Filters(tags=("one", "none"))),
        *(Filters(until="1999-01-01"), Filters(fields={"author": "Ann"})),
        Filters(kbs=(KB,), types=("log",)),
    ):
        assert all(ask(search, "red", mode, filters=nothing).hits == () for mode in Mode)
    one_day = Filters(since="2031-05-03", until="2031-05-03")
    assert all(ids(ask(search, "red", mode, filters=one_day)) == ["s3"] for mode in Mode)


def test_a_text_in_two_knowledge_bases_is_found_in_the_one_that_is_asked_for(
    product: Product, encoder: Words, search: SearchService
) -> None:
    product.add_kb("other")
    put(product, encoder, "apple")
    put(product, encoder, "apple", "apple tree", kb="other")
    assert len(encoder.encoded) == 2  # the same text is encoded once
    for mode in Mode:
        both = ask(search, "apple", mode)
        assert {(hit.kb, hit.id) for hit in both.hits} == {(KB, "a"), *{("other", n) for n in "ab"}}
        here = ask(search, "apple", mode, filters=Filters(kbs=(KB,)))
        assert [(hit.kb, hit.id) for hit in here.hits] == [(KB, "a")]
    product.kbs.remove_kb("other")
    for mode in Mode:
        assert [(hit.kb, hit.id) for hit in ask(search, "apple", mode).hits] == [(KB, "a")]


# Freshness


def test_an_entry_is_found_by_its_words_the_moment_its_write_returned(
    product: Product, encoder: Words, search: SearchService
) -> None:
    product.fill({f"n{n:03}": f"waiting {n}" for n in range(300)})
    written = product.kbs.create_entry(KB, Draft("New", body="A zebra crossed."))
    for mode in (KEYWORD, HYBRID):
        result = ask(search, "zebra", mode)
        (hit,) = result.hits
        assert (hit.id, hit.freshness, hit.revision) == ("new", Freshness.MISSING, written.revision)
        assert (hit.passage.text, hit.passage.highlights) == ("A zebra crossed.", ((2, 7),))
        assert (hit.scores.keyword_rank, hit.scores.semantic_rank) == (1, None)
        assert (result.freshness.pending, result.freshness.failed) == (301, 0)
    assert ask(search, "zebra", SEMANTIC).hits == ()
    assert encoder.calls == encoder.queries == []


def test_from_write_to_edit_to_embedding(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "old words and more", "other words")
    edited = product.kbs.update_entry(KB, "a", Edit(body="new zebra words"))
    for mode in (KEYWORD, HYBRID):  # by its new words at once
        hit = ask(search, "zebra", mode).hits[0]
        assert (hit.id, hit.freshness, hit.revision) == ("a", Freshness.STALE, edited.revision)
        assert hit.passage.text == "new zebra words"
    assert ids(ask(search, "old", KEYWORD)) == []
    result = ask(search, "old words", SEMANTIC)  # by its old meaning, still
    assert [(hit.id, hit.freshness) for hit in result.hits] == [
        ("a", Freshness.STALE),
        ("b", Freshness.FRESH),
    ]
    assert result.hits[0].passage.text == "new zebra words"
    assert result.freshness.pending == 1
    product.embedding.embed_entry(encoder, KB, "a")
    for mode in Mode:
        result = ask(search, "zebra words", mode)
        assert (result.hits[0].id, result.hits[0].freshness) == ("a", Freshness.FRESH)
        assert (result.freshness.pending, result.freshness.oldest_pending_age_s) == (0, None)
        assert result.hits[0].passage.text == "new zebra words"


def test_a_passage_of_an_older_longer_text_is_no_error(
    product: Product, encoder: Words, search: SearchService
) -> None:
    filler = "\n\n".join(f"Paragraph {n} says nothing of the matter." for n in range(60))
    put(product, encoder, f"{filler}\n\n# Zebra\n\nA zebra.")
    product.kbs.update_entry(KB, "a", Edit({"summary": "Nothing left"}, body=""))
    (hit,) = ask(search, "zebra", SEMANTIC).hits
    assert (hit.freshness, hit.passage.text) == (Freshness.STALE, "Nothing left")
    assert (hit.passage.start, hit.passage.end) == (0, 0)


def _failing() -> Words:
    def refuse(_: Sequence[str]) -> None:
        raise ValueError

    failing = Words()
    failing.fail = refuse
    return failing


def test_the_answer_says_what_it_could_not_see(product: Product, encoder: Words) -> None:
    product.add_kb("other")
    put(product, encoder, "seen")
    put(product, encoder, "seen there", kb="other")
    product.kbs.create_entry(KB, Draft("waits"))
    product.kbs.create_entry("other", Draft("waits longer"))
    product.kbs.create_entry(KB, Draft("fails"))
    for _ in range(3):
        product.embedding.embed_entry(_failing(), KB, "fails")
    (first,) = product.query("SELECT queued_at FROM embed_queue WHERE entry_id = 'waits'")[0]
    (second,) = product.query(
        "SELECT queued_at FROM embed_queue WHERE kb_name = 'other' AND entry_id <> 'a'"
    )[0]
    assert isinstance(first, float)
    assert isinstance(second, float)
    search = SearchService(product.storage, encoder, product.settings, clock=lambda: second + 5)
    for mode in Mode:
        for kbs, expected in {
            (): (2, 1, second - first + 5),
            (KB,): (1, 1, second - first + 5),
            ("other",): (1, 0, 5),
            (KB, "other"): (2, 1, second - first + 5),
            (KB, KB): (1, 1, second - first + 5),
            ("none",): (0, 0, None),
        }.items():
            freshness = ask(search, "seen", mode, filters=Filters(kbs=kbs)).freshness
            assert (freshness.pending, freshness.failed) == expected[:2]
            assert freshness.oldest_pending_age_s == pytest.approx(expected[2])
    behind = pending(product.storage, None, (), lambda: first - 60)
    assert behind.oldest_pending_age_s == 0


def test_what_another_model_embedded_is_missing(product: Product, encoder: Words) -> None:
    put(product, encoder, "apple", "pear")
    other = SearchService(product.storage, Words("other"), product.settings)
    result = ask(other, "apple")
    assert [(hit.id, hit.freshness) for hit in result.hits] == [("a", Freshness.MISSING)]
    assert result.freshness.pending == 2
    assert ask(other, "apple", SEMANTIC).hits == ()
    by_words = ask(
        SearchService(product.storage, Words("other"), product.settings), "apple", KEYWORD
    )
    assert (by_words.hits[0].freshness, by_words.freshness.pending) == (Freshness.MISSING, 2)
    product.embedding.embed_entry(Words("other"), KB, "a")
    assert ids(ask(other, "apple", SEMANTIC)) == ["a"]
    assert ids(
        ask(SearchService(product.storage, encoder, product.settings), "pear", SEMANTIC)
    ) == ["b"]


def test_a_model_of_another_fingerprint_is_another_model(product: Product, encoder: Words) -> None:
    put(product, encoder, "apple", "pear")
    renewed = Words()
    renewed.fingerprint = lambda: "another"  # type: ignore[method-assign]
    result = ask(SearchService(product.storage, renewed, product.settings), "apple")
    assert [(hit.id, hit.freshness) for hit in result.hits] == [("a", Freshness.MISSING)]
    assert result.freshness.pending == 2


# Waiting for a write


@pytest.mark.parametrize("mode", [HYBRID, SEMANTIC])
@pytest.mark.parametrize("others", [["apple"], []], ids=["one of many", "the first of all"])
def test_a_search_waits_until_the_write_can_be_found_by_meaning(
    product: Product, encoder: Words, mode: Mode, others: list[str]
) -> None:
    put(product, encoder, *others)
    written = product.kbs.create_entry(KB, Draft("New", body="zebra"))
    looked = threading.Event()
    real = product.storage.revision_status

    def status(revision: int, model_id: int | None) -> object:
        found = real(revision, model_id)
        looked.set()
        return found

    service = EmbeddingService(product.open(), product.settings)

    def embed() -> None:
        assert looked.wait(LONG)  # the search has seen that it is not embedded
        service.embed_entry(Words(), KB, "new")

    product.storage.revision_status = status  # type: ignore[method-assign, assignment]
    search = SearchService(product.storage, encoder, product.settings)
    elsewhere = threading.Thread(target=embed)
    elsewhere.start()
    result = ask(search, "zebra", mode, wait_for=written.revision, timeout_s=float(LONG))
    elsewhere.join()
    assert result.waited is not None
    assert (result.waited.revision, result.waited.outcome) == (written.revision, Outcome.EMBEDDED)
    assert (result.hits[0].id, result.hits[0].freshness) == ("new", Freshness.FRESH)
    assert result.hits[0].scores.semantic_rank == 1
    assert result.freshness.pending == 0


def test_waiting_says_how_it_ended(product: Product, encoder: Words, search: SearchService) -> None:
    first = product.kbs.create_entry(KB, Draft("A", body="apple")).revision
    result = ask(search, "apple", wait_for=first, timeout_s=0.0)
    assert result.waited is not None
    assert result.waited.outcome is Outcome.TIMED_OUT
    assert ids(result) == ["a"]  # the answer comes all the same
    second = product.kbs.update_entry(KB, "a", Edit(body="pear")).revision
    for _ in range(3):
        product.embedding.embed_entry(_failing(), KB, "a")
    third = product.kbs.create_entry(KB, Draft("B")).revision
    product.embedding.embed_entry(encoder, KB, "b")
    fourth = product.kbs.create_entry(KB, Draft("C")).revision
    product.kbs.delete_entry(KB, "c")
    for revision, outcome in {
        first: Outcome.SUPERSEDED,
        second: Outcome.FAILED,
        third: Outcome.EMBEDDED,
        fourth: Outcome.SUPERSEDED,
    }.items():
        for mode in (HYBRID, SEMANTIC):
            waited = ask(search, "pear", mode, wait_for=revision, timeout_s=LONG).waited
            assert waited is not None
            assert waited.outcome is outcome
    assert ask(search, "pear", KEYWORD, wait_for=first).waited is None
    assert ask(search, "pear").waited is None
    for unknown in (0, -1, fourth + 1, 10**30):
        with pytest.raises(NotFoundError, match=f"there is no revision {unknown}"):
            ask(search, "pear", wait_for=unknown)


# The model


class Missing(Words):
    def fingerprint(self) -> str:
        raise ModelError("not installed")


class Unloadable(Words):
    def encode_query(self, text: str) -> Vector:
        raise ModelError("cannot be loaded")


@pytest.mark.parametrize(
    ("away", "reason"), [(Missing, "not installed"), (Unloadable, "cannot be loaded")]
)
def test_without_a_model_the_words_are_searched_and_the_answer_says_so(
    product: Product, encoder: Words, away: type[Words], reason: str
) -> None:
    put(product, encoder, "apple", "pear")
    search = SearchService(product.storage, away(), product.settings)
    result = ask(search, "apple")
    assert ids(result) == ["a"]
    assert result.warning == f"searched by words alone: {reason}"
    assert (result.hits[0].freshness, result.freshness.pending) == (Freshness.FRESH, 0)
    assert ask(search, "apple", KEYWORD).warning is None
    with pytest.raises(ModelError, match=reason):
        ask(search, "apple", SEMANTIC)


def test_a_model_that_comes_back_is_used_again(product: Product, encoder: Words) -> None:
    put(product, encoder, "apple", "pear")
    search = SearchService(product.storage, encoder, product.settings)
    real = encoder.fingerprint
    encoder.fingerprint = Missing().fingerprint  # type: ignore[method-assign]
    assert ask(search, "apple").warning is not None
    encoder.fingerprint = real  # type: ignore[method-assign]
    result = ask(search, "apple")
    assert (result.warning, ids(result)) == (None, ["a", "b"])


def test_nothing_to_compare_with_is_no_reason_to_load_a_model(
    product: Product, encoder: Words, search: SearchService
) -> None:
    assert ask(search, "apple").hits == ask(search, "apple", SEMANTIC).hits == ()
    assert encoder.queries == []


# While things change


def test_a_long_lived_search_sees_what_was_embedded_and_deleted_since(
    product: Product, encoder: Words, search: SearchService
) -> None:
    def found() -> list[str]:
        return sorted(ids(ask(search, "apple", SEMANTIC)))

    assert found() == []
    put(product, encoder, "apple")
    assert found() == ["a"]
    product.kbs.create_entry(KB, Draft("b", body="apple apple"))
    assert found() == ["a"]
    product.embedding.embed_entry(encoder, KB, "b")
    assert found() == ["a", "b"]
    product.kbs.delete_entry(KB, "a")
    assert found() == ["b"]
    assert product.embedding.collect_unused(everything=True) == 1
    assert found() == ["b"]
    product.kbs.delete_entry(KB, "b")
    product.embedding.collect_unused(everything=True)
    assert found() == []
    put(product, encoder, "apple")
    assert found() == ["a"]


def test_an_entry_deleted_during_the_search_is_left_out(
    product: Product, encoder: Words, search: SearchService
) -> None:
    put(product, encoder, "apple", "apple pie")
    real = encoder.encode_query

    def encode_query(text: str) -> Vector:
        product.kbs.delete_entry(KB, "a")
        return real(text)

    encoder.encode_query = encode_query  # type: ignore[method-assign]
    assert ids(ask(search, "apple")) == ["b"]
