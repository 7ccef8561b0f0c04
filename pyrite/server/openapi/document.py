"""The description of the API (OpenAPI 3.1), made from what the views say of themselves.

The schemas are those of the types that are read and written (:mod:`pyrite.api`), and so are the
examples. quart-schema would describe the routes, too; of msgspec's types it leaves out those
that others are made of, which parameters and bodies are required, examples, media types and what
an answer is, so that nothing but the list of routes would be left for it to do.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from msgspec import Struct
from quart import Response
from quart_trio import QuartTrio
from werkzeug.routing.rules import Rule

from pyrite import __version__
from pyrite.api import schemas
from pyrite.api.parameters import IN_QUERY
from pyrite.api.problems import MEDIA_TYPE, Problem
from pyrite.auth.permissions import public
from pyrite.server.openapi import page
from pyrite.server.openapi.operations import ATTRIBUTE, JSON, Operation

PATH = "/api/openapi.json"

_PLACEHOLDER = re.compile("<(?:[^<>:]*:)?([^<>]+)>")

_DESCRIPTION = """\
Knowledge bases of Markdown files, searchable by meaning and by words.

A write is durable when it is answered, and never waits for the embedding model: the entry can be
found by its words at once, and by its meaning as soon as it is embedded. Errors are
`application/problem+json`. Times are in seconds since the epoch. The live feed of events is the
WebSocket `/ws`.
"""

_TAGS = {
    "knowledge bases": "Folders of Markdown files, registered under a name.",
    "entries": "The files in them: one entry each. Its ETag is its revision.",
    "search": "Finding entries by meaning and by words.",
    "index": "Syncing folders, and the queue of what is to be embedded.",
}

#: What a name in an address is. An id is described as far as a pattern can.
_PATH_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "kb": {
        "description": "The name of a knowledge base.",
        "schema": {"type": "string", "pattern": r"^[^\s./\\%\x00-\x1f\x7f-\x9f]+$"},
        "example": "notes",
    },
    "id": {
        "description": "The id of an entry: its path in the folder, without the ending. Slashes "
        "may stand as they are or as %2F.",
        "schema": {
            "type": "string",
            "pattern": r"^[^\s./\\%\x00-\x1f\x7f-\x9f]+(/[^\s./\\%\x00-\x1f\x7f-\x9f]+)*$",
        },
        "example": "ops/backups",
    },
    "job_id": {
        "description": "The id of a job.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]+$"},
        "example": "9f2c4e61a7b3d058",
    },
}

#: What each status of a problem means.
_PROBLEMS = {
    400: "The request is malformed: a body that is no JSON, for example.",
    401: "A token is needed, or the one that was shown is not valid.",
    403: "The token does not allow it, or the request comes from a foreign web page.",
    404: "There is no such knowledge base, entry, job or revision.",
    409: "It is in conflict with what is there.",
    412: "The entry is not at the revision that was named: somebody has changed it.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    421: "The server does not go by the name it was called by.",
    422: "A value cannot be used; `errors` says which field, and why.",
    428: "If-Match is missing: say which revision is to be changed.",
    429: "Too many requests; `Retry-After` says how long to wait.",
    500: "The server failed; its log says why.",
    503: "Not now: a folder, the model or the database cannot be reached.",
}
#: What an answer without a body says.
_EMPTY = {204: "It is done.", 304: "It is still at that revision."}
_ANY = (400, 401, 403, 421, 422, 429, 500, 503)
_WITH_BODY = (413, 415)
_PROBLEM_HEADERS = {
    401: ("WWW-Authenticate", "How to show a token."),
    403: ("WWW-Authenticate", "Which tier it takes, where a token was shown."),
    429: ("Retry-After", "Seconds to wait."),
    503: ("Retry-After", "Seconds to wait."),
}


def install(app: QuartTrio) -> None:
    """Serve the description, and a page to read it."""

    @cache
    def document() -> str:
        return json.dumps(description(app), ensure_ascii=False)

    @app.get(PATH)
    @public
    async def openapi() -> Response:
        return Response(document(), content_type=JSON)

    page.install(app, lambda: json.loads(document()))


def description(app: QuartTrio) -> dict[str, Any]:
    """The whole document: all views of an app that are marked as operations."""
    found = list(_operations(app))
    paths: dict[str, dict[str, Any]] = {}
    for rule, operation, text in found:
        methods = paths.setdefault(_PLACEHOLDER.sub(r"{\1}", rule.rule), {})
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            methods[method.lower()] = _operation(rule, operation, text)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pyrite", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": schemas.components(_kinds(operation for _, operation, _ in found)),
            "responses": {_name(status): _problem(status) for status in _PROBLEMS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"bearer": []}],
    }


def _operations(app: QuartTrio) -> Iterator[tuple[Rule, Operation, str]]:
    """The routes of operations, in the order in which they were made, with what is said of them."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if (operation := getattr(view, ATTRIBUTE, None)) is not None:
            yield rule, operation, inspect.getdoc(view) or ""


def _kinds(operations: Iterable[Operation]) -> list[type[Struct]]:
    """The types of bodies and answers."""
    found: list[type[Struct] | None] = [Problem]
    for operation in operations:
        found += [operation.body, *operation.answers.values()]
    return [kind for kind in dict.fromkeys(found) if kind is not None]


def _operation(rule: Rule, operation: Operation, text: str) -> dict[str, Any]:
    """One route's operation."""
    summary, _, more = text.partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": summary.rstrip("."),
        "description": " ".join(more.split()),
        "parameters": [
            *(_path_parameter(name) for name in sorted(rule.arguments, reverse=True)),
            *(_query(operation.query) if operation.query else ()),
            *(_header(name, text) for name, text in operation.headers.items()),
        ],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": dict.fromkeys(operation.media_types, _content(operation.body)),
        }
    return described


def _query(kind: type[Struct]) -> Iterator[dict[str, Any]]:
    """The parameters behind the question mark, with which of them are required."""
    whole = schemas.inlined(kind)
    for name, schema in whole["properties"].items():
        given = dict(schema)
        if given["type"] == "object":
            shown = [
                [f"{key}={value}" for key, value in each.items()] for each in given["examples"]
            ]
            items = {"type": "string", "pattern": "^[^=]+=."}
            text = f"{given['description']} Written `NAME=VALUE`."
            given = {"type": "array", "items": items, "examples": shown, "description": text}
        yield {
            "name": IN_QUERY.get(name, name),
            "in": "query",
            "required": name in whole.get("required", ()),
            "description": given.pop("description"),
            "schema": given,
        }


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]}


def _header(name: str, text: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": text, "schema": schema, "example": "*"}


def _content(kind: type[Struct]) -> dict[str, Any]:
    return {
        "schema": {"$ref": schemas.REF.format(name=kind.__name__)},
        "example": schemas.example(kind),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {
        str(status): _response(status, kind, operation.sends)
        for status, kind in operation.answers.items()
    }
    problems = {*_ANY, *operation.problems, *(_WITH_BODY if operation.body else ())}
    for status in sorted(problems):
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    return responses


def _response(status: int, kind: type[Struct] | None, headers: Mapping[str, str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": _EMPTY[status] if kind is None else inspect.getdoc(kind)
    }
    if headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    if kind is not None:
        response["content"] = {JSON: _content(kind)}
    return response


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": schemas.REF.format(name=Problem.__name__)}
    response: dict[str, Any] = {
        "description": _PROBLEMS[status],
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if status in _PROBLEM_HEADERS:
        name, text = _PROBLEM_HEADERS[status]
        response["headers"] = {name: {"description": text, "schema": {"type": "string"}}}
    return response
