"""Queries are read as people write them elsewhere, and what is printed of one reads back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrite.search.language import (
    Both,
    Either,
    Exclude,
    Field,
    Loose,
    Node,
    Phrase,
    Prefix,
    Word,
    parse,
    print_query,
)

A, B, C = Word("a"), Word("b"), Word("c")


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("a", A),
        ("a b", Loose((A, B))),
        ("a (b c)", Loose((A, B, C))),
        ('"a  b"', Phrase("a b")),
        *((f"{o}a b{c}", Phrase("a b")) for o, c in ("“”", "„“", "””", "«»", "»«", "「」", "『』")),
        ("「東京」の地図", Loose((Phrase("東京"), Word("の地図")))),
        ("a -b", Loose((A, Exclude(B)))),
        ("a NOT b", Loose((A, Exclude(B)))),
        ('a -"b c"', Loose((A, Exclude(Phrase("b c"))))),
        ("NOT NOT a", A),
        ("-(a OR b)", Exclude(Either((A, B)))),
        ("-(a b)", Exclude(Both((A, B)))),
        ("a OR b", Either((A, B))),
        ("a AND b", Both((A, B))),
        ("a b OR c", Either((Both((A, B)), C))),
        ("(a OR b) c", Loose((Either((A, B)), C))),
        ("a AND (b OR c)", Both((A, Either((B, C))))),
        ("a or b and not c", Loose(tuple(map(Word, ["a", "or", "b", "and", "not", "c"])))),
        ("back*", Prefix("back")),
        ("+back", Phrase("back")),
        ("+49 30", Loose((Word("+49"), Word("30")))),
        ("tag:ops", Field("tag", Word("ops"))),
        ("TAGS:ops", Field("tag", Word("ops"))),
        ("-tag:ops", Exclude(Field("tag", Word("ops")))),
        ('title:"a b"', Field("title", Phrase("a b"))),
        ("tag:(a OR b)", Either((Field("tag", A), Field("tag", B)))),
        ("Owner:Kim", Field("Owner", Word("Kim"))),
        ("path:ops/*", Field("path", Word("ops/*"))),
        ("since:2026-11-01", Field("since", Word("2026-11-01"))),
        ("https://a.example/b", Word("https://a.example/b")),
        ("std::string 12:30", Loose((Word("std::string"), Word("12:30")))),
        ("C++ OPS-12 f(x)", Loose((Word("C++"), Word("OPS-12"), Word("f(x)")))),
        ('27" monitor', Loose((Word('27"'), Word("monitor")))),
        ("--help", Word("--help")),
        ("", Loose(())),
        ("!? … ()", Word("…")),
    ],
)
def test_a_query_is_read(query: str, tree: Node) -> None:
    read = parse(query)
    assert read.tree == tree
    assert read.hints == ()


@pytest.mark.parametrize(
    ("query", "tree", "hint"),
    [
        ('a "b c', Loose((A, B, C)), "quotation mark"),
        ("(a b", Loose((A, B)), "parenthesis that nothing closes"),
        ("a) b", Loose((A, B)), "parenthesis that nothing opens"),
        ("a OR", A, "OR stands between"),
        ("OR a", A, "OR stands between"),
        ("a AND", A, "AND stands between"),
        ("a NOT", A, "NOT stands before"),
        ("ba*k", Word("ba*k"), "star stands at the end"),
        ("(" * 40 + "a b" + ")" * 40, Loose((A, Word("b" + ")" * 40))), "deeper than 30"),
    ],
)
def test_what_is_no_query_is_words_and_a_hint(query: str, tree: Node, hint: str) -> None:
    read = parse(query)
    assert hint in " ".join(read.hints)
    assert read.tree == tree


def test_in_a_pasted_text_signs_are_punctuation_and_filters_hold() -> None:
    words = [f"w{number}" for number in range(16)]
    assert Phrase("a b") in parse(f'{" ".join(words)} "a b"').tree.parts  # type: ignore[union-attr]
    read = parse(f'{" ".join(words)} x -y "a b" (c OR d) tag:ops')
    expected = [*map(Word, [*words, "x", "y", "a", "b", "c", "or", "d)"])]
    assert read.tree == Loose((*expected, Field("tag", Word("ops"))))
    assert "more than 16 words" in read.hints[0]
    alternatives = " OR ".join(words * 3)
    assert len(parse(alternatives).tree.parts) == 48  # type: ignore[union-attr]


LEAF = st.one_of(
    st.sampled_from(["a", "C++", "OPS-12", "f(x)", "日本", "🙂", "x:y/z", "12:30", "+49"]).map(
        lambda text: Word(text.replace("x:y", "x/y"))
    ),
    st.sampled_from(["ba", "日"]).map(Prefix),
    st.sampled_from(["a b", "x", "OR", "tag:x", "(a", "-b"]).map(Phrase),
    st.builds(
        Field,
        st.sampled_from(["tag", "title", "Owner"]),
        st.sampled_from([Word("-x"), Word("OR"), Word("a:b"), Phrase("a b"), Prefix("b")]),
    ),
)


def joined(
    kind: type[Both] | type[Either], inner: st.SearchStrategy[Node]
) -> st.SearchStrategy[Node]:
    parts = st.lists(inner.filter(lambda node: not isinstance(node, kind)), min_size=2, max_size=3)
    return parts.map(lambda found: kind(tuple(found)))


STRICT: st.SearchStrategy[Node] = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        joined(Both, inner),
        joined(Either, inner),
        inner.filter(lambda node: not isinstance(node, Exclude)).map(Exclude),
    ),
    max_leaves=12,
)
TREES = st.one_of(
    STRICT, st.lists(STRICT, min_size=2, max_size=6).map(lambda parts: Loose(tuple(parts)))
)


@given(TREES)
def test_what_is_printed_reads_back(tree: Node) -> None:
    read = parse(print_query(tree))
    assert read.tree == tree
    assert read.hints == ()


SIGNS = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "OR",
            "AND",
            "NOT",
            "(",
            ")",
            '"',
            "“",
            "«",
            "」",
            "-",
            "+",
            "*",
            ":",
            "tag:",
            " ",
            " ",
        ]
    ),
    max_size=60,
).map("".join)


@given(st.one_of(SIGNS, st.text(max_size=200)))
@example("(" * 10_000)
@example("-" * 10_000 + "a")
@example("NOT " * 2500 + "a")
@example('"“' * 5000)
@example("a OR " * 2000)
@example("\0\x85\udcff")
def test_any_text_is_read_and_what_is_printed_of_it_reads_back(query: str) -> None:
    tree = parse(query).tree
    assert parse(print_query(tree)).tree == tree
