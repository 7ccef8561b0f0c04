"""Error responses: problem+json (RFC 9457) that says what is wrong, and where.

A problem never holds a path of this computer, a token or a traceback. What went wrong inside
is logged, and the client is told no more than that something did.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, NotFound

from pyrite import errors
from pyrite.api.base import encode
from pyrite.api.problems import MEDIA_TYPE, Fault, ProblemError, fault
from pyrite.api.validation import InvalidParametersError
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.faults import fault_of

#: Faults named in one answer; a body of a thousand entries can have many.
_MOST_FAULTS = 20

#: The status and title of each kind of error; the first that fits counts.
_KINDS: tuple[tuple[type[errors.PyriteError], HTTPStatus, str], ...] = (
    (errors.RevisionError, HTTPStatus.PRECONDITION_FAILED, "Changed meanwhile"),
    (errors.ConflictError, HTTPStatus.CONFLICT, "Conflict"),
    (errors.FolderMissingError, HTTPStatus.SERVICE_UNAVAILABLE, "Folder not there"),
    (errors.NotFoundError, HTTPStatus.NOT_FOUND, "Not found"),
    (errors.UnreadableFileError, HTTPStatus.CONFLICT, "Unreadable file"),
    (errors.WriteError, HTTPStatus.SERVICE_UNAVAILABLE, "Not written"),
    (errors.ModelError, HTTPStatus.SERVICE_UNAVAILABLE, "Model unavailable"),
    (errors.StorageError, HTTPStatus.SERVICE_UNAVAILABLE, "Database unavailable"),
    (errors.PyriteError, HTTPStatus.INTERNAL_SERVER_ERROR, "Server error"),
)

_log = logging.getLogger("pyrite.server")


def response(error: ProblemError) -> Response:
    """The answer that says what is wrong."""
    return Response(
        encode(error.problem),
        status=error.status,
        headers=error.headers,
        content_type=MEDIA_TYPE,
    )


def problem(
    status: int, title: str, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer that says what is wrong."""
    return response(ProblemError(status, title, detail, headers=headers))


def install(app: QuartTrio, nowhere: str = "there is nothing at this address") -> None:
    """Have every error of the app answered by a problem.

    Args:
        app: the application.
        nowhere: what is said of an address at which there is nothing.
    """
    app.register_error_handler(ProblemError, _on_problem)
    app.register_error_handler(errors.InvalidError, _on_refused)
    app.register_error_handler(errors.PyriteError, _on_pyrite_error)
    app.register_error_handler(sqlite3.OperationalError, _on_database_error)
    app.register_error_handler(InvalidParametersError, _on_invalid)
    app.register_error_handler(HTTPException, partial(_on_http_error, nowhere))
    app.register_error_handler(Exception, _on_bug)


async def _on_problem(error: ProblemError) -> Response:
    return response(error)


async def _on_refused(error: errors.InvalidError) -> Response:
    """What a service finds wrong with a value."""
    return _invalid([fault(error.field, error.public)], error.public)


async def _on_pyrite_error(error: errors.PyriteError) -> Response:
    answer = _problem_of(error)
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.path, error)
    return answer


async def _on_database_error(error: sqlite3.OperationalError) -> Response:
    """What the database cannot do just now: another process keeps it, or its disk is full."""
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    fault = fault_of(error)
    public = None if fault is None else f"{fault.text}; nothing was written"
    return _problem_of(errors.StorageError(str(error), public=public))


def _problem_of(error: errors.PyriteError) -> Response:
    _, status, title = next(kind for kind in _KINDS if isinstance(error, kind[0]))
    headers = {"Retry-After": "10"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, title, error.public, headers=headers)


async def _on_invalid(error: InvalidParametersError) -> Response:
    first, *rest = error.faults
    others = f", and {len(rest)} more" if rest else ""
    return _invalid(error.faults, f"{first.field or 'the request'}: {first.reason}{others}")


def _invalid(faults: list[Fault], detail: str) -> Response:
    """The answer to a request whose values cannot be used: which field, and why."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return response(ProblemError(status, "Invalid request", detail, errors=faults[:_MOST_FAULTS]))


async def _on_http_error(nowhere: str, error: HTTPException) -> Response:
    """What Quart refuses by itself: no such address, a method not allowed, JSON that is none."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    # Some errors say more in their headers, as 405 does with those methods that are allowed.
    kept = {
        name: value
        for name, value in error.get_response().headers.items()
        if name.lower() not in {"content-type", "content-length"}
    }
    detail = nowhere if isinstance(error, NotFound) else error.description
    return problem(status, error.name, detail, headers=kept)


async def _on_bug(error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Server error",
        "the server failed to answer this request; its log says why",
    )
