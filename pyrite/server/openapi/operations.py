"""What a view function takes and answers: said once, described by it and held to it.

What is described is what is checked of a request. Answers are not checked as they go out: they
are made of the types that describe them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, NoReturn

from msgspec import Struct
from quart import Response, request

from pyrite.api import validation
from pyrite.api.base import Answer, encode
from pyrite.api.problems import ProblemError

View = Callable[..., Awaitable[Response]]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


#: Headers of answers, with what they are.
ETAG = {"ETag": "The entry's revision."}
LOCATION = {"Location": "Where it is."}
NEXT = {"Link": "The next page, with `rel=next`, where there is one."}


@dataclass(frozen=True, slots=True)
class Operation:
    """What a view takes and answers."""

    id: str
    tag: str
    #: Of each status, what is answered; None is nothing.
    answers: Mapping[int, type[Answer] | None]
    #: Headers that answers have, with what they are.
    sends: Mapping[str, str]
    #: Statuses of problems, besides those that any operation can have.
    problems: tuple[int, ...]
    query: type[Struct] | None
    body: type[Struct] | None
    body_required: bool
    media_types: tuple[str, ...]
    #: Request headers that matter, with what they do.
    headers: Mapping[str, str]


#: Where a view keeps it.
ATTRIBUTE = "operation"

_NOTHING: Mapping[str, str] = {}


def operation(
    tag: str,
    answers: type[Answer] | Mapping[int, type[Answer] | None],
    *,
    sends: Mapping[str, str] = _NOTHING,
    problems: tuple[int, ...] = (),
    query: type[Struct] | None = None,
    body: type[Struct] | None = None,
    body_required: bool = True,
    media_types: tuple[str, ...] = (JSON,),
    headers: Mapping[str, str] = _NOTHING,
) -> Callable[[View], View]:
    """Describe a view by an :class:`Operation` of its name, and have what it takes checked.

    The view gets the parameters as ``query_args`` and the body as ``data``.
    """
    replies = answers if isinstance(answers, Mapping) else {200: answers}

    def decorate(view: View) -> View:
        @wraps(view)
        async def checked(*args: Any, **kwargs: Any) -> Response:
            if query is not None:
                kwargs["query_args"] = validation.from_query(request.args, query)
            if body is not None:
                kwargs["data"] = await _body(described, body)
            return await view(*args, **kwargs)

        described = Operation(
            *(view.__name__, tag, replies, sends, problems),
            *(query, body, body_required, media_types, headers),
        )
        setattr(checked, ATTRIBUTE, described)
        return checked

    return decorate


async def _body(described: Operation, kind: type[Struct]) -> Struct:
    raw = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    if not raw and not described.body_required:
        return kind()
    _check_media_type(described.media_types)
    given = _parsed(raw)
    # Only an escape can be half of one; to look for it costs a walk through all texts.
    if b"\\u" in raw and (faults := list(validation.lone_surrogates(given))):
        raise validation.InvalidParametersError(faults)
    return validation.converted(given, kind)


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
    answer: Answer, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON."""
    text = encode(answer)
    return Response(text, status=int(status), headers=dict(headers or {}), content_type=JSON)


def nothing(
    status: int = HTTPStatus.NO_CONTENT, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer without a body."""
    answer = Response(b"", status=int(status), headers=dict(headers or {}))
    answer.headers.pop("Content-Type", None)
    return answer
