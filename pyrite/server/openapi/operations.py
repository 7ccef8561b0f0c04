"""How a view function says what it takes and answers, and is held to the first of the two.

One mark on each view serves both the description of the API and the requests: what is
described is what is checked. Answers are not checked as they go out, which would cost as much
as making them; the tests hold each to its description.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from quart import Response, request
from quart_schema import RequestSchemaValidationError, validate_querystring

from pyrite.api.problems import ProblemError

View = Callable[..., Awaitable[Response]]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class ResponseDescription:
    """One answer that an operation can give, other than a problem."""

    description: str
    model: type[BaseModel] | None = None
    #: Headers that it has, with what they are.
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What a view takes and answers."""

    id: str
    tag: str
    answers: Mapping[int, ResponseDescription]
    #: Statuses of problems, besides those that any operation can have.
    problems: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True
    body_example: Any = None
    media_types: tuple[str, ...] = (JSON,)
    #: Request headers that matter, with what they do.
    headers: Mapping[str, str] = field(default_factory=dict)


#: Where a view keeps it.
ATTRIBUTE = "operation"


def operation(described: Operation) -> Callable[[View], View]:
    """Describe a view, and have what it takes checked.

    The view gets the parameters as ``query_args`` and the body as ``data``.
    """

    def decorate(view: View) -> View:
        checked = view
        if described.body is not None:
            checked = _with_body(checked, described, described.body)
        if described.query is not None:
            checked = validate_querystring(described.query)(checked)
        setattr(checked, ATTRIBUTE, described)
        return checked

    return decorate


def _with_body(view: View, described: Operation, model: type[BaseModel]) -> View:
    @wraps(view)
    async def checked(*args: Any, **kwargs: Any) -> Response:
        raw = await request.get_data(cache=False, as_text=False, parse_form_data=False)
        given: Any = {}
        if raw or described.body_required:
            _check_media_type(described.media_types)
            given = _parsed(raw)
        try:
            data = model.model_validate(given)
        except ValidationError as error:
            raise RequestSchemaValidationError(error) from error
        return await view(*args, data=data, **kwargs)

    return checked


def _check_media_type(allowed: tuple[str, ...]) -> None:
    if request.mimetype not in allowed:
        names = " or ".join(allowed)
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Unsupported media type",
            f"the body must be {names}; say so in Content-Type",
            headers={"Accept": ", ".join(allowed)},
        )


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        detail = f"the body is not JSON: {error.msg}, {where}"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Malformed JSON", detail) from error
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: byte {error.start + 1}"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Malformed JSON", detail) from error
    except (ValueError, RecursionError) as error:
        detail = "the body is not JSON that can be read: a number that is too long or is none"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Malformed JSON", detail) from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def reply(
    value: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status=int(status), headers=dict(headers or {}), content_type=JSON)


def nothing(
    status: int = HTTPStatus.NO_CONTENT, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer without a body."""
    answer = Response(b"", status=int(status), headers=dict(headers or {}))
    answer.headers.pop("Content-Type", None)
    return answer
