"""A query becomes words that rank, conditions, and a text to be embedded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyrite.errors import InvalidQueryError
from pyrite.search.understanding import Understood, read, understand
from pyrite.storage.records import AllOf, AnyOf, Condition, Filters, Not, Terms


def asked(query: str) -> Understood:
    tree, hints = read(query)
    return understand(query, tree, hints)


@pytest.mark.parametrize(
    ("query", "text", "conditions"),
    [
        ("how long", "how long", ()),
        ('a "b c"', 'a "b c"', ()),
        ("backup -tape", "backup", (Not(Terms("tape")),)),
        ("cat OR dog", "cat dog", (AnyOf((Terms("cat"), Terms("dog"))),)),
        ("cat AND dog", "cat dog", (AllOf((Terms("cat"), Terms("dog"))),)),
        ("tag:#ops", "", (Filters(tags=("ops",)),)),
        ("x -tag:ops", "x", (Not(Filters(tags=("ops",))),)),
        ("title:plan", "plan", (Terms("plan", column="title"),)),
        ("back*", "back", ()),
        ("-back*", "", (Not(Terms("back", prefix=True)),)),
        ("path:ops/*", "", (Filters(paths=("ops/*",)),)),
        ("date:2026-01-01..2026-02-01", "", (Filters(since="2026-01-01", until="2026-02-01"),)),
        ("owner:Kim x", "x", (Filters(fields={"owner": "Kim"}),)),
    ],
)
def test_what_is_asked_for(query: str, text: str, conditions: tuple[Condition, ...]) -> None:
    found = asked(query)
    assert found.text == text
    assert found.condition == (AllOf(conditions) if conditions else None)


def test_a_phrase_is_a_condition_where_no_words_are_looked_for() -> None:
    found = asked('a "b c"')
    assert found.words.phrases == ("b c",)
    assert found.filters(Filters(), phrases=False) == Filters()
    assert found.filters(Filters(kbs=("k",)), phrases=True) == Filters(
        kbs=("k",), condition=AllOf((Terms("b c"),))
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (" OR ".join(f"w{n}" for n in range(101)), "101 phrases, fields and operators"),
        (" ".join(f'"a{n} b"' for n in range(200)), "200 phrases"),
        (f'"{"w " * 1400}"', "a phrase has 1,400 words, more than 100"),
        ("path:" + "x" * 1001, "1,001 characters, more than 1,000"),
    ],
)
def test_there_are_limits(query: str, reason: str) -> None:
    with pytest.raises(InvalidQueryError, match=reason) as caught:
        asked(query)
    assert caught.value.field == "q"


def test_the_handbook_shows_queries_that_are_read_without_a_hint() -> None:
    page = Path(__file__).parents[3] / "pyrite/handbook/commands/searching.md"
    queries = re.findall(r"^\| `([^`]+)` \|", page.read_text(), re.MULTILINE)
    assert len(queries) >= 13
    for query in queries:
        found = asked(query)
        assert found.hints == ()
        assert found.condition is not None or found.words.phrases or "*" in query
