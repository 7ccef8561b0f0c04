"""The description of the API (OpenAPI 3.1), made from the marks on the views.

quart-schema turns models into schemas and finds the routes. What it leaves out of a
description, or says in a way that clients stumble over, is put right here.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from quart import Response
from quart_schema import HttpSecurityScheme, Info, QuartSchema, Tag
from quart_schema.openapi import OpenAPIProvider
from quart_trio import QuartTrio
from werkzeug.routing.rules import Rule

from pyrite import __version__
from pyrite.api.answers import Problem
from pyrite.api.problems import MEDIA_TYPE
from pyrite.auth.permissions import public
from pyrite.server.openapi import page
from pyrite.server.openapi.operations import ATTRIBUTE, JSON, Operation, ResponseDescription

PATH = "/api/openapi.json"

_REF = "#/components/schemas/{model}"
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
    extension = QuartSchema(
        app,
        openapi_path=None,
        openapi_provider_class=Provider,
        info=Info("Pyrite", __version__, description=_DESCRIPTION),
        tags=[Tag(name, description=text) for name, text in _TAGS.items()],
        security_schemes={"bearer": HttpSecurityScheme(scheme="bearer")},
        security=[{"bearer": []}],
        conversion_preference="pydantic",
    )

    @cache
    def document() -> str:
        return json.dumps(extension.openapi_provider.schema(), ensure_ascii=False)

    @app.get(PATH)
    @public
    async def openapi() -> Response:
        return Response(document(), content_type=JSON)

    page.install(app, lambda: json.loads(document()))


class Provider(OpenAPIProvider):
    """The description of all views that are marked as operations."""

    def schema(self) -> dict[str, Any]:
        """The whole document."""
        described = super().schema()
        models = [(model, mode) for model, mode in self._models()]
        _, definitions = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
        components = described["components"]
        components["schemas"] = dict(sorted(definitions.get("$defs", {}).items()))
        components["responses"] = {_name(status): _problem(status) for status in _PROBLEMS}
        components["securitySchemes"]["bearer"].pop("name", None)
        described["paths"] = dict(described["paths"])
        return described

    def generate_rules(self) -> Iterable[Rule]:
        """The routes of operations, in the order in which they were made."""
        return [rule for rule in self._app.url_map.iter_rules() if self._operation(rule)]

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """One route's operation; its models are put together in :meth:`schema`."""
        operation = self._operation(rule)
        assert operation is not None
        view = self._app.view_functions[rule.endpoint]
        summary, _, description = (inspect.getdoc(view) or "").partition("\n")
        described: dict[str, Any] = {
            "operationId": operation.id,
            "tags": [operation.tag],
            "summary": summary.rstrip("."),
            "description": " ".join(description.split()),
            "parameters": [
                *(_path_parameter(name) for name in sorted(rule.arguments, reverse=True)),
                *(self._query(operation.query) if operation.query else ()),
                *(_header(name, text) for name, text in operation.headers.items()),
            ],
            "responses": _responses(operation),
        }
        if operation.body is not None:
            described["requestBody"] = _body(operation, operation.body)
        path = _PLACEHOLDER.sub(r"{\1}", rule.rule)
        return {path: {m.lower(): described for m in self.generate_methods(rule)}}, {}

    def _operation(self, rule: Rule) -> Operation | None:
        return getattr(self._app.view_functions[rule.endpoint], ATTRIBUTE, None)

    def _models(self) -> Iterable[tuple[type[BaseModel], str]]:
        found: dict[tuple[type[BaseModel], str], None] = {(Problem, "serialization"): None}
        for rule in self.generate_rules():
            operation = self._operation(rule)
            assert operation is not None
            if operation.body is not None:
                found[operation.body, "validation"] = None
            for told in operation.answers.values():
                if told.model is not None:
                    found[told.model, "serialization"] = None
        return found

    def _query(self, model: type[BaseModel]) -> list[dict[str, Any]]:
        """The parameters behind the question mark, with which of them are required."""
        schema = model.model_json_schema(ref_template=_REF)
        parameters = []
        for name, given in schema["properties"].items():
            plain = _without_null(given)
            parameter: dict[str, Any] = {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": plain.pop("description", ""),
                "schema": plain,
            }
            parameters.append(parameter)
        return parameters


def _without_null(given: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema: it can be left out, but it cannot be null."""
    schema = dict(given)
    options = [each for each in schema.pop("anyOf", ()) if each != {"type": "null"}]
    if options:
        (only,) = options
        schema = {**only, **schema}
    if schema.get("default", ...) is None:
        del schema["default"]
    schema.pop("title", None)
    return schema


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]}


def _header(name: str, text: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": text, "schema": schema, "example": "*"}


def _body(operation: Operation, model: type[BaseModel]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    if operation.body_example is not None:
        content["example"] = operation.body_example
    return {
        "required": operation.body_required,
        "content": dict.fromkeys(operation.media_types, content),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(status): _response(told) for status, told in operation.answers.items()}
    problems = {*_ANY, *operation.problems, *(_WITH_BODY if operation.body else ())}
    for status in sorted(problems):
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    return responses


def _response(told: ResponseDescription) -> dict[str, Any]:
    response: dict[str, Any] = {"description": told.description}
    if told.headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in told.headers.items()
        }
    if told.model is not None:
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=told.model.__name__)}}
        if told.example is not None:
            content["example"] = told.example
        response["content"] = {JSON: content}
    return response


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=Problem.__name__)}
    response: dict[str, Any] = {
        "description": _PROBLEMS[status],
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if status in _PROBLEM_HEADERS:
        name, text = _PROBLEM_HEADERS[status]
        response["headers"] = {name: {"description": text, "schema": {"type": "string"}}}
    return response
