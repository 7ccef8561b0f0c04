"""Authentication and authorization of each request: closed unless opened.

Every route says what it takes to be called, by :func:`requires` or :func:`public`; one that says
nothing is refused. A request is looked at in this order, cheapest first, and its body only when
everything else is in order: the name it calls the server by, the page it comes from, its token,
how often its sender has incoming, what the token allows, and the body's size and depth. The rules
of all but the last are those of :mod:`pyrite.auth.authentication`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from quart import Request, Response, Websocket, current_app, g, request, websocket
from quart_trio import QuartTrio

from pyrite.api.problems import ProblemError, fault
from pyrite.auth import cors, permissions
from pyrite.auth.authentication import Authentication, authorize
from pyrite.auth.credentials import NOBODY, Caller
from pyrite.auth.permissions import Permission, public, requires
from pyrite.auth.tokens import Tier
from pyrite.config.addresses import Host
from pyrite.server.current import KEY, server
from pyrite.server.middleware import request_log
from pyrite.server.middleware.json_depth import MAX_DEPTH, too_deep

__all__ = [
    "Caller",
    "caller",
    "check_page",
    "identify",
    "install",
    "public",
    "requires",
    "still_valid",
]

_log = logging.getLogger("pyrite.server")

#: Where the app keeps its authentication.
_AUTHENTICATION = "pyrite.authentication"

#: Methods that change nothing.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

#: Bodies above this are scanned in a thread.
_LARGE = 256 * 1024


def caller() -> Caller:
    """Who makes the present request, or has opened the present WebSocket; nobody if public."""
    found: Caller = g.get("caller", NOBODY)
    return found


async def identify() -> Caller:
    """Who makes the present request, which is open to all; nobody with a token that is wrong."""
    authentication = _authentication()
    return await authentication.authenticate(request, authentication.host_of(request)) or NOBODY


def check_page() -> None:
    """Refuse what another server's web page sends, whatever the method of the present request.

    Raises:
        ProblemError: 403.
    """
    authentication = _authentication()
    cors.check(authentication.allowed_hosts, request, authentication.host_of(request))


async def still_valid(someone: Caller) -> bool:
    """Whether the caller would be let in now as it was; takes microseconds.

    False within a second of a token's revocation or expiry, or of the first token's creation.
    """
    credentials = _authentication().credentials
    await credentials.refresh()
    return credentials.holds(someone)


def install(app: QuartTrio) -> None:
    """Have every route, present and future, refuse who may not call it."""
    app.before_request(_before_request)
    app.before_websocket(_before_websocket)
    app.after_request(_after_request)
    app.after_serving(_close)
    inner = app.asgi_app

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        # The process may be younger than the app, and the body is counted from its first byte.
        if scope["type"] == "http":
            app.config["MAX_CONTENT_LENGTH"] = app.extensions[KEY].settings.max_body_bytes
        await inner(scope, receive, send)

    app.asgi_app = limited  # type: ignore[method-assign]


async def _close() -> None:
    authentication = current_app.extensions.pop(_AUTHENTICATION, None)
    if authentication is not None:
        authentication.credentials.close()


def _authentication() -> Authentication:
    """The authentication of the app in hand, made for the first request."""
    found = current_app.extensions.get(_AUTHENTICATION)
    if not isinstance(found, Authentication):
        served = server()
        authentication = Authentication.of(
            served.settings, served.storage, served.clock, served.run_sync
        )
        found = current_app.extensions[_AUTHENTICATION] = authentication
    return found


async def _after_request(response: Response) -> Response:
    return cors.finish(_authentication().allowed_hosts, request, response)


async def _before_request() -> Response | None:
    called = _authentication().host_of(request)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return cors.preflight(_authentication().allowed_hosts, request)
    if request.method not in _SAFE:
        cors.check(_authentication().allowed_hosts, request, called)
    await _authorize(request, called)
    if request.is_json and not permissions.has_own_body(_view(request)):
        await _check_body()
    return None


async def _before_websocket() -> None:
    called = _authentication().host_of(websocket)
    cors.check(_authentication().allowed_hosts, websocket, called)
    await _authorize(websocket, called)


async def _authorize(incoming: Request | Websocket, called: Host) -> None:
    """Authenticate the caller, count the request, and refuse what they may not do.

    Raises:
        ProblemError: 401, 403 or 429.
    """
    view = _view(incoming)
    # What there is not is told to those who may read.
    tier = Tier.READ if view is None else permissions.tier_of(view)
    # Whoever asks for what is open to all is not looked up: whether the process lives can be
    # told without a database.
    someone = (
        NOBODY
        if tier is Permission.PUBLIC
        else await _authentication().authenticate(incoming, called)
    )
    g.caller = someone or NOBODY
    request_log.of(incoming).client = g.caller.name
    if permissions.metered(view):
        _authentication().count_request(incoming, g.caller)
    if tier is Permission.UNMARKED:
        _log.error("%s says nothing of who may call it, and is refused", incoming.endpoint)
        raise ProblemError(HTTPStatus.FORBIDDEN, "Forbidden", "this address is open to nobody")
    if tier is not Permission.PUBLIC:
        authorize(someone, tier)


def _view(incoming: Request | Websocket) -> Callable[..., Any] | None:
    """The function that will answer, or None where there is no such address."""
    endpoint = incoming.endpoint
    if incoming.routing_exception is not None or endpoint is None:
        return None
    return current_app.view_functions.get(endpoint)


async def _check_body() -> None:
    """Read a JSON body, and refuse one that is too long or too deep before it is parsed."""
    # The client is told at once where it says beforehand that it is going to be too long.
    body = cast("bytes", await request.get_data())
    scan = partial(too_deep, body)
    if await server().run_sync(scan) if len(body) > _LARGE else scan():
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "Nested too deep",
            deepest := f"objects and lists may be nested {MAX_DEPTH} deep",
            errors=[fault("", deepest)],
        )
    # Only UTF-8 is JSON (RFC 8259), and a parser that takes others would read another text.
    if b"\0" in body:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Bad request", "the body is no JSON in UTF-8")
