"""Links: written with the entry, gone with it, and found from both of their ends."""

from __future__ import annotations

import pytest

from pyrite.markdown.link_targets import Named, lookup_key
from pyrite.markdown.links import Kind, Link, links_of
from pyrite.storage.protocol import Storage
from pyrite.storage.records import BULK, LinkRow, Record
from tests.conformance.hands import delete, entry, record, write


def targets(storage: Storage, kb: str, entry_id: str) -> list[str]:
    return [row.link.target for row in storage.links(kb, entry_id=entry_id)]


def linking(storage: Storage, kb: str, *names: str) -> list[str]:
    """The entries whose links have such keys."""
    return [row.entry_id for row in storage.links(kb, keys=[lookup_key(name) for name in names])]


def test_a_link_comes_back_as_it_was_written(storage: Storage) -> None:
    write(storage, "kb", "a", "one\n\n![[Café/B#^block|shown]] and [x](../c.md#part)")

    assert storage.links("kb") == [
        LinkRow("kb", "a", Link(Kind.EMBED, "Café/B", "^block", "shown", 3)),
        LinkRow("kb", "a", Link(Kind.MARKDOWN, "../c.md", "part", "", 3)),
    ]


def test_links_are_in_order_of_entries_and_their_texts(storage: Storage) -> None:
    write(storage, "kb", "b", "[[z]] [[y]] " + "[[x]] " * 12)
    write(storage, "kb", "a", "[[w]]")
    write(storage, "other", "c", "[[v]]")

    found = storage.links("kb")
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

    assert [row.entry_id for row in storage.links("kb")] == ["b"]
    assert storage.remove_kb("kb", now=1.0)
    assert storage.links("kb") == []
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

    assert [row.link for row in storage.links("kb")] == list(found)


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

    assert sorted(storage.names("kb"), key=lambda named: named.id) == [
        Named("b", "B!"),
        Named("c", "Title of c"),
        Named("f/a", "Title of f/a", ("One", "two", "3", "four", "five")),
    ]
    assert storage.names("nothing") == []
