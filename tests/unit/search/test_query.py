"""What a person types becomes words and phrases, whatever it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrite.errors import InvalidQueryError
from pyrite.knowledge.filters import check_filters
from pyrite.search.query import (
    MOST_HITS,
    MOST_QUERY_CHARACTERS,
    MOST_WORDS,
    STOP_WORDS,
    SearchRequest,
    check_page,
    words_of,
)
from pyrite.storage.records import Filters, WordQuery


@pytest.mark.parametrize(
    ("query", "words", "phrases"),
    [
        ("red green", ("red", "green"), ()),
        ("red green red", ("red", "green", "red"), ()),
        ("Größe 日本 naïve", ("Größe", "日本", "naïve"), ()),
        ("what is the plan", ("plan",), ()),
        ("The Plan", ("Plan",), ()),
        ("to be or not to be", ("to", "be", "or", "not", "to", "be"), ()),
        ("who", ("who",), ()),
        ('"error 137"', (), ("error 137",)),
        ('the "error 137"', (), ("error 137",)),
        ('log "error 137"', ("log",), ("error 137",)),
        ('"the who" "The Who" "the who"', (), ("the who", "The Who")),
        ('a "b', ("b",), ()),
        ('"a" "b', ("b",), ("a",)),
        ('""', (), ()),
        ('"..." x', ("x",), ()),
        ('"a, b... c!"', (), ("a b c",)),
        ("C++ && (x | y) NEAR(z) -w", ("C", "x", "y", "NEAR", "z", "w"), ()),
        ("title:x AND NOT y*", ("title", "x", "y"), ()),
        ("it's 'quoted'", ("s", "quoted"), ()),
        ("foo_bar", ("foo_bar",), ()),
        ("a\0b\0", ("b",), ()),
        ("x\ty\nz", ("x", "y", "z"), ()),
        ("🎉 party 👍🏽", ("party",), ()),
        ("🎉", (), ()),
        ("!? … ()[]{}*^%;--", (), ()),
        ("\0\x02\x03", (), ()),
    ],
)
def test_words_and_phrases_are_told_apart(
    query: str, words: tuple[str, ...], phrases: tuple[str, ...]
) -> None:
    assert words_of(query) == WordQuery(words, phrases)


def test_a_decomposed_letter_is_one_letter() -> None:
    """As a Mac's file names are spelled: an e, and an accent to be put over it."""
    assert words_of("cafe\u0301s au lait").words == ("cafe\u0301s", "au", "lait")


def test_in_a_pasted_text_quotation_marks_are_punctuation() -> None:
    short = " ".join(f"w{number}" for number in range(16))
    assert words_of(f'{short} "a phrase"').phrases == ("a phrase",)
    long = words_of(f'{short} w16 "a phrase" said')
    assert long.phrases == ()
    assert long.words[-3:] == ("w16", "phrase", "said")  # an "a" says nothing


def test_of_a_very_long_text_the_first_words_are_looked_for() -> None:
    found = words_of(" ".join(f"w{number}" for number in range(2 * MOST_WORDS)))
    assert found.words == tuple(f"w{number}" for number in range(MOST_WORDS))
    quoted = words_of(" ".join(f'"w{number} x"' for number in range(2 * MOST_WORDS)))
    assert len(quoted.phrases) == MOST_WORDS
    assert words_of("x" * MOST_QUERY_CHARACTERS).words == ("x" * MOST_QUERY_CHARACTERS,)


@given(st.text(max_size=200))
@example('"' * 100)
@example("a" * MOST_QUERY_CHARACTERS)
def test_any_text_has_words_that_stand_in_it(query: str) -> None:
    found = words_of(query)
    for word in (*found.words, *(word for phrase in found.phrases for word in phrase.split(" "))):
        assert word in query
        assert not re.search(r'[\s"\0*^:(){}+-]', word)
    assert not (found.words and found.phrases and STOP_WORDS & {w.lower() for w in found.words})


@given(st.lists(st.sampled_from(["the", "of", "plan", "IS", "red", "plan"]), max_size=12))
def test_words_that_say_nothing_are_left_out_only_beside_others(words: list[str]) -> None:
    telling = tuple(word for word in words if word.lower() not in STOP_WORDS)
    assert words_of(" ".join(words)).words == (telling or tuple(words))


