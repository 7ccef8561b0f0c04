"""The documentation of the API as one page: made from its description, without a script.

It needs no network, works under the strictest content security policy, and is read as well in
a terminal's browser. A page of the usual kind takes megabytes of scripts for the same text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape
from quart import Response, request
from quart_trio import QuartTrio

from pyrite.auth.permissions import public
from pyrite.server.openapi.operations import nothing

PATH = "/api/docs"

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"

_CODE = re.compile("`([^`]+)`")

#: The names of schemas begin with a capital letter, and nothing else of a type does.
_LINK = Markup('<a href="#schema-{0}">{0}</a>')


def install(app: QuartTrio, document: Callable[[], dict[str, Any]]) -> None:
    """Serve the page."""

    @cache
    def page() -> str:
        return render(document())

    @app.get(PATH)
    @public
    async def docs() -> Response:
        headers = {"Content-Security-Policy": _POLICY}
        return Response(page(), headers=headers, content_type="text/html; charset=utf-8")

    @app.get("/")
    @app.get("/api", strict_slashes=False)
    @public
    async def start() -> Response:
        """Lead whoever types in the server's name to the page."""
        # From where they are: a proxy may have put something before it.
        where = "docs" if request.path == "/api/" else "api/docs"
        return nothing(HTTPStatus.FOUND, {"Location": where})

    @app.get(f"{PATH}/style.css")
    @public
    async def docs_style() -> Response:
        return Response(_file("style.css"), content_type="text/css; charset=utf-8")


def render(document: Mapping[str, Any]) -> str:
    """The page that shows a description (OpenAPI 3.1).

    Args:
        document: it, with each operation under one tag, and references to its own components.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "code": _code,
        "words": type_in_words,
        "link": _link,
        "marked": _marked,
    }
    template = environment.from_string(_file("page.html"))
    show = _Shown(document)
    groups = [
        (tag, [each for each in show.operations() if tag["name"] in each["tags"]])
        for tag in document["tags"]
    ]
    schemas = document["components"]["schemas"]
    return template.render(
        info=document["info"],
        groups=groups,
        common=show.common(),
        problems={
            status: response["description"]
            for operation in show.operations()
            for status, response in operation["responses"].items()
        },
        schemas={name: (schema, list(show.fields(schema))) for name, schema in schemas.items()},
    )


class _Shown:
    """A description in the pieces that the page shows."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def operations(self) -> Iterator[dict[str, Any]]:
        """Every operation with its method, path and references resolved."""
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                responses = {
                    status: self.resolved(response)
                    for status, response in operation["responses"].items()
                }
                yield {**operation, "method": method, "path": path, "responses": responses}

    def common(self) -> frozenset[str]:
        """The statuses of problems that every operation can have."""
        each = [set(operation["responses"]) for operation in self.operations()]
        return frozenset(status for status in set.intersection(*each) if status >= "4")

    def resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a reference refers to."""
        while "$ref" in node:
            found: Any = self._document
            for name in node["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            node = found
        return node

    def fields(self, schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """An object's fields."""
        required = schema.get("required", ())
        for name, given in schema.get("properties", {}).items():
            yield {
                "name": name,
                "schema": given,
                "required": name in required,
                "description": given.get("description", ""),
            }


def type_in_words(schema: Mapping[str, Any]) -> str:
    """A schema's type, as a person would say it."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(type_in_words(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {type_in_words(schema['items'])}" if "items" in schema else "list"
    return kind


def _link(schema: Mapping[str, Any]) -> Markup:
    """A schema's type in words, with a link to each of the named ones."""
    words = []
    for word in type_in_words(schema).split(" "):
        named = word[:1].isupper()
        words.append(_LINK.format(word) if named else escape(word))
    return Markup(" ").join(words)


def _marked(text: str) -> Markup:
    """A description, in which what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _code(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _file(name: str) -> str:
    return (
        resources.files("pyrite.server.openapi").joinpath("docs", name).read_text(encoding="utf-8")
    )
