"""The web application: everything that is served over HTTP, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart_trio import QuartTrio

from pyrite.server import health, logs, mcp_mount, routes
from pyrite.server.current import KEY
from pyrite.server.feed import websocket
from pyrite.server.middleware import problems, security
from pyrite.server.middleware.unread_body import answering
from pyrite.server.openapi import document
from pyrite.server.routes import metrics

if TYPE_CHECKING:
    from pyrite.server.process import ServerProcess

_NOWHERE = "there is nothing at this address; /api/docs lists those there are"
_ONLY_MCP = f"there is nothing at this address; the MCP server is at {mcp_mount.PATH}"


def create_app(served: ServerProcess | None = None, *, only_mcp: bool = False) -> QuartTrio:
    """Make the application.

    Args:
        served: what it serves, which the caller runs; without one, whoever runs the app puts
            it into ``app.extensions["pyrite"]`` before the first request.
        only_mcp: whether there is nothing but the MCP server.
    """
    app = QuartTrio("pyrite", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # An id that has two slashes in a row is refused, not redirected.
    app.url_map.merge_slashes = False
    # What a body may hold is the business of `security`.
    app.config["MAX_CONTENT_LENGTH"] = None
    if served is not None:
        app.extensions[KEY] = served
    logs.install(app)
    problems.install(app, _ONLY_MCP if only_mcp else _NOWHERE)
    security.install(app)
    mcp_mount.install(app)
    if not only_mcp:
        metrics.install(app)
        health.install(app)
        websocket.install(app)
        routes.install(app)
        document.install(app)
    app.asgi_app = answering(app.asgi_app)  # type: ignore[method-assign, assignment]
    return app
