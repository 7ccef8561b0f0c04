"""``pyrite links``: both directions, and what leads nowhere."""

from __future__ import annotations

import pytest

from tests.integration.shell import Shell


@pytest.fixture(autouse=True)
def notes(shell: Shell) -> None:
    shell.file(
        "index.md", "---\ntitle: Home\n---\n\nSee [[setup|how]].\n\n![[pic.png]] [[Nowhere]]\n"
    )
    shell.file("guide/setup.md", "[back](../index.md#top) [[twin]]\n")
    shell.file("a/twin.md", "[[HOME]]")
    shell.file("b/twin.md", "alone")
    shell.ok("kb", "add", "notes", str(shell.folder))
    shell.ok("index", "sync")


def test_an_entry_is_shown_with_both_ends(shell: Shell) -> None:
    assert shell.ok("links", "index").out.splitlines() == [
        "to\tguide/setup\t5\t[[setup|how]]",
        "to\t(dangling)\t7\t[[Nowhere]]",
        "from\ta/twin\t1\t[[HOME]]",
        "from\tguide/setup\t1\t(../index.md#top)",
    ]
    assert shell.ok("links", "guide/setup").out.splitlines()[1] == (
        "to\t(ambiguous: a/twin, b/twin)\t1\t[[twin]]"
    )
    assert shell.ok("links", "b/twin").out == "from\tguide/setup\t1\t[[twin]] (ambiguous)\n"


def test_a_path_is_shown_with_its_escapes(shell: Shell) -> None:
    shell.file("My Notes/Über 100%.md", "alone")
    shell.file("from.md", "[md](My%20Notes/Über%20100%25.md#a%20b)\n")
    shell.ok("index", "sync")
    written = "(My%20Notes/Über%20100%25.md#a%20b)"
    assert shell.ok("links", "from").out == f"to\tMy Notes/Über 100%\t1\t{written}\n"


def test_a_program_gets_them_as_json(shell: Shell) -> None:
    found = shell.ok("links", "guide/setup", "--json").json
    assert (found["kb"], found["id"]) == ("notes", "guide/setup")
    assert found["links"] == [
        {
            "kind": "markdown",
            "target": "../index.md",
            "fragment": "top",
            "shown": "",
            "line": 1,
            "state": "resolved",
            "leads_to": ["index"],
        },
        {
            "kind": "wiki",
            "target": "twin",
            "fragment": "",
            "shown": "",
            "line": 1,
            "state": "ambiguous",
            "leads_to": ["a/twin", "b/twin"],
        },
    ]
    assert found["backlinks"] == [
        {
            "id": "index",
            "kind": "wiki",
            "target": "setup",
            "fragment": "",
            "shown": "how",
            "line": 5,
            "state": "resolved",
            "leads_to": ["guide/setup"],
        },
    ]


def test_a_new_entry_a_rename_and_an_alias_count_at_once(shell: Shell) -> None:
    assert shell.ok("links", "--dangling").out == "notes\tindex\t7\t[[Nowhere]]\n"
    shell.ok("create", "--title", "x", "--id", "deep/nowhere", "--no-embed")
    assert shell.ok("links", "--dangling").out == ""
    assert shell.ok("links", "deep/nowhere").out == "from\tindex\t7\t[[Nowhere]]\n"

    (shell.folder / "deep/nowhere.md").rename(shell.folder / "deep/elsewhere.md")
    shell.ok("index", "sync")
    ran = shell.ok("links", "--dangling", "--kb", "notes", "--json")
    assert [(each["id"], each["target"]) for each in ran.json["links"]] == [("index", "Nowhere")]

    shell.ok("update", "deep/elsewhere", "--field", "aliases=[nowhere]", "--no-embed")
    assert shell.ok("links", "--dangling").err == "0 dangling links.\n"


def test_an_entry_without_links_says_so(shell: Shell) -> None:
    shell.file("lonely.md", "[[lonely]]")
    shell.file("c/quiet.md", "text")
    shell.ok("index", "sync")
    assert shell.ok("links", "c/quiet").err == "c/quiet has no links, and none lead to it.\n"
    assert shell.ok("links", "lonely").out == "to\tlonely\t1\t[[lonely]]\n"


def test_what_is_refused(shell: Shell) -> None:
    assert "Give either" in shell.refused("links", code=2)
    assert "Give either" in shell.refused("links", "index", "--dangling", code=2)
    assert "there is no entry 'no'" in shell.refused("links", "no")
    assert "no knowledge base 'no'" in shell.refused("links", "--dangling", "--kb", "no")
