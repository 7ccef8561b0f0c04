"""What an entry is to be becomes the smallest edit that makes it so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.errors import InvalidEntryError
from pyrite.knowledge.replacing import merged, merging, replacing
from pyrite.markdown import document
from pyrite.markdown.entry import Entry
from pyrite.vault.entry_files import Draft, Edit


def entry(raw: str, entry_id: str = "ops/backups") -> Entry:
    return document.read(raw.encode(), entry_id)


def after(raw: str, edit: Edit) -> str:
    changed = document.update(
        raw.encode(), changes=edit.changes, removals=edit.removals, body=edit.body
    )
    return changed.decode()


FILE = "---\nowner: Kim   # for now\ntags: [a, b]\n---\n# Backups\n\nText\n"


def test_to_replace_by_the_same_keeps_every_byte() -> None:
    present = entry(FILE)
    draft = Draft(
        title=present.title,
        type=present.type,
        tags=present.tags,
        body=present.body,
        fields=present.fields,
    )
    assert after(FILE, replacing(draft)(present)) == FILE


def test_what_a_replacement_lacks_goes() -> None:
    text = after(FILE, replacing(Draft(title="New"))(entry(FILE)))
    found = entry(text)
    assert (found.title, found.type, found.tags, found.fields) == ("New", "note", (), {})
    assert found.body == ""


def test_a_title_is_written_down_where_the_body_would_say_another() -> None:
    draft = Draft(title="Backups", body="# Another\n")
    assert entry(after(FILE, replacing(draft)(entry(FILE)))).title == "Backups"


def test_what_is_not_patched_keeps_its_bytes() -> None:
    text = after(FILE, merging({"summary": "Short", "fields": {"n": 1}})(entry(FILE)))
    assert text == FILE.replace("b]\n", "b]\nsummary: Short\nn: 1\n")


def test_a_title_that_comes_from_the_heading_moves_with_it() -> None:
    text = after(FILE, merging({"body": "# Other\n"})(entry(FILE)))
    assert entry(text).title == "Other"


@pytest.mark.parametrize("name", ["title", "type", "tags", "summary"])
def test_null_and_nothing_remove(name: str) -> None:
    for value in (None, [] if name == "tags" else ""):
        edit = merging({name: value})(entry(FILE))
        assert (list(edit.removals), dict(edit.changes)) == ([name], {})


@pytest.mark.parametrize("name", ["title", "type", "tags", "summary"])
def test_a_field_of_its_own_is_not_among_the_others(name: str) -> None:
    with pytest.raises(InvalidEntryError):
        merging({"fields": {name: None}})(entry(FILE))
    with pytest.raises(InvalidEntryError):
        replacing(Draft(title="x", fields={name: "x"}))(entry(FILE))


#: The examples of RFC 7396, appendix A: original, patch, result.
RFC_7396: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_merging_is_as_the_standard_says(target: Any, patch: Any, result: Any) -> None:
    assert merged(target, patch) == result


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_a_patch_made_twice_is_made_once(target: Any, patch: Any) -> None:
    once = merged(target, patch)
    assert merged(once, patch) == once
    assert isinstance(once, Mapping) or not isinstance(patch, Mapping)
