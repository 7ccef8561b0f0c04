"""What is said to browsers: which web pages may send requests, and how answers are to be kept."""

from __future__ import annotations

from http import HTTPStatus

from quart import Request, Response

from pyrite.api.problems import ProblemError
from pyrite.auth.allowed_hosts import AllowedHosts
from pyrite.auth.authentication import Asked
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


def check(names: AllowedHosts, asked: Asked, called: Host) -> None:
    """Refuse what another server's web page sends.

    Raises:
        ProblemError: 403.
    """
    origin, site = asked.headers.get("Origin"), asked.headers.get("Sec-Fetch-Site")
    if not names.trusts(origin, site, scheme=asked.scheme, called=called):
        raise _foreign()


def preflight(names: AllowedHosts, asked: Request) -> Response:
    """Answer a browser that asks whether a page may send a request at all.

    Raises:
        ProblemError: 403.
    """
    if not names.lists(asked.headers.get("Origin")):
        raise _foreign()
    # With no body at all, Quart's own Response needs asyncio.
    return Response(b"", status=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)


def finish(names: AllowedHosts, asked: Request, response: Response) -> Response:
    """Add what tells browsers to be careful with an answer."""
    headers = response.headers
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    # What has an ETag may be kept, and is asked for again each time.
    headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
    if names.origins:
        headers.add("Vary", "Origin")
        origin = asked.headers.get("Origin")
        if origin is not None and names.lists(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED
    return response


def _foreign() -> ProblemError:
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        "Foreign origin",
        "a web page of another origin may not do this; the setting allowed_origins can add it",
    )
