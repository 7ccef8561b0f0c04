"""Entries as lines of JSON, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrite.errors import InvalidEntryError
from pyrite.markdown import document
from pyrite.markdown.entry import Entry
from pyrite.vault.json_lines import entry_of, file_of, line_of


def line(**given: Any) -> str:
    return json.dumps(given)


def test_every_name_is_read() -> None:
    given = {
        "id": "f/a",
        "title": "A",
        "type": "log",
        "summary": "s",
        "tags": ["x", "y z"],
        "fields": {"owner": "Kim", "n": [1, 2.5, None]},
        "body": "no end\r\n\n",
    }
    entry = entry_of(json.dumps(given))
    assert entry == Entry("f/a", "log", "A", "s", ("x", "y z"), "no end\r\n\n", given["fields"])
    assert json.loads(line_of(entry)) == given
    assert document.read(file_of(entry), "f/a") == entry


def test_what_pyrite_itself_adds_is_passed_over() -> None:
    given = line(id="a", kb="k", path="a.md", revision=1, updated_at=2.5, embedding="done")
    assert entry_of(given) == Entry("a", "note", "a", "", (), "", {})


def test_an_id_comes_from_the_title_and_a_title_from_the_body_or_the_id() -> None:
    assert entry_of(line(title="A good Day!")).id == "a-good-day"
    assert entry_of(line(title="A"), folder="x/y").id == "x/y/a"
    assert entry_of(line(id="f/b", body="text\n# Heading\n")).title == "Heading"
    assert entry_of(line(id="f/b")).title == "b"


def test_a_file_has_no_more_front_matter_than_it_takes() -> None:
    assert file_of(entry_of(line(id="a", body="# A\n"))) == b"# A\n"
    assert file_of(entry_of(line(id="a", body="text"))) == b"text"
    assert file_of(entry_of(line(id="a", body="---\nx: 1\n---\n"))).startswith(b"---\n---\n")
    assert file_of(entry_of(line(id="a", title="T", body="x"))) == b"---\ntitle: T\n---\n\nx"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON: .* at column 2"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "nested too deep"),
        ('{"n": NaN}', "NaN is no JSON number"),
        ("{}", "needs an 'id'"),
        (line(title=" ", body="x"), "needs an 'id'"),
        (line(id="a", Body="x"), "unknown name 'Body'; known are id, title"),
        (line(id="a", body=None), "'body' has to be a text"),
        (line(id="a", tags="x"), "'tags' has to be a list of texts"),
        (line(id="a", tags=[1]), "'tags' has to be a list of texts"),
        (line(id="a", fields=[]), "'fields' has to be an object"),
        (line(id="../a"), "cannot be an entry's id"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(InvalidEntryError, match=reason):
        entry_of(text)


@pytest.mark.parametrize(
    "given",
    [{"body": "\0"}, {"body": "\ud800"}, {"fields": {"title": "x"}}, {"title": "a\0"}],
)
def test_what_no_file_can_hold_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidEntryError):
        file_of(entry_of(line(id="a", **given)))


RAW = st.lists(
    st.sampled_from(["---\n", "\n", "\r\n", "title: T\n", "tags: [a, b]\n", "type: x\n", "# H\n",
                     "x: {y: [1, 2.5, null]}\n", "d: 2026-01-02\n", "summary: s\n", "text",
                     "\ufeff"]),
    max_size=8,
).map("".join)  # fmt: skip


@given(RAW)
@example("---\n---\n\n---\ntext---\n---\n")
def test_an_entry_survives_the_way_out_and_in(text: str) -> None:
    try:
        entry = document.read(text.encode(), "f/a")
    except document.DocumentError:
        return
    again = entry_of(line_of(entry))
    assert document.read(file_of(again), "f/a") == entry
