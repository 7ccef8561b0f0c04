"""Links: written with the entry, gone with it, and found from both of their ends."""

from __future__ import annotations

import pytest

from pyrite.markdown.link_targets import Named, aliases_of, key_of, lookup_key, name_keys
from pyrite.markdown.links import Kind, Link, links_of
from pyrite.storage.protocol import Storage
from pyrite.storage.records import BULK, LinkRow, Record
from tests.conformance.hands import delete, entry, record, write


def all_links(storage: Storage, kb: str) -> list[LinkRow]:
    """Every link of a knowledge base, a few at a time."""
    found: list[LinkRow] = []
    while rows := storage.links_after(kb, found[-1] if found else None, 3):
        found += rows
    return found


def names(storage: Storage, *wanted: str, kb: str = "kb") -> list[str]:
    """The ids of entries that have one of these names, each once."""
    return sorted(named.id for named in storage.names(kb, [key_of(name) for name in wanted]))


def targets(storage: Storage, kb: str, entry_id: str) -> list[str]:
    return [row.link.target for row in storage.links(kb, entry_id=entry_id)]


def linking(storage: Storage, kb: str, *names: str) -> list[str]:
    """The entries whose links have such keys."""
    return [row.entry_id for row in storage.links(kb, keys=[lookup_key(name) for name in names])]


def test_a_link_comes_back_as_it_was_written(storage: Storage) -> None:
    write(storage, "kb", "a", "one\n\n![[Café/B#^block|shown]] and [x](../c.md#part)")

    assert all_links(storage, "kb") == [
        LinkRow("kb", "a", "a.md", 0, Link(Kind.EMBED, "Café/B", "^block", "shown", 3)),
        LinkRow("kb", "a", "a.md", 1, Link(Kind.MARKDOWN, "../c.md", "part", "", 3)),
    ]


def test_links_are_in_order_of_entries_and_their_texts(storage: Storage) -> None:
    write(storage, "kb", "b", "[[z]] [[y]] " + "[[x]] " * 12)
    write(storage, "kb", "a", "[[w]]")
    write(storage, "other", "c", "[[v]]")

    found = all_links(storage, "kb")
    assert [(row.entry_id, row.link.target) for row in found] == [
        ("a", "w"),
        ("b", "z"),
        ("b", "y"),
        *[("b", "x")] * 12,
    ]
    assert targets(storage, "kb", "a") == ["w"]
    assert targets(storage, "kb", "nothing") == []
    assert targets(storage, "nothing", "a") == []


def test_an_edit_replaces_links(storage: Storage) -> None:
    write(storage, "kb", "a", "[[one]] [[two]]")
    write(storage, "kb", "b", "[[one]]")
    write(storage, "kb", "a", "[[three]]")
    assert targets(storage, "kb", "a") == ["three"]
    write(storage, "kb", "a", "none")

    assert targets(storage, "kb", "a") == []
    assert targets(storage, "kb", "b") == ["one"]


def test_of_an_entry_written_twice_at_once_the_last_counts(storage: Storage) -> None:
    for bodies in (("[[a]]", "[[b]] [[c]]"), ("[[d]] [[e]]", "[[f]]"), ("[[g]]", "none")):
        with storage.writing() as writing:
            records = [record("kb", entry("x", body)) for body in bodies]
            writing.upsert(records, priority=BULK, now=0.0)
        assert targets(storage, "kb", "x") == [link.target for link in links_of(bodies[-1])]


def test_links_go_with_their_entry(storage: Storage) -> None:
    write(storage, "kb", "a", "[[b]]")
    write(storage, "kb", "b", "[[a]]")
    write(storage, "other", "a", "[[b]]")
    delete(storage, "kb", "a")

    assert [row.entry_id for row in all_links(storage, "kb")] == ["b"]
    assert storage.remove_kb("kb", now=1.0)
    assert all_links(storage, "kb") == []
    assert targets(storage, "other", "a") == ["b"]


