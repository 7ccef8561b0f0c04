"""CORS, and the headers that tell browsers how to treat an answer.

Libraries for CORS (quart-cors, Starlette's middleware) add headers, and leave it to browsers to
keep a page from sending. Here a foreign page's request is refused by the server, also where it
needs no preflight, and a preflight only after the host that it calls has been found to be one of
the server's.
"""

from __future__ import annotations

from http import HTTPStatus

from quart import Request, Response, Websocket

from pyrite.api.problems import ProblemError
from pyrite.auth.allowed_hosts import AllowedHosts
from pyrite.config.addresses import Host

#: Of every answer, unless its view says otherwise, as a page of documentation does.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

#: Of the answer to a browser that asks whether an allowed page may send a request (CORS).
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, If-Match, If-None-Match, X-Request-ID, Mcp-Session-Id, "
        "Mcp-Protocol-Version, Mcp-Method, Mcp-Name, Last-Event-ID"
    ),
    "Access-Control-Max-Age": "600",
}

#: Headers of an answer that an allowed page may read.
_EXPOSED = "ETag, Link, Location, Retry-After, X-Request-ID, Mcp-Session-Id"


def check(allowed: AllowedHosts, request: Request | Websocket, called: Host) -> None:
    """Refuse what another server's web page sends.

    Raises:
        ProblemError: 403.
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if not allowed.trusts(origin, site, scheme=request.scheme, called=called):
        raise _foreign()


def preflight(allowed: AllowedHosts, request: Request) -> Response:
    """Answer a browser that asks whether a page may send a request at all.

    Raises:
        ProblemError: 403.
    """
    if not allowed.lists(request.headers.get("Origin")):
        raise _foreign()
    # With no body at all, Quart's own Response needs asyncio.
    return Response(b"", status=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)


def finish(allowed: AllowedHosts, request: Request, response: Response) -> Response:
    """Add what tells browsers to be careful with an answer."""
    headers = response.headers
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    # What has an ETag may be kept, and is request for again each time.
    headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
    if allowed.origins:
        headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is not None and allowed.lists(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED
    return response


def _foreign() -> ProblemError:
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        "Foreign origin",
        "a web page of another origin may not do this; the setting allowed_origins can add it",
    )