# What is refused


def refused(request: SearchRequest) -> str:
    with pytest.raises(InvalidQueryError) as caught:
        request.check()
    return str(caught.value)


@pytest.mark.parametrize("query", ["", " ", "\n\t ", "\u2003\xa0"])
def test_a_query_must_say_something(query: str) -> None:
    assert "the query is empty" in refused(SearchRequest(query=query))


def test_a_query_is_not_a_book() -> None:
    SearchRequest(query="x" * MOST_QUERY_CHARACTERS).check()
    assert "has 10,001 characters, more than 10,000" in refused(
        SearchRequest(query="x" * (MOST_QUERY_CHARACTERS + 1))
    )


def test_a_query_is_text() -> None:
    assert "not valid text" in refused(SearchRequest(query="x \udcff"))


@pytest.mark.parametrize("query", ["x", "🎉", "\0", '"', "a" * 10_000, "OR", "*"])
def test_a_query_may_be_odd(query: str) -> None:
    SearchRequest(query=query).check()


@pytest.mark.parametrize(
    ("limit", "offset", "reason"),
    [
        (0, 0, "limit must be from 1 to 1000, not 0"),
        (-1, 0, "limit must be"),
        (MOST_HITS + 1, 0, "limit must be"),
        (1, -1, "offset must be from 0 to 999, not -1"),
        (10, MOST_HITS - 9, "offset must be from 0 to 990, not 991"),
        (MOST_HITS, 1, "offset must be from 0 to 0"),
    ],
)
def test_a_page_has_bounds(limit: int, offset: int, reason: str) -> None:
    assert reason in refused(SearchRequest(query="x", limit=limit, offset=offset))


@pytest.mark.parametrize(("limit", "offset"), [(1, 0), (MOST_HITS, 0), (1, MOST_HITS - 1)])
def test_pages_up_to_the_bounds_are_allowed(limit: int, offset: int) -> None:
    check_page(limit, offset)


@pytest.mark.parametrize("timeout_s", [-1.0, float("nan")])
def test_nobody_waits_for_less_than_nothing(timeout_s: float) -> None:
    assert "time-out" in refused(SearchRequest(query="x", wait_for=1, timeout_s=timeout_s))


@pytest.mark.parametrize(
    "day",
    [
        *("", "2026", "2026-11", "20261130", "2026-W48-1", "2026-02-30", "2026-11-30T10:00"),
        *("30.11.2026", "yesterday", "now", " 2026-11-30", "2026-11-30 ", "2026-1-3", "\udcff"),
    ],
)
@pytest.mark.parametrize("name", ["since", "until"])
def test_a_day_is_written_in_one_way(name: str, day: str) -> None:
    with pytest.raises(InvalidQueryError, match=f"^{name} must be a day like 2026-11-30, not '"):
        check_filters(Filters(**{name: day}))


@pytest.mark.parametrize("name", ["title", "type", "summary", "tags"])
def test_what_has_a_filter_of_its_own_is_no_field(name: str) -> None:
    with pytest.raises(InvalidQueryError, match=f"^'{name}' is not among the fields"):
        check_filters(Filters(fields={"a": "b", name: "x"}))


@pytest.mark.parametrize(
    "filters",
    [Filters(types=("\udcff",)), Filters(tags=("a", "\udcff")), Filters(fields={"a": "\udcff"})],
)
def test_a_filter_is_text(filters: Filters) -> None:
    with pytest.raises(InvalidQueryError, match="not valid text"):
        check_filters(filters)


def test_filters_that_can_be_used_are_taken() -> None:
    check_filters(Filters())
    check_filters(
        Filters(("kb",), ("t",), ("x",), "2024-02-29", "2026-02-28", {"author": "Kim", "a b": ""})
    )
    check_filters(Filters(since="2026-02-28", until="2026-02-28"))


def test_days_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(InvalidQueryError, match="2026-03-01, is after until, 2026-02-28") as caught:
        check_filters(Filters(since="2026-03-01", until="2026-02-28"))
    assert caught.value.field == "since"