def test_nothing_is_kept_of_a_write_that_fails(storage: Storage) -> None:
    write(storage, "kb", "a", "[[b]]")
    with pytest.raises(ZeroDivisionError), storage.writing() as writing:  # noqa: PT012
        writing.upsert([record("kb", entry("a", "[[c]]"))], priority=BULK, now=1.0)
        raise ZeroDivisionError

    assert targets(storage, "kb", "a") == ["b"]


def test_links_found_beforehand_are_not_looked_for_again(storage: Storage) -> None:
    found = (Link(Kind.WIKI, "elsewhere", "", "", 7),)
    given = record("kb", entry("a", "[[b]]"))
    with storage.writing() as writing:
        writing.upsert([Record(given.kb, given.entry, given.file, found)], priority=BULK, now=0.0)

    assert [row.link for row in all_links(storage, "kb")] == list(found)


def test_links_are_found_by_the_end_of_what_they_name(storage: Storage) -> None:
    write(storage, "kb", "a", "[[folder/Straße]] [[other]]")
    write(storage, "kb", "b", "[x](../STRASSE.md) [[strasse#part]]")
    write(storage, "other", "c", "[[strasse]]")

    assert linking(storage, "kb", "Strasse") == ["a", "b", "b"]
    assert linking(storage, "kb", "strasse", "other") == ["a", "a", "b", "b"]
    assert linking(storage, "kb", "nothing") == linking(storage, "kb") == []


def test_entries_are_known_by_all_their_names(storage: Storage) -> None:
    several = {"aliases": ["One", " two ", 3], "alias": "four, five"}
    given = [
        entry("f/a", fields=several),
        entry("b", title="B!", fields={"aliases": None}),
        entry("c", fields={"note": '"alias'}),
    ]
    with storage.writing() as writing:
        writing.upsert([record("kb", each) for each in given], priority=BULK, now=0.0)
    write(storage, "other", "d")

    keys = set().union(*(name_keys(Named(e.id, e.title, aliases_of(e.fields))) for e in given))
    assert sorted(storage.names("kb", keys), key=lambda named: named.id) == [
        Named("b", "B!"),
        Named("c", "Title of c"),
        Named("f/a", "Title of f/a", ("One", "two", "3", "four", "five")),
    ]
    for name, ids in {
        "A": ["f/a"],
        "TITLE OF F/A": ["f/a"],
        "one": ["f/a"],
        "five": ["f/a"],
        "f/a": [],
        "b!": ["b"],
        "title of c": ["c"],
        "title of d": [],
        "alias": [],
    }.items():
        assert names(storage, name) == ids, name
    assert names(storage, "b", "b!", "c", "no such") == ["b", "c"]
    assert names(storage) == names(storage, "b", kb="nothing") == []


def test_names_follow_the_entry(storage: Storage) -> None:
    def put(title: str, *aliases: str, body: str = "text") -> None:
        with storage.writing() as writing:
            what = entry("a", body, title=title, fields={"aliases": list(aliases)})
            writing.upsert([record("kb", what)], priority=BULK, now=0.0)

    put("First", "other")
    put("First", "other", body="another text")
    assert names(storage, "a", "first", "other") == ["a"]
    put("Second", "other")
    assert names(storage, "first") == []
    assert names(storage, "second") == names(storage, "other") == ["a"]
    put("Second")
    assert names(storage, "other") == []
    delete(storage, "kb", "a")
    assert names(storage, "a", "second") == []
    put("Second")
    assert names(storage, "a") == ["a"]
    assert storage.remove_kb("kb", now=1.0)
    assert names(storage, "a", "second") == []


def test_of_names_written_twice_at_once_the_last_count(storage: Storage) -> None:
    for titles in (("One", "Two"), ("Three", "Four")):
        with storage.writing() as writing:
            records = [record("kb", entry("x", title=title)) for title in titles]
            writing.upsert(records, priority=BULK, now=0.0)
        assert names(storage, *titles[:1]) == []
        assert names(storage, titles[-1]) == ["x"]
    assert names(storage, "One", "Two", "Three") == []
