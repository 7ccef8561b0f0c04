"""Who may do what: closed unless opened.

Every route says what it takes to be called, by :func:`requires` or :func:`public`; one that says
nothing is refused. A request is looked at in this order, cheapest first, and its body only when
everything else is in order: the name it calls the server by, the page it comes from, its token,
how often its sender has asked, what the token allows, and the body's size and depth.

Without any token, all is allowed to those on this computer, and nothing to others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from quart import Request, Response, Websocket, current_app, g, request, websocket
from quart_trio import QuartTrio

from pyrite.addresses import Host, is_loopback
from pyrite.errors import ConfigError
from pyrite.server import exchange, marks, pages
from pyrite.server.credentials import NOBODY, TRUSTED, Caller, Credentials, bearer
from pyrite.server.current import KEY, node
from pyrite.server.depth import MAX_DEPTH, too_deep
from pyrite.server.marks import Mark, public, requires
from pyrite.server.names import Names, only_here, read_host
from pyrite.server.problems import ProblemError
from pyrite.server.rate import Rate
from pyrite.services.tokens import Tier, TokenService
from pyrite.settings import Settings

if TYPE_CHECKING:
    from pyrite.server.node import Node

__all__ = [
    "Caller",
    "caller",
    "check_bind",
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

#: Headers that a proxy adds: what comes through one did not begin on this computer.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")

#: Bodies above this are scanned in a thread.
_LARGE = 256 * 1024


def caller() -> Caller:
    """Who makes the present request, or has opened the present WebSocket; nobody if public."""
    found: Caller = g.get("caller", NOBODY)
    return found


async def identify() -> Caller:
    """Who makes the present request, which is open to all; nobody with a token that is wrong."""
    return await _who(request, _called(request)) or NOBODY


async def still_valid(someone: Caller) -> bool:
    """Whether the caller would be let in now as it was; takes microseconds.

    False within a second of a token's revocation or expiry, or of the first token's creation.
    """
    credentials = _gate().credentials
    await credentials.refresh()
    return credentials.holds(someone)


def check_bind(settings: Settings, host: str, tokens: TokenService) -> None:
    """Refuse to listen where other computers can reach the server unless there are tokens.

    Raises:
        ConfigError: there are none; the message says what to do.
    """
    if host.startswith("unix:") or is_loopback(host) or tokens.any():
        return
    raise ConfigError(
        f"the server does not listen on {host or 'every address'} without tokens, for everybody "
        "who can reach it could read and change everything; make one with `pyrite token create "
        "NAME --tier read|write|admin`, or listen on 127.0.0.1"
    )


@dataclass(slots=True)
class Gate:
    """What requests are judged by."""

    names: Names
    credentials: Credentials
    rate: Rate

    @classmethod
    def of(cls, served: Node) -> Gate:
        """The gate before a node."""
        return cls(
            Names.of(served.settings),
            Credentials(served.storage, served.clock, served.hop),
            Rate(served.settings.rate_limit),
        )


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
        found = current_app.extensions[_GATE] = Gate.of(node())
    return found


async def _after_request(response: Response) -> Response:
    return pages.finish(_gate().names, request, response)


async def _before_request() -> Response | None:
    called = _called(request)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return pages.preflight(_gate().names, request)
    if request.method not in _SAFE:
        pages.check(_gate().names, request, called)
    await _let_in(request, called)
    if request.is_json:
        await _check_body()
    return None


async def _before_websocket() -> None:
    called = _called(websocket)
    pages.check(_gate().names, websocket, called)
    await _let_in(websocket, called)


def _called(asked: Request | Websocket) -> Host:
    """By which of its names the server is called."""
    given = asked.headers.getlist("Host")
    called = read_host(given[0]) if len(given) == 1 else None
    if called is None:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Bad request", "one Host header is needed")
    if not _gate().names.answers_to(called, _arrived_at(asked)):
        raise ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "Unknown host",
            f"this server is not called {called.name}; the setting allowed_hosts can add names",
        )
    return called


def _arrived_at(asked: Request | Websocket) -> str | None:
    """The address of this computer that the connection came to; None is a Unix socket."""
    server = asked.scope.get("server")
    # A Unix socket may be given as its path, without a port.
    return server[0] if server and server[1] is not None else None


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
    someone = NOBODY if tier is Mark.PUBLIC else await _who(asked, called)
    g.caller = someone or NOBODY
    exchange.of(asked).client = g.caller.name
    if marks.metered(view):
        _count(g.caller.token_id or _peer(asked))
    if tier is Mark.UNMARKED:
        _log.error("%s says nothing of who may call it, and is refused", asked.endpoint)
        raise ProblemError(HTTPStatus.FORBIDDEN, "Forbidden", "this address is open to nobody")
    if tier is not Mark.PUBLIC:
        _check_tier(someone, tier)


def _count(client: str) -> None:
    """Count a request.

    Raises:
        ProblemError: 429, with how long to wait.
    """
    wait = _gate().rate.take(client)
    if wait:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many requests",
            f"wait {wait:.2g} s; the setting rate_limit says how often a client may ask",
            headers={"Retry-After": str(math.ceil(wait))},
        )


def _check_tier(someone: Caller | None, tier: Tier) -> None:
    """Refuse who may not do what takes that tier, as RFC 6750 says.

    Raises:
        ProblemError: 401 where a token that is valid might help, and 403 where one was shown.
    """
    if someone is None:
        raise _refusal(
            HTTPStatus.UNAUTHORIZED, "the token is not valid, or no longer", 'error="invalid_token"'
        )
    if someone.tier is None:
        raise _refusal(HTTPStatus.UNAUTHORIZED, "a token is needed: `Authorization: Bearer TOKEN`")
    if not someone.may(tier):
        raise _refusal(
            HTTPStatus.FORBIDDEN,
            f"this needs a token of the tier {tier}; this one is of the tier {someone.tier}",
            f'error="insufficient_scope", scope="{tier}"',
        )


def _refusal(status: HTTPStatus, detail: str, *more: str) -> ProblemError:
    challenge = ", ".join(['Bearer realm="pyrite"', *more])
    return ProblemError(status, status.phrase, detail, headers={"WWW-Authenticate": challenge})


def _view(asked: Request | Websocket) -> Callable[..., Any] | None:
    """The function that will answer, or None where there is no such address."""
    endpoint = asked.endpoint
    if asked.routing_exception is not None or endpoint is None:
        return None
    return current_app.view_functions.get(endpoint)


async def _who(asked: Request | Websocket, called: Host) -> Caller | None:
    """Who is calling; None with a token that is not valid, which is logged but for itself."""
    credentials = _gate().credentials
    await credentials.refresh()
    presented = None
    try:
        presented = bearer(asked.headers)
        if presented is None:
            return NOBODY if credentials.any() or not _on_this_computer(asked, called) else TRUSTED
        found = credentials.verify(presented)
    except ValueError:
        found = None
    if found is None:
        meant = None if presented is None else credentials.name_of(presented)
        _log.warning(
            "a token that is not valid was refused",
            extra={"peer": _peer(asked), "token_name": meant},
        )
    return found


def _on_this_computer(asked: Request | Websocket, called: Host) -> bool:
    forwarded = any(name in asked.headers for name in _FORWARDED)
    return not forwarded and only_here(called, _arrived_at(asked))


def _peer(asked: Request | Websocket) -> str:
    """The address of the client."""
    client = asked.scope.get("client")
    return str(client[0]) if client else "this computer"


async def _check_body() -> None:
    """Read a JSON body, and refuse one that is too long or too deep before it is parsed."""
    # The client is told at once where it says beforehand that it is going to be too long.
    body = cast("bytes", await request.get_data())
    scan = partial(too_deep, body)
    if await node().hop(scan) if len(body) > _LARGE else scan():
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "Nested too deep",
            f"objects and lists may be nested {MAX_DEPTH} deep",
        )
    # Only UTF-8 is JSON (RFC 8259), and a parser that takes others would read another text.
    if b"\0" in body:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "Bad request", "the body is no JSON in UTF-8")
