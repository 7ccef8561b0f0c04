"""Rankings are fused by place: by the formula, and so that the fusion makes sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.search.ranking import RANK_CONSTANT, fused, places, ranked
from pyrite.storage.records import Key

KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from("uvwxyz"))
RANKINGS = st.lists(KEYS, unique=True, max_size=12)


def test_the_fusion_is_the_formulas() -> None:
    a, b, c, d = (("kb", name) for name in "abcd")
    scores = fused([places([a, b, c]), places([c, a, d])])
    assert scores == {
        a: pytest.approx(1 / 61 + 1 / 62),
        b: pytest.approx(1 / 62),
        c: pytest.approx(1 / 63 + 1 / 61),
        d: pytest.approx(1 / 63),
    }
    assert ranked(scores) == [a, c, b, d]
    assert RANK_CONSTANT == 60


def test_the_first_place_is_1() -> None:
    assert places([("kb", "x"), ("kb", "y")]) == {("kb", "x"): 1, ("kb", "y"): 2}
    assert (places([]), fused([]), fused([{}, {}])) == ({}, {}, {})


def test_equals_stand_by_knowledge_base_and_id() -> None:
    scores = {("b", "a"): 1.0, ("a", "z"): 1.0, ("a", "b"): 1.0, ("z", "z"): 2.0, ("a", "a"): 0.5}
    assert ranked(scores) == [("z", "z"), ("a", "b"), ("a", "z"), ("b", "a"), ("a", "a")]


def test_first_by_words_and_first_by_meaning_are_equals() -> None:
    one, two = ("kb", "one"), ("kb", "two")
    scores = fused([places([two]), places([one])])
    assert scores[one] == scores[two]
    assert ranked(scores) == [one, two]


@given(RANKINGS, RANKINGS)
def test_whoever_stands_higher_in_both_stands_higher(words: list[Key], meaning: list[Key]) -> None:
    rankings = [places(words), places(meaning)]
    order = places(ranked(fused(rankings)))
    assert order.keys() == {*words, *meaning}
    for one in order:
        for two in order:
            # It is wherever the other is, and higher there.
            there = [(r.get(one), r[two]) for r in rankings if two in r]
            if all(a is not None and a < b for a, b in there):
                assert order[one] < order[two]


@given(RANKINGS, RANKINGS)
def test_it_does_not_matter_which_ranking_comes_first(words: list[Key], meaning: list[Key]) -> None:
    one, two = places(words), places(meaning)
    assert fused([one, two]) == pytest.approx(fused([two, one]))
    assert ranked(fused([one, two])) == ranked(fused([two, one]))


@given(RANKINGS)
def test_one_ranking_keeps_its_order(ranking: list[Key]) -> None:
    assert ranked(fused([places(ranking), {}])) == ranking


@given(st.dictionaries(KEYS, st.floats(-1, 1)))
def test_a_ranking_is_the_same_however_it_was_put_together(scores: dict[Key, float]) -> None:
    backwards = dict(reversed(scores.items()))
    order = ranked(scores)
    assert ranked(backwards) == order
    assert [(-scores[key], key) for key in order] == sorted((-s, k) for k, s in scores.items())
