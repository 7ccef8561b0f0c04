"""What a client sends is held to its type, and every fault is named with its field."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from pyrite.api import tool_parameters
from pyrite.api.parameters import (
    EntryPatch,
    ListParameters,
    NewEntries,
    NewEntry,
    RelatedParameters,
    RetryOrder,
    SearchParameters,
)
from pyrite.api.validation import (
    InvalidParametersError,
    converted,
    from_arguments,
    from_query,
    lone_surrogates,
)
from pyrite.errors import InvalidQueryError
from pyrite.search.query import Mode

ONE_OF = "it must be one of 'hybrid', 'semantic', 'keyword'"


def faults(raised: pytest.ExceptionInfo[InvalidParametersError]) -> list[tuple[str, str]]:
    return [(each.field, each.reason) for each in raised.value.faults]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], [("", "Expected object, got array")]),
        (
            {"title": 7, "tags": "ops", "colour": 1},
            [
                ("title", "Expected str, got int"),
                ("tags", "Expected array, got str"),
                ("colour", "extra inputs are not permitted"),
            ],
        ),
        ({"tags": ["a", None]}, [("tags.1", "Expected str, got null")]),
        ({"title": "a\0"}, [("title", "it has a character that cannot stand in a text")]),
    ],
)
def test_every_fault_of_a_body_is_named(given: Any, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidParametersError) as raised:
        converted(given, NewEntry)
    assert faults(raised) == expected


def test_a_fault_within_a_list_says_where() -> None:
    with pytest.raises(InvalidParametersError) as raised:
        converted({"entries": [{"id": "a"}, {"colour": 1}]}, NewEntries)
    assert faults(raised) == [("entries.1.colour", "extra inputs are not permitted")]


def test_numbers_are_not_texts_in_a_body() -> None:
    with pytest.raises(InvalidParametersError):
        converted({"kb": "notes", "ids": []}, RetryOrder)
    assert converted({"kb": "1"}, RetryOrder).kb == "1"


def test_null_removes_and_what_is_not_named_is_left() -> None:
    patch = converted({"title": None, "fields": {"a": None}}, EntryPatch)
    assert patch.title is None
    assert patch.fields == {"a": None}
    assert patch.body is not None


def test_a_query_string_has_its_own_names() -> None:
    given = MultiDict(
        [("q", "red"), ("tag", "a"), ("tag", "b"), ("type", "note"), ("field", "by=Kim=1")]
    )
    found = from_query(given, SearchParameters)
    assert (found.query, found.mode, found.type) == ("red", Mode.HYBRID, ["note"])
    assert found.filters(["notes"]).tags == ("a", "b")
    assert found.filters(["notes"]).fields == {"by": "Kim=1"}
    assert from_query(MultiDict([("kb", "notes")]), RelatedParameters).kbs == ["notes"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([], [("q", "field required")]),
        ([("q", "x"), ("mode", "magic")], [("mode", ONE_OF)]),
        ([("q", "x"), ("limit", "ten")], [("limit", "Expected int, got str")]),
        ([("q", "x"), ("limit", "1"), ("limit", "2")], [("limit", "Expected int, got array")]),
        ([("q", "x"), ("wait_for", "null")], [("wait_for", "Expected int, got str")]),
        ([("q", "x"), ("timeout", "nan")], [("timeout", "Expected float >= 0.0")]),
        # The name that it has in JSON is none in an address.
        ([("q", "x"), ("tags", "a")], [("tags", "extra inputs are not permitted")]),
        (
            [("query", "x"), ("offset", "-1")],
            [
                ("q", "field required"),
                ("offset", "Expected int >= 0"),
                ("query", "extra inputs are not permitted"),
            ],
        ),
    ],
)
def test_every_fault_of_a_query_is_named(
    query: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidParametersError) as raised:
        from_query(MultiDict(query), SearchParameters)
    assert faults(raised) == expected


@pytest.mark.parametrize("pairs", [["by"], ["=Kim"], ["by=Kim", "by=Sam"]])
def test_a_pair_that_is_none(pairs: list[str]) -> None:
    with pytest.raises(InvalidQueryError) as raised:
        from_query(MultiDict([("field", each) for each in pairs]), ListParameters)
    assert raised.value.field == "field"


def test_a_tools_arguments_may_be_written_as_texts() -> None:
    given = {"query": "null", "tags": '["a"]', "limit": "5", "fields": '{"by": "Kim"}', "kb": "[1"}
    found = from_arguments(given, tool_parameters.Search)
    assert (found.query, found.tags, found.limit) == ("null", ["a"], 5)
    assert (found.fields, found.kb) == ({"by": "Kim"}, "[1")


def test_null_is_as_good_as_left_out_of_a_tools_arguments() -> None:
    found = from_arguments({"id": "a", "kb": None, "title": None}, tool_parameters.Update)
    assert found == from_arguments({"id": "a"}, tool_parameters.Update)


def test_null_makes_no_unknown_argument_known() -> None:
    with pytest.raises(InvalidParametersError) as raised:
        from_arguments({"id": None, "colour": None}, tool_parameters.Update)
    assert faults(raised) == [
        ("id", "field required"),
        ("colour", "extra inputs are not permitted"),
    ]


def test_half_a_letter_is_found_wherever_it_stands() -> None:
    half = "\ud800"
    given = {"a": "b", "c": ["d", half], half: 1}
    assert [each.field for each in lone_surrogates(given)] == ["c.1", ""]
