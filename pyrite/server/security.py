"""Who may do what: closed unless opened.

Every route says what it takes to be called, by :func:`requires` or :func:`public`; one that says
nothing is refused. A request is looked at in this order, cheapest first, and its body only when
everything else is in order: the name it calls the server by, the page it comes from, its token,
how often its sender has asked, what the token allows, and the body's size and depth. The rules
of all but the last are those of :mod:`pyrite.server.gate`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from quart import Request, Response, Websocket, current_app, g, request, websocket
from quart_trio import QuartTrio

from pyrite.addresses import Host
from pyrite.server import exchange, marks, pages
from pyrite.server.credentials import NOBODY, Caller
from pyrite.server.current import KEY, node
from pyrite.server.depth import MAX_DEPTH, too_deep
from pyrite.server.gate import Gate, admitted
from pyrite.server.marks import Mark, public, requires
from pyrite.server.problems import ProblemError, fault
from pyrite.services.tokens import Tier

__all__ = [
    "Caller",
    "caller",
    "identify",
    "install",
    "public",
    "requires",
    "still_valid",
]

_log = logging.getLogger("pyrite.server")

#: Where the app keeps its gate.
_GATE = "pyrite.gate"

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
    gate = _gate()
    return await gate.who(request, gate.called(request)) or NOBODY


async def still_valid(someone: Caller) -> bool:
    """Whether the caller would be let in now as it was; takes microseconds.

    False within a second of a token's revocation or expiry, or of the first token's creation.
    """
    credentials = _gate().credentials
    await credentials.refresh()
    return credentials.holds(someone)


def install(app: QuartTrio) -> None:
    """Put the gate before every route, present and future."""
    app.before_request(_before_request)
    app.before_websocket(_before_websocket)
    app.after_request(_after_request)
    app.after_serving(_close)
    inner = app.asgi_app

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        # The node may be younger than the app, and the body is counted from its first byte.
        if scope["type"] == "http":
            app.config["MAX_CONTENT_LENGTH"] = app.extensions[KEY].settings.max_body_bytes
        await inner(scope, receive, send)

    app.asgi_app = limited  # type: ignore[method-assign]


async def _close() -> None:
    gate = current_app.extensions.pop(_GATE, None)
    if gate is not None:
        gate.credentials.close()


def _gate() -> Gate:
    """The gate of the app in hand, made for the first request."""
    found = current_app.extensions.get(_GATE)
    if not isinstance(found, Gate):
        served = node()
        gate = Gate.of(served.settings, served.storage, served.clock, served.hop)
        found = current_app.extensions[_GATE] = gate
    return found


async def _after_request(response: Response) -> Response:
    return pages.finish(_gate().names, request, response)


async def _before_request() -> Response | None:
    called = _gate().called(request)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return pages.preflight(_gate().names, request)
    if request.method not in _SAFE:
        pages.check(_gate().names, request, called)
    await _let_in(request, called)
    if request.is_json:
        await _check_body()
    return None


async def _before_websocket() -> None:
    called = _gate().called(websocket)
    pages.check(_gate().names, websocket, called)
    await _let_in(websocket, called)


async def _let_in(asked: Request | Websocket, called: Host) -> None:
    """Find out who it is and whether they may, and count the request.

    Raises:
        ProblemError: 401, 403 or 429.
    """
    view = _view(asked)
    # What there is not is told to those who may read.
    tier = Tier.READ if view is None else marks.tier_of(view)
    # Whoever asks for what is open to all is not looked up: whether the process lives can be
    # told without a database.
    someone = NOBODY if tier is Mark.PUBLIC else await _gate().who(asked, called)
    g.caller = someone or NOBODY
    exchange.of(asked).client = g.caller.name
    if marks.metered(view):
        _gate().count(asked, g.caller)
    if tier is Mark.UNMARKED:
        _log.error("%s says nothing of who may call it, and is refused", asked.endpoint)
        raise ProblemError(HTTPStatus.FORBIDDEN, "Forbidden", "this address is open to nobody")
    if tier is not Mark.PUBLIC:
        admitted(someone, tier)


def _view(asked: Request | Websocket) -> Callable[..., Any] | None:
    """The function that will answer, or None where there is no such address."""
    endpoint = asked.endpoint
    if asked.routing_exception is not None or endpoint is None:
        return None
    return current_app.view_functions.get(endpoint)


async def _check_body() -> None:
    """Read a JSON body, and refuse one that is too long or too deep before it is parsed."""
    # The client is told at once where it says beforehand that it is going to be too long.
    body = cast("bytes", await request.get_data())
    scan = partial(too_deep, body)
    if await node().hop(scan) if len(body) > _LARGE else scan():
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "Nested too deep",
            deepest := f"objects and lists may be nested {MAX_DEPTH} deep",
            errors=[fault("", deepest)],
        )
    # Only UTF-8 is JSON (RFC 8259), and a parser that takes others would read another text.
    if b"\0" in body:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Bad request", "the body is no JSON in UTF-8")
