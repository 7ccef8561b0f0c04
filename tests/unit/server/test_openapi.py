"""The description of the API is complete, true to itself, and can be read as a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from quart_trio import QuartTrio

from actors.lifecycle import Status
from actors.messages import WorkerState
from pyrite.knowledge.bulk import BulkStatus
from pyrite.markdown.link_targets import State
from pyrite.markdown.links import Kind
from pyrite.search.freshness import Freshness, Outcome
from pyrite.search.query import Mode
from pyrite.server.app import create_app
from pyrite.server.openapi.document import description
from pyrite.server.openapi.page import render, type_in_words


@pytest.fixture(scope="module")
def app() -> QuartTrio:
    return create_app()


@pytest.fixture(scope="module")
def document(app: QuartTrio) -> dict[str, Any]:
    return description(app)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def test_every_address_of_the_api_is_described(app: QuartTrio, document: dict[str, Any]) -> None:
    rules = {
        re.sub("<(?:path:)?([^>]+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
    }
    assert rules - set(document["paths"]) == {
        "/api/openapi.json",
        "/api/docs",
        "/api/docs/style.css",
    }


def test_every_operation_is_explained(document: dict[str, Any]) -> None:
    ids = []
    for name, operation in operations(document):
        ids.append(operation["operationId"])
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        for parameter in operation["parameters"]:
            assert parameter["description"], (name, parameter["name"])
            assert isinstance(parameter.get("required", False), bool)
    assert len(ids) == len(set(ids)) == 23


def test_what_is_required_is_said(document: dict[str, Any]) -> None:
    search = document["paths"]["/api/search"]["get"]
    assert [each["name"] for each in search["parameters"] if each["required"]] == ["q"]
    kbs = document["paths"]["/api/kbs"]["post"]
    assert kbs["requestBody"]["required"]
    assert not document["paths"]["/api/index/sync"]["post"]["requestBody"]["required"]


def test_every_answer_has_a_schema_and_its_example_fits(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, given in operation["responses"].items():
            response = resolved(document, given)
            assert response["description"], (name, status)
            if status in {"204", "304"}:
                assert "content" not in response
                continue
            ((media_type, content),) = response["content"].items()
            assert (media_type == "application/problem+json") == (status >= "4")
            if status < "4":
                check(document, content["schema"], content["example"], f"{name} {status}")


def test_every_body_has_an_example_that_fits(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            check(document, content["schema"], content["example"], name)


def test_every_example_of_a_field_fits(document: dict[str, Any]) -> None:
    shown = 0
    for schema in subschemas(document):
        for example in schema["examples"]:
            check(document, schema, example, str(schema))
            shown += 1
    assert shown > 50


def subschemas(node: Any) -> Iterator[dict[str, Any]]:
    """The schemas that show examples."""
    if isinstance(node, dict):
        if isinstance(node.get("examples"), list):
            yield node
        for name, each in node.items():
            if name not in {"example", "examples"}:
                yield from subschemas(each)
    elif isinstance(node, list):
        for each in node:
            yield from subschemas(each)


@pytest.mark.parametrize(
    ("schema", "field", "kind"),
    [
        ("Worker", "state", WorkerState),
        ("Entry", "embedding", Status),
        ("Hit", "freshness", Freshness),
        ("Waited", "outcome", Outcome),
        ("SearchResult", "mode", Mode),
        ("Link", "kind", Kind),
        ("Link", "state", State),
        ("BulkResult", "status", BulkStatus),
    ],
)
def test_enumerations_are_the_real_ones(
    document: dict[str, Any], schema: str, field: str, kind: type[StrEnum]
) -> None:
    described = document["components"]["schemas"][schema]["properties"][field]
    assert described["enum"] == sorted(kind)


def check(document: dict[str, Any], schema: dict[str, Any], example: Any, name: str) -> None:
    whole = {**document, **schema}
    faults = [error.message for error in Draft202012Validator(whole).iter_errors(example)]
    assert not faults, (name, faults)


def test_tokens_are_sent_as_bearer(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


async def test_it_is_open_to_anybody(app: QuartTrio) -> None:
    for path in ("/api/openapi.json", "/api/docs", "/api/docs/style.css"):
        rule = next(rule for rule in app.url_map.iter_rules() if rule.rule == path)
        assert app.view_functions[rule.endpoint].tier.value == "public"


class Page(HTMLParser):
    """What a page holds that matters."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert name != "style", "the policy forbids it"
            assert not name.startswith("on")
            if name == "id":
                self.ids.add(value or "")
            if name in {"href", "src"}:
                self.links.append(value or "")


def test_the_page_shows_everything_and_needs_nothing(document: dict[str, Any]) -> None:
    page = Page()
    page.feed(render(document))
    assert "script" not in page.tags
    assert {operation["operationId"] for _, operation in operations(document)} <= page.ids
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= page.ids
    within = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert within <= page.ids
    outside = {link for link in page.links if not link.startswith("#")}
    assert outside == {"docs/style.css", "openapi.json"}


def test_what_is_described_cannot_break_the_page(document: dict[str, Any]) -> None:
    odd = {**document, "info": {"title": "<b>", "version": "1", "description": "<script>"}}
    assert "<script>" not in render(odd)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/KB"}}, "list of KB"),
        ({"type": "array"}, "list"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"const": "sync"}, '"sync"'),
        ({}, "any"),
    ],
)
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_in_words(schema) == words
