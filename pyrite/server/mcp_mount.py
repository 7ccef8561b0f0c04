"""``/mcp``: the MCP server in the web application, behind the same rules as everything else.

A request goes through the application as any other, up to its view: it is logged, its host,
origin, token and rate are looked at, and what is wrong is answered by a problem. In place of an
answer, the view then gives the MCP server that is the caller's, and that one, an ASGI application
of its own, is handed the connection, of which nothing has been read yet. What the application
adds to the headers of every answer is added to its.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from quart import Response
from quart.utils import encode_headers
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

from pyrite.auth.credentials import Caller
from pyrite.auth.permissions import own_body, requires
from pyrite.auth.tokens import Tier
from pyrite.server.current import KEY, server
from pyrite.server.mcp_endpoint import MCPEndpoint, stopping
from pyrite.server.middleware import security
from pyrite.server.middleware.problems import response

if TYPE_CHECKING:
    from pyrite.mcp.http import TierApplication

PATH = "/mcp"

#: Of an answer that is handed on, headers that are not the answer's.
_OWN = frozenset({"content-type", "content-length"})


class HandedOn(Response):
    """In place of an answer: who gives it."""

    def __init__(self, application: TierApplication, caller: Caller) -> None:
        super().__init__(b"")
        self.application = application
        self.caller = caller


def install(app: QuartTrio) -> None:
    """Serve MCP at its address."""
    app.asgi_http_class = _Connection
    app.add_url_rule(PATH, "mcp", _mcp, methods=["GET", "POST", "DELETE"])


@requires(Tier.READ)
@own_body
async def _mcp() -> Response:
    """The server that is the caller's."""
    # A stream that a foreign page opens would be read by nobody, but would keep a session.
    security.check_page()
    caller = security.caller()
    return HandedOn(await server().mcp.application_for(caller), caller)


class _Connection(TrioASGIHTTPConnection):
    """A request, whose connection is handed on where its answer says so."""

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer it."""
        request = None
        if self.scope["path"].endswith(PATH):
            request = self._create_request_from_scope(send)
        # An entry's address may end so, too.
        if request is None or request.path != PATH:
            await super().__call__(receive, send)
            return
        endpoint: MCPEndpoint = self.app.extensions[KEY].mcp
        # The stream of a session has no end of its own that a stop could wait for.
        with nullcontext() if request.method == "GET" else endpoint.in_hand():
            answer = await self.app.handle_request(request)
            if not isinstance(answer, HandedOn):
                await self._send_response(send, answer)
            elif endpoint.stopped:
                await self._send_response(send, response(stopping()))
            else:
                sending = _adding(answer, send)
                await answer.application(answer.caller, self.scope, receive, sending)


def _adding(answer: Response, send: Any) -> Any:
    """What sends an answer, with the headers that the application adds to all."""
    added = [(name, value) for name, value in encode_headers(answer.headers) if _adds(name)]

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            more = [each for each in added if each[0].lower() not in own]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


def _adds(name: bytes) -> bool:
    return name.decode().lower() not in _OWN
