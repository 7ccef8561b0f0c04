"""One record of each request, for the log and for the metrics.

It is made outside of the application, so that every request has one: those that are refused,
those that fail, and those whose client goes away before the answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from quart import Request, Websocket, request, websocket
from quart_trio import QuartTrio
from structlog.contextvars import bound_contextvars

#: The status of a request whose client went away before it was answered, as in nginx's logs.
CLIENT_GONE = 499

#: The route of a request to no known address. The address itself is nobody's business: people
#: paste all kinds of things.
NO_ROUTE = "(none)"

_LISTENERS = "pyrite.request_listeners"
_RECORD = "pyrite.request_record"

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

#: Ids of requests that are taken from the client: nothing that could forge a line of the log.
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]


@dataclass(slots=True)
class RequestRecord:
    """A request and what came of it."""

    #: "http" or "websocket".
    kind: str
    #: One of those there are, or "OTHER".
    method: str
    request_id: str
    #: The rule that the address fits, such as ``/api/kbs/<kb>``; never the address itself.
    route: str = NO_ROUTE
    status: int = CLIENT_GONE
    #: The name of the token that was shown.
    client: str | None = None
    duration_s: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    def end(self) -> None:
        """The answer has been sent, or nobody waits for it any more."""
        self.duration_s = time.perf_counter() - self._started


Listener = Callable[[RequestRecord], None]


def listen(app: QuartTrio, listener: Listener) -> None:
    """Have the listener called with the record of each request when it is over."""
    if _LISTENERS not in app.extensions:
        app.extensions[_LISTENERS] = []
        _surround(app)
    app.extensions[_LISTENERS].append(listener)


def of(incoming: Request | Websocket) -> RequestRecord:
    """The record of a request."""
    scope = cast("Scope", incoming.scope)
    if _RECORD not in scope:
        scope[_RECORD] = _begin(scope)
    return cast("RequestRecord", scope[_RECORD])


def _surround(app: QuartTrio) -> None:
    # Before all others, for these may refuse the request.
    app.before_request_funcs[None].insert(0, _note_route)
    app.before_websocket_funcs[None].insert(0, _note_websocket_route)
    inner = app.asgi_app

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await inner(scope, receive, send)
            return
        record = scope[_RECORD] = _begin(scope)
        with bound_contextvars(request_id=record.request_id):
            try:
                await inner(scope, receive, _noting(record, send))
            finally:
                record.end()
                for listener in app.extensions[_LISTENERS]:
                    listener(record)

    app.asgi_app = watched  # type: ignore[method-assign]


def _begin(scope: Scope) -> RequestRecord:
    method = scope.get("method", "GET")
    return RequestRecord(
        scope["type"], method if method in _METHODS else "OTHER", _request_id(scope["headers"])
    )


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The client's id for the request if it gives a sane one, or a new one."""
    for name, value in headers:
        if name.lower() == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode()
    return uuid4().hex


def _noting(record: RequestRecord, send: Send) -> Send:
    """What sends the answer, with its status noted and the id of the request added."""
    own = (b"x-request-id", record.request_id.encode())

    async def noting(message: MutableMapping[str, Any]) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            record.status = message["status"]
            message["headers"] = [*message.get("headers", ()), own]
        elif message["type"] == "websocket.accept":
            record.status = 101
        await send(message)

    return noting


async def _note_route() -> None:
    _note(request)


async def _note_websocket_route() -> None:
    _note(websocket)


def _note(incoming: Request | Websocket) -> None:
    if incoming.url_rule is not None:
        of(incoming).route = incoming.url_rule.rule
