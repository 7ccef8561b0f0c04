"""Which entry a link means."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.markdown.link_targets import (
    EntryNames,
    Named,
    State,
    aliases_of,
    joined,
    key_of,
    keys_of,
    lookup_key,
    name_keys,
    wanted_keys,
)
from pyrite.markdown.links import Kind, Link

NAMES = EntryNames(
    [
        Named("index", "Home"),
        Named("guide/index", "The guide"),
        Named("guide/Setup", "Setting up", ("install", "Release 1.0.md")),
        Named("guide/deep/setup", "Setting up, deeply"),
        Named("guide/deep/only", "Only here"),
        Named("a/Café", "Coffee"),
        Named("x/note", "Notes on x"),
        Named("y/note", "Notes on y"),
        Named("y/z/note", "Coffee"),
        Named("Node.js", "Node.js"),
        Named("case", "Lower"),
        Named("Case", "Upper"),
        Named("old", "Install"),
        Named("v1/two.md words", "Odd"),
    ]
)


def wiki(target: str, source: str = "from") -> tuple[str, ...]:
    return NAMES.resolve(Link(Kind.WIKI, target, "", "", 1), source).ids


def path(target: str, source: str) -> tuple[str, ...]:
    return NAMES.resolve(Link(Kind.MARKDOWN, target, "", "", 1), source).ids


@pytest.mark.parametrize(
    ("target", "ids"),
    [
        ("index", ("index",)),  # the exact id, whatever else ends like it
        ("guide/index", ("guide/index",)),
        ("GUIDE/INDEX", ("guide/index",)),
        ("/guide/index.md", ("guide/index",)),
        ("setup", ("guide/Setup",)),  # fewest folders
        ("deep/setup", ("guide/deep/setup",)),
        ("eep/setup", ()),
        ("only", ("guide/deep/only",)),
        ("the GUIDE", ("guide/index",)),  # a title
        ("coffee", ("a/Café",)),  # two titles, one with fewer folders
        ("Install", ("old",)),  # a title before an alias
        ("release 1.0.md", ("guide/Setup",)),
        ("note", ("x/note", "y/note")),
        ("Café", ("a/Café",)),
        (unicodedata.normalize("NFD", "CAFÉ"), ("a/Café",)),
        ("node.js", ("Node.js",)),
        ("case", ("case",)),
        ("Case", ("Case",)),
        ("CASE", ("Case", "case")),
        ("nothing", ()),
        ("", ()),
        ("/", ()),
    ],
)
def test_a_name_means(target: str, ids: tuple[str, ...]) -> None:
    assert wiki(target) == ids


def test_the_entry_beside_it_is_nearer() -> None:
    assert wiki("note", "y/other") == ("y/note",)
    assert wiki("note", "y/z/other") == ("x/note", "y/note")
    assert wiki("./note", "y/z/other") == ("y/z/note",)
    assert wiki("../note", "y/z/other") == ("y/note",)
    assert wiki("../../note", "y/other") == ()


def test_a_path_begins_at_the_linking_entry_or_at_the_root() -> None:
    assert path("index.md", "guide/Setup") == ("guide/index",)
    assert path("../index.md", "guide/Setup") == ("index",)
    assert path("/index.md", "guide/Setup") == ("index",)
    assert path("./deep/only.md", "guide/Setup") == ("guide/deep/only",)
    assert path("guide/deep/only.md", "x/note") == ("guide/deep/only",)
    assert path("../../../index.md", "guide/Setup") == ()
    assert path("deep/only.md", "x/note") == ()


def test_a_bare_file_name_means_the_only_entry_of_that_name() -> None:
    assert path("only.md", "x/note") == ("guide/deep/only",)
    assert path("note.md", "guide/Setup") == ()


def test_a_resolution_has_a_state() -> None:
    states = [
        NAMES.resolve(Link(Kind.WIKI, t, "", "", 1), "").state for t in ("index", "note", "?")
    ]
    assert states == [State.RESOLVED, State.AMBIGUOUS, State.DANGLING]


def test_aliases_are_a_list_or_a_text_with_commas() -> None:
    assert aliases_of({"aliases": ["a, b", " c ", "", None, 7, ["x"]]}) == ("a, b", "c", "7")
    assert aliases_of({"aliases": "a, b,,a", "alias": "c"}) == ("a", "b", "c")
    assert aliases_of({"aliases": {"a": 1}}) == aliases_of({}) == ()


@pytest.mark.parametrize(
    ("folder", "relative", "found"),
    [
        ("", "a", "a"),
        ("a/b", "../c", "a/c"),
        ("a", "..", ""),
        ("a", "../..", None),
        ("a", "/b", "b"),
        ("a", ".//b/.", "a/b"),
    ],
)
def test_paths_are_joined(folder: str, relative: str, found: str | None) -> None:
    assert joined(folder, relative) == found


IDS = st.lists(
    st.text(st.sampled_from("aAbBé."), min_size=1, max_size=3), min_size=1, max_size=3
).map("/".join)
ENTRIES = st.lists(st.builds(Named, IDS, IDS, st.lists(IDS, max_size=2).map(tuple)), max_size=6)


@given(ENTRIES, IDS, st.sampled_from(Kind), IDS)
def test_whatever_a_link_means_can_be_found_by_its_key(
    entries: list[Named], target: str, kind: Kind, source: str
) -> None:
    target = f"{target}.md" if kind is Kind.MARKDOWN else target
    by_id = {named.id: named for named in entries}
    found = EntryNames(by_id.values()).resolve(Link(kind, target, "", "", 1), source).ids
    assert all(lookup_key(target) in keys_of(by_id[each]) for each in found)
    assert len(set(found)) == len(found)


ODD_IDS = st.lists(
    st.sampled_from(["a", "A", "b.md", "b", ".", "..", "", "é", "e\u0301", " a "]),
    min_size=1,
    max_size=4,
).map("/".join)


@given(ENTRIES, st.lists(st.tuples(IDS | ODD_IDS, st.sampled_from(Kind), IDS), max_size=4))
def test_the_names_under_its_keys_are_all_that_a_link_needs(
    entries: list[Named], links: list[tuple[str, Kind, str]]
) -> None:
    by_id = {named.id: named for named in entries}
    given_links = [(Link(kind, target, "", "", 1), source) for target, kind, source in links]
    keys = {key for link, source in given_links for key in wanted_keys(link, source)}
    among_all = EntryNames(by_id.values())
    among_some = EntryNames(named for named in by_id.values() if keys & name_keys(named))
    for link, source in given_links:
        assert among_some.resolve(link, source) == among_all.resolve(link, source)


@given(ENTRIES)
def test_an_exact_id_is_always_meant(entries: list[Named]) -> None:
    names = EntryNames({named.id: named for named in entries}.values())
    for named in entries:
        if not named.id.startswith((".", "/")):
            assert names.resolve(Link(Kind.WIKI, named.id, "", "", 1), "x").ids == (named.id,)


@given(st.text(max_size=20))
def test_a_key_is_its_own_key(name: str) -> None:
    assert key_of(key_of(name)) == key_of(name)
